"""A whole comparison: teachers and students as processes, then what their scores say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.compare.launch import Launcher
from distill.compare.lock import only_one
from distill.compare.machine import record, timed
from distill.compare.results import Comparison, Count, Held, JobRecord, Provenance
from distill.compare.schedule import Progress, Step, Watch, run_steps
from distill.compare.summary import BY_SUBJECT, Trial, summarise
from distill.metrics import chance, chance_limit, selection_metric
from targets.errors import InputError
from targets.files import read_json

if TYPE_CHECKING:
    from distill.arms import Job
    from distill.folder import RunFolder

LOGS = "logs"
WALL = "comparison"  # the record of the whole, beside those of the jobs


@dataclass(frozen=True)
class Way:
    """How the processes are run: `parallel` at a time, `threads` cores each."""

    launcher: str
    parallel: int
    threads: int


def check(here: RunFolder) -> None:
    """Refuse a comparison that cannot be done.

    Raises
    ------
    InputError
        More labelled windows are asked for than there are.
    """
    compare, windows = here.recipe.compare, len(here.splits["train"])
    assert compare is not None
    if compare.labelled and compare.labelled[-1] > windows:
        raise InputError(
            "the training split has fewer windows than are to be labelled",
            where="[compare] labelled", value=compare.labelled[-1], limit=f"<= {windows}",
        )  # fmt: skip


def train(here: RunFolder, launcher: Launcher, way: Way, watch: Watch | None = None) -> Progress:
    """Run every teacher and job of the comparison that is not done yet.

    Raises
    ------
    InputError
        The same comparison is running already.
    """
    steps = plan(here, way.threads)
    if all(step.result.exists() for step in steps):
        return run_steps(steps, launcher, parallel=1, threads=1, watch=watch)
    (here.path / LOGS).mkdir(exist_ok=True)
    with only_one(here.path / LOGS), timed(_record(here, WALL), way.threads):
        return run_steps(steps, launcher, parallel=way.parallel, threads=way.threads, watch=watch)


def plan(here: RunFolder, threads: int) -> list[Step]:
    """One step a teacher and a job, seed by seed: whole rows early, few cached teachers at once."""
    from distill.arms import jobs

    steps: dict[str, Step] = {}
    out = here.path.absolute()

    def add(name: str, folder: Path, what: list[str], needs: tuple[str, ...] = ()) -> None:
        # -P: a user's own modules in the current folder are not ours.
        command = [sys.executable, "-P", "-m", "distill.compare.job", str(out), *what,
                   "--threads", str(threads), "--record", str(_record(here, name)),
                   "--tied"]  # fmt: skip
        log = out / LOGS / f"{name}.log"
        steps.setdefault(name, Step(name, tuple(command), folder / "scores.json", log, needs))

    for job in jobs(here.recipe):
        teacher = teacher_name(here, job.seed)
        add(teacher, here.teacher(job.seed), ["--teacher", "--seed", str(job.seed)])
        what = ["--arm", job.arm, "--seed", str(job.seed)]
        what += ["--labelled", str(job.labelled)] if job.labelled is not None else []
        add(job_name(job), here.job(job), what, (teacher,))
    return list(steps.values())


def teacher_name(here: RunFolder, seed: int) -> str:
    """Name of the step that trains a seed's teacher."""
    return "teacher" if here.recipe.teacher.once else f"teacher-seed{seed}"


def job_name(job: Job) -> str:
    """Name of the step that trains a student."""
    return f"{job.arm}-seed{job.seed}" + (f"-labelled{job.labelled}" if job.labelled else "")


def _record(here: RunFolder, name: str) -> Path:
    return here.path.absolute() / LOGS / f"{name}.json"


def collect(here: RunFolder, states: Mapping[str, str], way: Way, command: str) -> Comparison:
    """Read every score that stands in the run folder, and compare.

    Parameters
    ----------
    states : step name -> what became of it, for those that have no scores.
    command : how to make this comparison again.
    """
    from distill.arms import jobs

    recipe, test = here.recipe, here.splits["test"]
    assert recipe.compare is not None
    records = [_teacher_record(here, seed, states) for seed in recipe.seeds]
    if recipe.teacher.once:
        records = records[:1]
    records += [_job_record(here, job, states) for job in jobs(recipe)]
    expected = chance(test.y, test.n_outputs)
    return Comparison(
        name=recipe.name,
        labels=test.labels,
        split_kind=recipe.split.kind,
        split={name: Held(subjects=part.subjects, windows=len(part))
               for name, part in here.splits.items()},
        seeds=recipe.seeds,
        one_teacher=recipe.teacher.once,
        reference=recipe.compare.reference,
        arms=tuple(arm.name for arm in recipe.compare.arms),
        metrics=tuple(expected),
        selected_by=selection_metric(test.n_outputs),
        chance=expected | {"teacher_agreement": 1 / test.n_outputs},
        chance_limit=chance_limit(test.y, test.n_outputs),
        counts=tuple(_count(here, labelled, tuple(expected))
                     for labelled in recipe.compare.labelled or (None,)),
        jobs=tuple(records),
        provenance=_provenance(here, records, way, command),
    )  # fmt: skip


def _scores(folder: Path) -> dict[str, Any] | None:
    path = folder / "scores.json"
    return dict(read_json(path, "scores")) if path.exists() else None


def _count(here: RunFolder, labelled: int | None, metrics: tuple[str, ...]) -> Count:
    from distill.arms import jobs

    recipe = here.recipe
    assert recipe.compare is not None
    teachers = {seed: _scores(here.teacher(seed)) for seed in recipe.seeds}
    arms: dict[str, dict[int, dict[str, Any]]] = {}
    for job in jobs(recipe):
        if job.labelled == labelled:
            scores = _scores(here.job(job))
            arms.setdefault(job.arm, {}).update({job.seed: scores} if scores else {})
    trial = Trial(
        teachers={seed: one for seed, one in teachers.items() if one},
        arms=arms,
        reference=recipe.compare.reference,
        metrics=metrics,
        selected_by=selection_metric(here.splits["test"].n_outputs),
        one_teacher=recipe.teacher.once,
    )
    windows = labelled or recipe.split.labelled or len(here.splits["train"])
    return summarise(trial, labelled, windows)


def _teacher_record(here: RunFolder, seed: int, states: Mapping[str, str]) -> JobRecord:
    name = teacher_name(here, seed)
    return _job(here, name, here.teacher(seed), states, arm="teacher", seed=seed, labelled=None)


def _job_record(here: RunFolder, job: Job, states: Mapping[str, str]) -> JobRecord:
    return _job(here, job_name(job), here.job(job), states, arm=job.arm, seed=job.seed,
                labelled=job.labelled)  # fmt: skip


def _job(
    here: RunFolder, name: str, folder: Path, states: Mapping[str, str], **what: Any
) -> JobRecord:
    scores, took = _scores(folder), record(_record(here, name))

    def figures(split: str) -> dict[str, float]:
        found = scores[split] if scores else {}
        return {key: value for key, value in found.items() if key != BY_SUBJECT}

    return JobRecord(
        **what, status="done" if scores else states.get(name, "left"),
        log=f"{LOGS}/{name}.log", val=figures("val"), test=figures("test"),
        seconds=took.get("seconds"), cpu=took.get("cpu"), threads=took.get("threads"),
    )  # fmt: skip


def _provenance(here: RunFolder, records: list[JobRecord], way: Way, command: str) -> Provenance:
    state, wall = here.state, record(_record(here, WALL))
    ran = {(one.cpu, one.threads) for one in records if one.cpu}
    cores = f", {wall['cores']} cores" if "cores" in wall and way.launcher == "processes" else ""
    machines = [f"{cpu}{cores}, {threads} thread{'s' * (threads != 1)} a job"
                for cpu, threads in sorted(ran, key=str)]  # fmt: skip
    return Provenance(
        command=command,
        recipe_hash=here.recipe.hash,
        windows_hash=here.windows.hash,
        versions=state["versions"],
        git=state["git"],
        machine="; ".join(machines) or "unknown machine",
        launcher=way.launcher,
        parallel=way.parallel,
        seconds=sum(one.seconds or 0.0 for one in records),
        wall_seconds=wall.get("seconds", 0.0),
    )
