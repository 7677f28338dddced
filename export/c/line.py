"""Addition of two quantised tensors as one line: a pair of factors, proved exact by trying all.

The reference shifts, scales and rounds thrice. Operands are int8: there are 65,536 sums, so that
``(a * factor_a + b * factor_b + offset) >> shift`` can be compared with it for each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Ints = NDArray[np.int64]
_NUDGES = (0, 1, -1, 2, -2, 3, -3)


@dataclass(frozen=True)
class Line:
    """``(a * factor_a + b * factor_b + offset) >> shift``, no part of it beyond 32 bits."""

    factor_a: int
    factor_b: int
    offset: int
    shift: int


def _rescale(x: Ints, multiplier: int, shift: int) -> Ints:
    """The reference's scaling: a product rounded to nearest, a shift rounded away from zero."""
    scaled = (x * multiplier + (1 << 30)) >> 31
    half = (1 << shift) >> 1
    return (scaled + (scaled >> 63) * int(shift > 0) + half) >> shift


def reference(pairs: tuple[Pair, Pair, Pair], zero_points: tuple[int, int, int]) -> Ints:
    """Results (256, 256) for a and b of -128..127, not limited yet; shifts to the right."""
    values = np.arange(-128, 128, dtype=np.int64)
    a = _rescale((values - zero_points[0]) << 20, *pairs[0])
    b = _rescale((values - zero_points[1]) << 20, *pairs[1])
    return _rescale(a[:, None] + b[None, :], *pairs[2]) + zero_points[2]


def find_line(pairs: tuple[Pair, Pair, Pair], zero_points: tuple[int, int, int]) -> Line | None:
    """The line that equals :func:`reference` limited to int8, for all pairs; None if none is found.

    `pairs`: multipliers and shifts to the right, `zero_points`: of a, b and the sum.
    """
    wanted = reference(pairs, zero_points)
    limited, values = wanted.clip(-128, 127), np.arange(-128, 128, dtype=np.int64)
    above, below = limited > -128, limited < 127  # a limit bounds the line on one side only
    if not (above.any() and below.any()):
        return None
    out = pairs[2][0] / 2.0 ** (31 + pairs[2][1])
    reals = [m / 2.0 ** (11 + s) * out for m, s in pairs[:2]]
    most = 128 * sum(reals) + abs(sum(r * z for r, z in zip(reals, zero_points, strict=False)))
    shift = 30 - math.ceil(math.log2(most + 129))
    factors = [round(real * 2.0**shift) for real in reals]
    for a, b in product(*([f + nudge for nudge in _NUDGES] for f in factors)):
        line = values[:, None] * a + values[None, :] * b
        least = int(((limited << shift) - line)[above].max())
        highest = int((((limited + 1) << shift) - 1 - line)[below].min())
        if least <= highest:
            offset = (least + highest) // 2
            fits = shift >= 0 and int(np.abs(line).max()) + abs(offset) < 2**31
            return Line(a, b, offset, shift) if fits else None
    return None
