"""Is it still the same model? Figures, named tolerances, and a verdict per stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from targets.errors import InputError


@dataclass(frozen=True)
class Parity:
    """How two sets of logits (or raw int8 outputs) of the same windows differ.

    `max_rel` is `max_abs` over the spread (standard deviation) of the reference; `cosine` is that
    of the logits after removing the reference's mean per class, which would flatter it. `snr_db`
    is the reference's variance over the mean squared difference, in decibels; None where the two
    are equal.
    """

    max_abs: float
    max_rel: float
    rmse: float
    cosine: float
    snr_db: float | None
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
    "teacher.fp32": Tolerance(
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
    "tflite.dynamic": Tolerance(
        "8-bit weights per channel, values in float (or rounded to 8 bits window by window): half "
        "of what full int8 loses",
        cosine=0.995,
        top1_agreement=0.95,
    ),
    "tflite.int16x8": Tolerance(
        "values keep 16 bits, so only the 8-bit weights round",
        cosine=0.995,
        top1_agreement=0.95,
    ),
    "int8.finetuned": Tolerance(
        "integer forms whose weights were trained again decide by other logits on purpose: the "
        "accuracy gate judged them on validation data; this limit finds a broken file",
        cosine=0.8,
        top1_agreement=0.8,
    ),
    "int8.runtimes": Tolerance(
        "raw int8 outputs of optimised kernels against the reference kernels, in steps: they "
        "requantise with other rounding",
        max_abs=2.0,
    ),
    "int16.runtimes": Tolerance(
        "raw int16 outputs of optimised kernels against the reference kernels, in steps of 1/256 "
        "of an int8 step",
        max_abs=16.0,
    ),
    "int8.exact": Tolerance(
        "raw integer outputs of the C library or TensorFlow Lite Micro against the reference "
        "kernels: integer arithmetic, so every byte is equal",
        max_abs=0.0,
    ),
}

_AT_LEAST = ("cosine", "top1_agreement")


@dataclass(frozen=True)
class ParityResult:
    """Verdict on one stage; `failed` names each limit that was missed, with both figures.

    `lsb` counts the differences of raw integer outputs by their number of steps.
    """

    stage: str
    parity: Parity
    tolerance: Tolerance
    failed: tuple[str, ...]
    lsb: dict[int, int] | None = None

    @property
    def passed(self) -> bool:
        """Whether every limit of the stage was kept."""
        return not self.failed

    def as_dict(self) -> dict[str, Any]:
        """Plain data for parity.json."""
        limits = asdict(self.tolerance)
        limits = {k: v for k, v in limits.items() if v is not None and k != "reason"}
        found = {
            "stage": self.stage,
            "passed": self.passed,
            "failed": list(self.failed),
            "parity": asdict(self.parity),
            "tolerance": limits,
            "reason": self.tolerance.reason,
        }
        if self.lsb is not None:
            found["lsb_histogram"] = {str(step): count for step, count in self.lsb.items()}
        return found


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
    noise = float(np.mean(difference**2))
    return Parity(
        max_abs=max_abs,
        max_rel=max_rel,
        rmse=float(np.sqrt(noise)),
        cosine=_cosine(a, b),
        snr_db=_decibels(spread**2, noise),
        top1_agreement=float(np.mean(decisions(a) == decisions(b))),
        n=len(a),
    )


def _decibels(signal: float, noise: float) -> float | None:
    """10 log10 of the ratio, at least -300; None without noise."""
    if noise == 0.0:
        return None
    return max(10.0 * float(np.log10(max(signal, 1e-300) / noise)), -300.0)


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


def check_raw(
    stage: str, want: npt.NDArray[np.integer], got: npt.NDArray[np.integer]
) -> ParityResult:
    """Compare raw integer outputs (N, n_outputs), hold them against a stage, count the steps."""
    return replace(check(stage, compare(want, got)), lsb=lsb_histogram(want, got))


def lsb_histogram(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> dict[int, int]:
    """Count the differences b - a of raw integer outputs by their number of steps."""
    if a.shape != b.shape:
        raise InputError("outputs cannot be compared", value=f"{a.shape} and {b.shape}")
    steps, counts = np.unique(b.astype(np.int32) - a.astype(np.int32), return_counts=True)
    return {int(step): int(count) for step, count in zip(steps, counts, strict=True)}
