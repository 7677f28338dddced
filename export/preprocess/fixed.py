"""The integer form's numbers: Q30 coefficients, fraction bits, and the step to int8."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from export.preprocess.definition import Biquads, Fir, Preprocessor
from targets.errors import InputError

#: Signals inside saturate at ±2^29; coefficients are Q30.
SIGNAL_BITS, COEFFICIENT_BITS = 29, 30
_MOST_TAP_SUM = 8


def fraction_bits(preprocessor: Preprocessor) -> int:
    """Bits behind the point of a signal inside: what the converter's width leaves free.

    One bit each for the first sample taken off, for the reference, and for filters that overshoot.
    """
    width = preprocessor.input_bits - 1 + preprocessor.remove_first + 1
    return SIGNAL_BITS - width - (preprocessor.reference is not None)


def q30(values: NDArray[np.float64], where: str) -> NDArray[np.int64]:
    """Values as int32 with 30 bits behind the point.

    Raises
    ------
    InputError
        A coefficient is 2 or more.
    """
    scaled = np.rint(np.asarray(values) * 2.0**COEFFICIENT_BITS).astype(np.int64)
    if scaled.size and (scaled.max() > 2**31 - 1 or scaled.min() < -(2**31)):
        raise InputError(
            "coefficient is too large for the integer form", where=where,
            value=float(np.abs(values).max()), limit="< 2", todo="Use the float form.",
        )  # fmt: skip
    return scaled


def sections(preprocessor: Preprocessor) -> NDArray[np.int64]:
    """(n_sections, 5): b0 b1 b2 a1 a2 in Q30."""
    rows = [
        q30(np.asarray(row)[[0, 1, 2, 4, 5]], stage.name)
        for stage in preprocessor.stages
        if isinstance(stage, Biquads)
        for row in stage.sos
    ]
    return np.array(rows, np.int64).reshape(-1, 5)


def taps(stage: Fir) -> NDArray[np.int64]:
    """(up, history + 1) in Q30, that of the oldest sample first.

    Raises
    ------
    InputError
        So large that a 64-bit sum could overflow.
    """
    phases = stage.phases()[:, ::-1]
    if np.abs(phases).sum(axis=1).max() >= _MOST_TAP_SUM:
        raise InputError(
            "filter's gain is too large for the integer form", where=stage.name,
            limit=f"sum of taps < {_MOST_TAP_SUM}", todo="Use the float form.",
        )  # fmt: skip
    return q30(phases, stage.name)


def inner_gain(preprocessor: Preprocessor) -> float:
    """Factor from a signal inside to the model's input."""
    return preprocessor.gain / 2.0 ** fraction_bits(preprocessor)


def multiplier(preprocessor: Preprocessor, scale: float) -> tuple[int, int]:
    """`m` in [2^30, 2^31) and `shift` with m / 2^shift = inner gain / scale.

    Raises
    ------
    InputError
        The two units are too far apart.
    """
    mantissa, exponent = math.frexp(inner_gain(preprocessor) / scale)
    found, shift = round(mantissa * 2**31), 31 - exponent
    if found == 2**31:
        found, shift = 2**30, shift - 1
    if not 1 <= shift <= 62:
        raise InputError(
            "model's input scale is too far from the device's counts", where="uv_per_count",
            value=f"{inner_gain(preprocessor) / scale:g} steps of the model per step inside",
            limit="2^-31 .. 2^30", todo="Check uv_per_count.",
        )  # fmt: skip
    return found, shift
