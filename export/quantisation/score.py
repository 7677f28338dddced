"""What quantisation cost, and how much it may: figures against the float student, and a gate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from distill.losses import UNLABELLED
from export.parity import TOLERANCES, compare, decisions

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
_ROUNDING = 1e-9  # of a mean of shares
# What parity will ask of the file that is written; it would be refused there.
COSINE = TOLERANCES["tflite.int8"].cosine or 0.0
COSINE_TUNED = TOLERANCES["int8.finetuned"].cosine or 0.0


class Labelled(Protocol):
    """Windows with labels, as :class:`distill.windows.Windows` has them; y = -1 is no label."""

    @property
    def x(self) -> Floats:
        """float32 (n, n_chans, n_times)."""

    @property
    def y(self) -> Ints:
        """int64 (n,)."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Thinned:
    """Some windows of a larger set, in memory: x (n, n_chans, n_times), y (n,)."""

    x: Floats
    y: Ints

    def __len__(self) -> int:
        return len(self.y)


def thinned(windows: Labelled, most: int) -> Thinned:
    """At most `most` windows, evenly spaced."""
    n = min(len(windows), most)
    rows = np.linspace(0, len(windows) - 1, n).round().astype(int)
    return Thinned(np.asarray(windows.x[rows], np.float32), np.asarray(windows.y[rows]))


@dataclass(frozen=True)
class Score:
    """A quantised form beside the float student on the same windows.

    Attributes
    ----------
    drop : balanced accuracy lost; negative where it gained; None without labels.
    agreement : share of windows with the same decision.
    rmse : root mean square difference of the logits.
    cosine : of the logits, each class about its mean.
    snr_db : of the logits, in decibels; None where they are equal.
    """

    drop: float | None
    agreement: float
    rmse: float
    cosine: float
    snr_db: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def score(logits: Floats, reference: Floats, y: Ints) -> Score:
    """Compare logits (n, n_outputs) with the float student's on windows with labels `y` (n,)."""
    found = compare(reference, logits)
    kept = y != UNLABELLED
    drop = None
    if kept.any():
        drop = _balanced(reference[kept], y[kept]) - _balanced(logits[kept], y[kept])
    return Score(drop, found.top1_agreement, found.rmse, found.cosine, found.snr_db)


def _balanced(logits: Floats, y: Ints) -> float:
    """Balanced accuracy: the mean over classes of the share that is right."""
    right = decisions(logits) == y
    return float(np.mean([right[y == label].mean() for label in np.unique(y)]))


@dataclass(frozen=True)
class Gate:
    """How much int8 may cost on validation windows, against the float student.

    One window may always be decided otherwise: among few windows a single near-tie proves nothing.

    Attributes
    ----------
    max_drop : balanced accuracy that may be lost.
    min_agreement : share of windows that must keep their decision.
    min_cosine, min_cosine_tuned : of the logits; the second after fine-tuning, which changes them
        on purpose. By default those of parity, which would refuse what has less.
    """

    max_drop: float = 0.01
    min_agreement: float = 0.95
    min_cosine: float = COSINE
    min_cosine_tuned: float = COSINE_TUNED

    def passes(self, found: Score, y: Ints, *, tuned: bool = False) -> bool:
        """Whether a score on windows with labels `y` is within all limits."""
        return self.excess(found, y, tuned=tuned) == 0.0

    def excess(self, found: Score, y: Ints, *, tuned: bool = False) -> float:
        """By how much the limits are missed, all together; 0 within them.

        tuned : whether the form was fine-tuned.
        """
        cosine = self.min_cosine_tuned if tuned else self.min_cosine
        missed = [cosine - found.cosine]
        if (1 - found.agreement) * len(y) > 1.5:  # more than one window
            missed.append(self.min_agreement - found.agreement)
        kept = y[y != UNLABELLED]
        if found.drop is not None and len(kept):
            counts = np.unique(kept, return_counts=True)[1]
            one = 1 / (len(counts) * counts.min())
            missed.append(found.drop - max(self.max_drop, float(one)))
        return sum(gap for gap in missed if gap > _ROUNDING)
