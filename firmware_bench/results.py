"""results.json: every figure with its unit, its evidence and the environment it was taken in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from targets.errors import InputError
from targets.files import read_json, write_json
from targets.metrics import METRICS
from targets.target import Target

SCHEMA_VERSION = 1
Evidence = Literal["measured", "emulated", "estimated", "published"]
Model = Literal["student", "teacher", "ratio", "distilled", "matched", "peer"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Samples(_Record):
    """Summary of the single runs behind a figure, in the figure's unit."""

    count: int
    median: float
    mad: float
    p90: float
    p99: float
    worst: float
    stable: bool = True


class Interval(_Record):
    """How far the figure may be off: `kind` says what the two ends are."""

    low: float
    high: float
    kind: Literal["95 % CI", "model band", "standard deviation"]


class Measurement(_Record):
    """One figure.

    `value` is in `unit`, the metric's base unit; None means that it could not be had, and `reason`
    says why. `target` is "any" for a figure of the model alone.
    """

    target: str
    model: Model
    metric: str
    value: int | float | None
    unit: str
    evidence: Evidence
    format: str = ""
    runtime: str = ""
    reason: str = ""
    note: str = ""
    interval: Interval | None = None
    samples: Samples | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Measurement:
        if self.metric not in METRICS:
            raise ValueError(f'unknown metric "{self.metric}"')
        if self.unit != METRICS[self.metric].unit:
            raise ValueError(f"{self.metric} is stored in {METRICS[self.metric].unit}")
        if (self.value is None) != bool(self.reason):
            raise ValueError("a figure has either a value or a reason why not")
        return self


def figure(
    target: str, model: Model, metric: str, value: float | None, evidence: Evidence, **extra: Any
) -> Measurement:
    """Build a measurement in its metric's unit (integers stay integers)."""
    unit = METRICS[metric].unit
    return Measurement(
        target=target,
        model=model,
        metric=metric,
        value=value,
        unit=unit,
        evidence=evidence,
        **extra,
    )


class Fault(_Record):
    """A rule of a valid environment that did not hold: its name and what was seen."""

    rule: str
    text: str


class Environment(_Record):
    """Where and under which conditions figures were taken; `facts` as read from the machine."""

    description: str
    facts: dict[str, Any] = {}
    faults: tuple[Fault, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether milliseconds taken here may be judged."""
        return not self.faults


class LayerCount(_Record):
    """A layer's share of one inference, emulated. `shape` is of window and tensors, in words.

    `share_of_limit` is `macs` per instruction as a part of the core's limit. Both it and
    `instructions_per_mac` are None for a layer without multiply-accumulates.
    """

    index: int
    operator: str
    shape: str
    activation: str
    macs: int
    calls: int
    instructions: int
    instructions_per_mac: float | None
    share_of_limit: float | None


class LayerTable(_Record):
    """One inference layer by layer, `limit` being the most MACs that one instruction can do.

    `between` is what is executed outside of kernels; with `layers` it makes `total`.
    """

    limit: int
    limit_reason: str
    layers: tuple[LayerCount, ...]
    between: int
    total: LayerCount


class TargetRun(_Record):
    """One target of a run: its data-sheet figures and its environment; its layers, if counted."""

    target: Target
    environment: Environment
    layers: LayerTable | None = None


class Results(_Record):
    """Everything one bench run found, with the artefact's manifest and training record in it."""

    schema_version: Literal[1] = 1
    created: str
    manifest: dict[str, Any]
    training: dict[str, Any] | None = None
    runs: tuple[TargetRun, ...]
    measurements: tuple[Measurement, ...]
    provenance: dict[str, Any] = {}

    def select(self, **wanted: str) -> list[Measurement]:
        """Return the measurements whose fields equal `wanted`, in order."""
        return [
            found
            for found in self.measurements
            if all(getattr(found, key) == value for key, value in wanted.items())
        ]

    def environment(self, target: str) -> Environment | None:
        """Environment of a target's run, or None."""
        return next((run.environment for run in self.runs if run.target.id == target), None)


def save(path: Path, results: Results) -> None:
    """Write results.json atomically."""
    write_json(path, results.model_dump(mode="json"))


def load(path: Path) -> Results:
    """Read results.json.

    Raises
    ------
    InputError
        File missing, not JSON, of another schema version, or with fields that do not fit.
    """
    data = read_json(path, "results")
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise InputError(
            "not a results file of this version",
            where=path,
            value=f"schema_version {version}",
            limit=str(SCHEMA_VERSION),
            todo="Run dlink-bench again.",
        )
    try:
        return Results.model_validate(data)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"results file cannot be used: {place}: {first['msg']}"
            + (f" (and {err.error_count() - 1} more)" if err.error_count() > 1 else ""),
            where=path,
            todo="Run dlink-bench again.",
        ) from None
