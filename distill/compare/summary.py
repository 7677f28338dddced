"""From the scores of jobs to what is said about arms. Pure: no file is read or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.compare import statistics
from distill.compare.results import (
    Against,
    Count,
    Difference,
    Gap,
    Pair,
    Row,
    Selection,
    Spread,
    SubjectDifference,
)

#: Content of one scores.json: {"val": {metric: value}, "test": {metric: value, "by_subject": ...}}.
Scores = Mapping[str, Any]
BY_SUBJECT = "by_subject"


@dataclass(frozen=True)
class Trial:
    """The scores with one number of labelled windows.

    Attributes
    ----------
    teachers : seed -> scores.
    one_teacher : whether it is the same teacher in every seed.
    arms : arm -> seed -> scores, arms in the recipe's order; jobs that failed are absent.
    reference : the arm that differences are against.
    metrics : names of the metrics of the field, and of no others.
    selected_by : the metric that chooses, on validation.
    """

    teachers: Mapping[int, Scores]
    arms: Mapping[str, Mapping[int, Scores]]
    reference: str
    metrics: Sequence[str]
    selected_by: str
    one_teacher: bool = False


def summarise(trial: Trial, labelled: int | None, windows: int) -> Count:
    """Means, differences, gaps and the choice of one number of labelled windows.

    Parameters
    ----------
    labelled : the number asked for; None as [split] gives them.
    windows : the number there was.
    """
    arms = {name: runs for name, runs in trial.arms.items() if runs}
    teachers = dict(trial.teachers)
    if trial.one_teacher:
        teachers = dict(list(teachers.items())[:1])
    return Count(
        labelled=labelled,
        windows=windows,
        teacher=_row(teachers) if teachers else None,
        arms={name: _row(runs) for name, runs in arms.items()},
        against=_against(trial, arms),
        selection=_select(trial),
    )


def spread(values: Mapping[int, float]) -> Spread:
    """One figure over seeds."""
    x = [values[seed] for seed in values]
    return Spread(
        mean=float(np.mean(x)),
        std=float(np.std(x, ddof=1)) if len(x) > 1 else None,
        interval=statistics.mean_interval(x),
        values={str(seed): float(value) for seed, value in values.items()},
    )


def _row(runs: Mapping[int, Scores]) -> Row:
    def over_seeds(split: str) -> dict[str, Spread]:
        first = next(iter(runs.values()))[split]
        return {
            name: spread({seed: runs[seed][split][name] for seed in runs})
            for name in first
            if name != BY_SUBJECT
        }

    subjects = next(iter(runs.values()))["test"][BY_SUBJECT]
    return Row(
        val=over_seeds("val"),
        test=over_seeds("test"),
        by_subject={
            subject: spread({seed: runs[seed]["test"][BY_SUBJECT][subject] for seed in runs})
            for subject in subjects
        },
    )


def _against(trial: Trial, arms: Mapping[str, Mapping[int, Scores]]) -> dict[str, Against]:
    """Every arm but the reference against it; Holm's correction over these arms."""
    reference = arms.get(trial.reference, {})
    paired = {
        name: tuple(seed for seed in runs if seed in reference)
        for name, runs in arms.items()
        if name != trial.reference
    }
    paired = {name: seeds for name, seeds in paired.items() if seeds}
    by_metric = {
        metric: _corrected(
            {
                name: _difference(
                    _values(arms[name], seeds, metric) - _values(reference, seeds, metric), seeds
                )
                for name, seeds in paired.items()
            }
        )
        for metric in trial.metrics
    }
    subjects = _corrected(
        {name: _by_subject(arms[name], reference, seeds) for name, seeds in paired.items()}
    )
    return {
        name: Against(
            metrics={metric: by_metric[metric][name] for metric in trial.metrics},
            gap={
                metric: _gap(trial.teachers, arms[name], reference, seeds, metric)
                for metric in trial.metrics
            },
            by_subject=subjects[name],
        )
        for name, seeds in paired.items()
    }


def _values(
    runs: Mapping[int, Scores], seeds: Sequence[int], metric: str, split: str = "test"
) -> NDArray[np.float64]:
    return np.array([runs[seed][split][metric] for seed in seeds], dtype=np.float64)


def _difference(differences: NDArray[np.float64], seeds: tuple[int, ...]) -> Difference:
    return Difference(
        mean=float(differences.mean()),
        interval=statistics.mean_interval(differences),
        p=statistics.sign_flip_p(differences),
        p_holm=None,
        smallest_p=statistics.smallest_p(len(seeds)) if len(seeds) > 1 else None,
        seeds=seeds,
    )


def _by_subject(
    runs: Mapping[int, Scores], reference: Mapping[int, Scores], seeds: tuple[int, ...]
) -> SubjectDifference:
    people = list(reference[seeds[0]]["test"][BY_SUBJECT])

    def table(of: Mapping[int, Scores]) -> NDArray[np.float64]:
        cells = [[of[seed]["test"][BY_SUBJECT][who] for who in people] for seed in seeds]
        return np.array(cells, dtype=np.float64)

    difference = table(runs) - table(reference)
    average = difference.mean(axis=0)
    found = statistics.crossed(difference)
    return SubjectDifference(
        mean=float(difference.mean()),
        interval=found[0] if found else None,
        bootstrap=statistics.crossed_bootstrap(difference),
        p=found[1] if found else None,
        p_holm=None,
        seeds=seeds,
        subjects=len(people),
        better=int(np.count_nonzero(average > 0)),
        worse=int(np.count_nonzero(average < 0)),
    )


def _corrected(found: dict[str, Any]) -> dict[str, Any]:
    """The same differences with `p_holm` filled in."""
    adjusted = statistics.holm([one.p for one in found.values()])
    return {
        name: one.model_copy(update={"p_holm": p})
        for (name, one), p in zip(found.items(), adjusted, strict=True)
    }


def _gap(
    teachers: Mapping[int, Scores],
    runs: Mapping[int, Scores],
    reference: Mapping[int, Scores],
    seeds: tuple[int, ...],
    metric: str,
) -> Gap:
    seeds = tuple(seed for seed in seeds if seed in teachers)
    if not seeds:
        return Gap(value=None, interval=None, note="no teacher")
    base = _values(reference, seeds, metric)
    lead, gain = _values(teachers, seeds, metric) - base, _values(runs, seeds, metric) - base
    if lead.mean() <= 0:
        return Gap(value=None, interval=None, note="the teacher is not better than the reference")
    value = float(gain.mean() / lead.mean())
    if len(seeds) < 2:
        return Gap(value=value, interval=None, note="one seed has no interval")
    interval: Pair | None = statistics.fieller(gain, lead)
    if interval is None:
        note = "the teacher's lead over the reference is not clearly above zero"
        return Gap(value=value, interval=None, note=note)
    return Gap(value=value, interval=interval)


def _select(trial: Trial) -> Selection | None:
    """The arm with the best mean on validation over the seeds that every arm has."""
    arms = {name: runs for name, runs in trial.arms.items() if runs}
    if len(arms) < len(trial.arms):
        return None
    first = next(iter(arms.values()))
    seeds = tuple(seed for seed in first if all(seed in runs for runs in arms.values()))
    if not seeds:
        return None

    def means(split: str) -> dict[str, float]:
        return {
            name: float(_values(runs, seeds, trial.selected_by, split).mean())
            for name, runs in arms.items()
        }

    val, test = means("val"), means("test")
    chosen, best = (max(found, key=found.__getitem__) for found in (val, test))
    if test[chosen] == test[best]:
        best = chosen
    return Selection(
        chosen=chosen, mean=val[chosen], best_on_test=best,
        test_lead=test[best] - test[chosen], seeds=seeds,
    )  # fmt: skip
