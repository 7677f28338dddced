"""What a model card needs to know; each kind of source fills in what it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.losses import UNLABELLED
from distill.signal import SignalSpec
from export.parity import ParityResult

Table = Mapping[str, Any]


@dataclass(frozen=True)
class Training:
    """How the student came about, where a run of dlink-distill tells.

    Attributes
    ----------
    arm : which student of the run: "distilled" or "matched".
    arms : metrics of each arm on the test split, as in results.json.
    split, split_kind : subjects and windows of each part, and how they were parted.
    seeds, selected_seed, selected_by : of the run; which weights were exported and why.
    teacher, teacher_params : its name and size.
    simulated : whether the recordings were.
    router : mean and standard deviation of the Router's weight of each teacher layer, or None.
    """

    arm: str
    arms: Mapping[str, Table]
    split: Mapping[str, Table]
    split_kind: str
    seeds: Sequence[int]
    selected_seed: int
    selected_by: str
    teacher: str
    teacher_params: int
    simulated: bool = False
    router: Table | None = None

    @classmethod
    def of_results(cls, results: Table, *, arm: str, simulated: bool) -> Training:
        """From a run's results.json."""
        teacher = results["models"]["teacher"]
        return cls(
            arm, results["arms"], results["split"], results["split_kind"], results["seeds"],
            results["selected_seed"], results["selected_by"], teacher["name"], teacher["params"],
            simulated, results.get("router"),
        )  # fmt: skip


@dataclass(frozen=True)
class CardFacts:
    """Everything that a model card says.

    Attributes
    ----------
    name, what : title, and one line on where the model comes from.
    signal, labels : contract and class names.
    params : of the student.
    formats : metrics of each format on the test windows ("balanced_accuracy", "accuracy_drop",
        "top1_agreement"); empty without labelled test windows.
    parity : what ran on the golden vectors, and the verdict.
    left_out : format that was not made -> why.
    training : of a run; None for other sources.
    quantisation : what the ladder did, as ``Climbed.as_dict()`` of
        :mod:`export.quantisation.ladder` says it; None without integer formats.
    preprocessing : "kind", "input_sfreq", "input_unit", "input_ch_names", "delay_seconds", and
        measured against the offline chain "correlation" and "relative_rms"; None without it.
    predictions : format -> logits (n, n_outputs) on the test windows.
    y, subject : classes (n,), -1 where unknown, and subjects (n,) of those windows.
    """

    name: str
    what: str
    signal: SignalSpec
    labels: tuple[str, ...]
    params: int
    formats: Mapping[str, Table] = field(default_factory=dict)
    parity: Sequence[tuple[str, ParityResult]] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    training: Training | None = None
    quantisation: Table | None = None
    preprocessing: Table | None = None
    predictions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    y: NDArray[np.int64] | None = None
    subject: NDArray[np.str_] | None = None

    def labelled(self) -> CardFacts | None:
        """Return the same with labelled test windows only; None if nothing is left to score."""
        if self.y is None or self.subject is None or not self.predictions:
            return None
        kept = self.y != UNLABELLED
        if not kept.any():
            return None
        predictions = {name: out[kept] for name, out in self.predictions.items()}
        return replace(self, predictions=predictions, y=self.y[kept], subject=self.subject[kept])
