"""What is kept of a live run: some numbers a decision, every decision if wanted; the summary."""

from __future__ import annotations

from array import array
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from firmware_bench import stats
from firmware_bench.live.chain import ChainFacts
from firmware_bench.live.decode import Decision
from firmware_bench.live.gaps import Counts
from firmware_bench.results import Environment, Samples

SCHEMA = "dlink-live-1"
NS_PER_MS = 1e6


@dataclass
class Record:
    """Times of all decisions (24 bytes each), and the decisions themselves with `keep`.

    A deadline is missed by a decision that comes later than one hop after its last sample, or took
    more than one hop of computing: the next one would be waiting by then.
    """

    labels: tuple[str, ...]
    hop_ms: float
    keep: bool = False
    decisions: list[dict[str, Any]] = field(default_factory=list)
    missed: int = 0
    unsettled: int = 0
    repaired: int = 0

    def __post_init__(self) -> None:
        self._times = {name: array("d") for name in ("hop", "inference", "latency")}
        self._by_label = [0] * len(self.labels)

    @property
    def n(self) -> int:
        """Decisions so far."""
        return sum(self._by_label)

    def add(self, one: Decision) -> None:
        """Take a decision down."""
        told = {"hop": one.hop_ns, "inference": one.inference_ns, "latency": one.latency_ns}
        times = {name: value / NS_PER_MS for name, value in told.items() if value is not None}
        for name, value in times.items():
            self._times[name].append(value)
        self._by_label[one.label] += 1
        self.missed += max(times.values()) > self.hop_ms
        self.unsettled += not one.settled
        self.repaired += one.repaired
        if self.keep:
            self.decisions.append(
                {
                    "seconds": one.seconds,
                    "start": one.start,
                    "label": self.labels[one.label],
                    "probabilities": [float(p) for p in one.probabilities],
                    "logits": [float(value) for value in one.logits],
                    **{f"{name}_ms": value for name, value in times.items()},
                    "settled": one.settled,
                    "repaired": one.repaired,
                }
            )

    def times(self) -> dict[str, Samples]:
        """Summary of each time in ms; nothing where there were no decisions."""
        found = {name: np.asarray(values) for name, values in self._times.items() if values}
        return {name: stats.summary(values) for name, values in found.items()}

    def summary(  # noqa: PLR0913 - each is a part of the summary
        self,
        *,
        created: str,
        artefact: dict[str, Any],
        model: dict[str, Any],
        stream: dict[str, Any],
        chain: ChainFacts,
        counts: Counts,
        seen_by: str,
        busy_seconds: float,
        stream_seconds: float,
        environment: Environment,
        ended: str,
    ) -> dict[str, Any]:
        """JSON-ready; every time in ms and measured on this machine."""
        return {
            "schema": SCHEMA,
            "created": created,
            "evidence": "measured",
            "environment": environment.model_dump(mode="json") | {"valid": environment.valid},
            "artefact": artefact,
            "model": model,
            "stream": stream | {"seconds": stream_seconds, "gaps_seen_by": seen_by},
            "preprocessing": asdict(chain),
            "hop_ms": self.hop_ms,
            "decisions": self.n,
            "by_label": dict(zip(self.labels, self._by_label, strict=True)),
            "unsettled": self.unsettled,
            "repaired": self.repaired,
            "times_ms": {
                name: found.model_dump(exclude={"stable"}) for name, found in self.times().items()
            },
            "deadline_misses": self.missed,
            "samples": asdict(counts),
            "real_time_factor": busy_seconds / stream_seconds if stream_seconds else None,
            "ended": ended,
        }
