"""Is it still the same model? Figures, named tolerances, and a verdict per stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.errors import InputError


@dataclass(frozen=True)
class Parity:
    """How two sets of logits (or raw int8 outputs) of the same windows differ.

    `max_rel` is `max_abs` over the spread (standard deviation) of the reference; `cosine` is that
    of the logits after removing the reference's mean per class, which would flatter it.
    """

    max_abs: float
    max_rel: float
    rmse: float
    cosine: float
    top1_agreement: float
    n: int


@dataclass(frozen=True)
class Tolerance:
    """Limits of a stage; None: not limited. At least one must be set."""

    reason: str
    max_abs: float | None = None
    max_rel: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None


TOLERANCES: Mapping[str, Tolerance] = {
    "onnx.fp32": Tolerance(
        "the same float32 arithmetic in another order, batch norm folded: 1e-4 of the spread is a "
        "hundred times what is seen, and a hundredth of what a wrong operator costs",
        max_rel=1e-4,
        top1_agreement=0.999,
    ),
    "teacher.onnx.fp32": Tolerance(
        "as onnx.fp32, but attention over a dozen layers accumulates more rounding",
        max_rel=1e-3,
        top1_agreement=0.995,
    ),
    "tflite.fp32": Tolerance(
        "as onnx.fp32: layout and padding are either right or visibly wrong",
        max_rel=1e-4,
        top1_agreement=0.999,
    ),
    "tflite.int8": Tolerance(
        "8-bit steps through about ten layers turn the logits by a few degrees; cosine 0.99 is 8 "
        "degrees, at which 1 of 22 random two-class decisions flips",
        cosine=0.99,
        top1_agreement=0.95,
    ),
    "onnx.int8": Tolerance(
        "as tflite.int8: the same scales",
        cosine=0.99,
        top1_agreement=0.95,
    ),
    "int8.runtimes": Tolerance(
        "raw int8 outputs of optimised kernels against the reference kernels, in steps: they "
        "requantise with other rounding",
        max_abs=2.0,
    ),
    "int8.exact": Tolerance(
        "raw int8 outputs of the C library or TensorFlow Lite Micro against the reference kernels: "
        "integer arithmetic, so every byte is equal",
        max_abs=0.0,
    ),
}

_AT_LEAST = ("cosine", "top1_agreement")


@dataclass(frozen=True)
class ParityResult:
    """Verdict on one stage; `failed` names each limit that was missed, with both figures."""

    stage: str
    parity: Parity
    tolerance: Tolerance
    failed: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every limit of the stage was kept."""
        return not self.failed

    def as_dict(self) -> dict[str, Any]:
        """Plain data for parity.json."""
        limits = {k: v for k, v in asdict(self.tolerance).items() if v is not None}
        return {
            "stage": self.stage,
            "passed": self.passed,
            "failed": list(self.failed),
            "parity": asdict(self.parity),
            "tolerance": limits,
        }


def compare(reference: npt.ArrayLike, got: npt.ArrayLike) -> Parity:
    """Compare outputs (N, n_outputs) of the same N windows.

    Raises
    ------
    InputError
        Shapes that differ, nothing to compare, or values that are not finite.
    """
    a, b = np.asarray(reference, np.float64), np.asarray(got, np.float64)
    if a.ndim != 2 or a.shape != b.shape or not a.size:
        raise InputError(
            "outputs cannot be compared", value=f"{a.shape} and {b.shape}", limit="(N, n_outputs)"
        )
    for name, values in (("reference", a), ("compared", b)):
        if not np.isfinite(values).all():
            raise InputError("outputs are not finite", where=f"{name} outputs")
    difference, spread = b - a, float(a.std())
    max_abs = float(np.abs(difference).max())
    # A reference without spread has no relative measure: then only equality is good.
    max_rel = max_abs / spread if spread else (0.0 if max_abs == 0 else float(np.finfo(float).max))
    return Parity(
        max_abs=max_abs,
        max_rel=max_rel,
        rmse=float(np.sqrt(np.mean(difference**2))),
        cosine=_cosine(a, b),
        top1_agreement=float(np.mean(decisions(a) == decisions(b))),
        n=len(a),
    )


def _cosine(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if len(a) > 1:
        mean = a.mean(axis=0)
        a, b = a - mean, b - mean
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if norms == 0.0:
        return 1.0 if np.array_equal(a, b) else 0.0
    return float(np.sum(a * b)) / norms


def decisions(logits: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Class of each row: the largest logit, or the sign of a single one."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.intp)
    return logits.argmax(axis=1)


def check(stage: str, parity: Parity) -> ParityResult:
    """Hold a comparison against the tolerance of its stage (a key of :data:`TOLERANCES`).

    One window may always decide differently: on few windows a single near-tie would else fail.
    """
    tolerance = TOLERANCES[stage]
    failed = []
    for name in ("max_abs", "max_rel", *_AT_LEAST):
        limit, value = getattr(tolerance, name), getattr(parity, name)
        if limit is None:
            continue
        kept = value >= limit if name in _AT_LEAST else value <= limit
        kept |= name == "top1_agreement" and round((1.0 - value) * parity.n) <= 1
        if not kept:
            sign = ">=" if name in _AT_LEAST else "<="
            failed.append(f"{name} {value:.6g}, required {sign} {limit:g}")
    return ParityResult(stage, parity, tolerance, tuple(failed))


def lsb_histogram(a: npt.NDArray[np.int8], b: npt.NDArray[np.int8]) -> dict[int, int]:
    """Count the differences b - a of raw int8 outputs by their number of steps."""
    if a.shape != b.shape:
        raise InputError("outputs cannot be compared", value=f"{a.shape} and {b.shape}")
    steps, counts = np.unique(b.astype(np.int16) - a.astype(np.int16), return_counts=True)
    return {int(step): int(count) for step, count in zip(steps, counts, strict=True)}
