"""What a comparison found: the content of comparison.json."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

Pair = tuple[float, float]
SCHEMA_VERSION = 1


class Part(BaseModel):
    """A part of comparison.json: frozen, whole, finite numbers only."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Spread(Part):
    """One figure over seeds: mean, sample standard deviation, 95 % t interval of the mean."""

    mean: float
    std: float | None
    interval: Pair | None
    values: dict[str, float]  # seed -> value


class Difference(Part):
    """Arm minus reference over the seeds that both have.

    `interval` is the paired t interval; `p` of the sign-flip test over seeds, `p_holm` the same
    after Holm's correction over arms; `smallest_p` what so few seeds can show at best.
    """

    mean: float
    interval: Pair | None
    p: float | None
    p_holm: float | None
    smallest_p: float | None
    seeds: tuple[int, ...]


class SubjectDifference(Part):
    """Arm minus reference in the subjects' balanced accuracies, over seeds and subjects.

    `interval` and `p` from crossed random effects, `bootstrap` the pigeonhole bootstrap's
    percentiles; `better` and `worse` count subjects by their mean over seeds.
    """

    mean: float
    interval: Pair | None
    bootstrap: Pair | None
    p: float | None
    p_holm: float | None
    seeds: tuple[int, ...]
    subjects: int
    better: int
    worse: int


class Gap(Part):
    """(arm - reference) / (teacher - reference): 1 is the teacher. `note` says what is missing."""

    value: float | None
    interval: Pair | None
    note: str = ""


class Row(Part):
    """Scores of the teacher or an arm: metric -> figure, subject -> balanced accuracy."""

    val: dict[str, Spread]
    test: dict[str, Spread]
    by_subject: dict[str, Spread]


class Against(Part):
    """An arm against the reference: metric -> difference, metric -> share of the gap closed."""

    metrics: dict[str, Difference]
    gap: dict[str, Gap]
    by_subject: SubjectDifference


class Selection(Part):
    """The arm that validation chooses, and whether the test would have chosen another.

    `mean` of the validation metric over `seeds`, those that every arm has.
    """

    chosen: str
    mean: float
    best_on_test: str
    test_lead: float  # of best_on_test before chosen, on test
    seeds: tuple[int, ...]


class Count(Part):
    """Everything with one number of labelled windows (None: as [split] gives them)."""

    labelled: int | None
    windows: int  # that carry a label in training
    teacher: Row | None
    arms: dict[str, Row]
    against: dict[str, Against]
    selection: Selection | None


class Held(Part):
    """Subjects and windows of a split."""

    subjects: tuple[str, ...]
    windows: int


class JobRecord(Part):
    """One job or teacher: what it scored and what it took. `status`: done, failed, left."""

    arm: str
    seed: int
    labelled: int | None
    status: str
    log: str
    val: dict[str, float]
    test: dict[str, float]
    seconds: float | None
    cpu: str | None
    threads: int | None


class Provenance(Part):
    """What a figure needs to be believed. `seconds`: of all jobs added; `wall_seconds`: waited."""

    command: str
    recipe_hash: str
    windows_hash: str
    versions: dict[str, str]
    git: dict[str, Any]
    machine: str
    launcher: str
    parallel: int
    seconds: float
    wall_seconds: float


class Comparison(Part):
    """All of comparison.json."""

    schema_version: int = SCHEMA_VERSION
    name: str
    labels: tuple[str, ...]
    split_kind: str
    split: dict[str, Held]
    seeds: tuple[int, ...]
    one_teacher: bool
    reference: str
    arms: tuple[str, ...]
    metrics: tuple[str, ...]
    selected_by: str
    chance: dict[str, float]
    chance_limit: float
    counts: tuple[Count, ...]
    jobs: tuple[JobRecord, ...]
    provenance: Provenance
