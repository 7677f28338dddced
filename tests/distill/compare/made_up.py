"""Scores as jobs write them, with known effects, and comparisons made of them."""

from __future__ import annotations

import numpy as np

from distill.compare.results import Comparison, Count, Held, JobRecord, Provenance
from distill.compare.summary import Trial, summarise

METRICS = ("balanced_accuracy", "auroc", "auc_pr")
SUBJECTS = ("S20", "S21", "S22", "S23", "S24", "S25", "S26")


def scores(level: float, rng: np.random.Generator, val: float | None = None) -> dict:
    """One scores.json around a level; `val` around another."""

    def split(middle: float) -> dict:
        found = {name: round(float(middle + 0.01 * rng.standard_normal()), 4) for name in METRICS}
        people = {who: round(float(middle + 0.05 * rng.standard_normal()), 4) for who in SUBJECTS}
        return {**found, "teacher_agreement": 0.8, "by_subject": people}

    return {"val": split(level if val is None else val), "test": split(level)}


def trial(levels: dict[str, float] | None = None, seeds=range(5), teacher=0.8, **others) -> Trial:
    """Arms at these levels; the first is the reference."""
    rng = np.random.default_rng(7)
    levels = levels or {"matched": 0.6, "kd": 0.61, "dlink": 0.7}
    return Trial(
        teachers={seed: scores(teacher, rng) for seed in seeds},
        arms={name: {seed: scores(level, rng) for seed in seeds} for name, level in levels.items()},
        reference=next(iter(levels)),
        metrics=METRICS,
        selected_by="auroc",
        **others,
    )


def comparison(counts: list[Count] | None = None, **changes) -> Comparison:
    """A comparison with two labelled counts and one failed job."""
    if counts is None:
        more = {"matched": 0.7, "kd": 0.74, "dlink": 0.76}
        counts = [summarise(trial(), 50, 50), summarise(trial(more), 500, 500)]
    took = {"seconds": 12.5, "cpu": "CPU (x86_64)", "threads": 1}
    none = dict.fromkeys(("seconds", "cpu", "threads"))
    jobs = [
        JobRecord(arm="teacher", seed=0, labelled=None, status="done", log="logs/t.log",
                  val={"auroc": 0.9}, test={"auroc": 0.8}, **took),
        JobRecord(arm="kd", seed=4, labelled=50, status="failed", log="logs/kd.log",
                  val={}, test={}, **none),
    ]  # fmt: skip
    given = {
        "name": "made-up",
        "labels": ("left", "right"),
        "split_kind": "cross_subject",
        "split": {"train": Held(subjects=("S00", "S01"), windows=640),
                  "val": Held(subjects=("S16",), windows=40),
                  "test": Held(subjects=SUBJECTS, windows=280)},
        "seeds": (0, 1, 2, 3, 4),
        "one_teacher": False,
        "reference": "matched",
        "arms": ("matched", "kd", "dlink"),
        "metrics": METRICS,
        "selected_by": "auroc",
        "chance": {"balanced_accuracy": 0.5, "auroc": 0.5, "auc_pr": 0.5, "teacher_agreement": 0.5},
        "chance_limit": 0.5571,
        "counts": tuple(counts),
        "jobs": tuple(jobs),
        "provenance": Provenance(
            command="dlink-distill compare recipe.toml -o runs/made-up", recipe_hash="abc",
            windows_hash="def", versions={"python": "3.11.2", "torch": "2.13.0"},
            git={"commit": "0123456789abcdef", "dirty": True}, machine="CPU (x86_64), 2 cores",
            launcher="processes", parallel=2, seconds=7325, wall_seconds=3661,
        ),
    }  # fmt: skip
    return Comparison(**{**given, **changes})
