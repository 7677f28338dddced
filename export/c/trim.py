"""Two multiplications in place of a long one: constants proved exact (dlink_requant_packed.h).

The reference scales a sum with a 31-bit multiplier and rounds twice. Within a channel's range of
sums the result takes at most 256 values, so that it is known by its thresholds: the least sum for
each value. A cheaper function that has the same thresholds is the same function.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNPROVED = -(2**15)
_LIMB = 12
_LOST_BELOW_0 = 2**12 - 1  # what a negative sum loses: its upper 12 bits as a number
_TRIES = 16
Ints = NDArray[np.int64]


def reference(sums: Ints, multiplier: int, shift: int) -> Ints:
    """The reference's result for `sums` (any shape); `shift` to the right, 1 or more."""
    x = (sums * multiplier + (1 << 30)) >> 31
    return (x + (x >> 63) + (1 << (shift - 1))) >> shift


def thresholds(multiplier: int, shift: int, results: Ints) -> Ints:
    """The least sum for each of `results`: next to where the exact quotient passes a half."""
    around = np.floor((results - 0.5) * (2.0 ** (31 + shift) / multiplier)).astype(np.int64)
    near = around[:, None] + np.arange(-4, 5)
    enough = reference(near, multiplier, shift) >= results[:, None]
    return near[np.arange(len(near)), enough.argmax(axis=1)]


def scaled(sums: Ints, multiplier: int) -> Ints:
    """``sums * multiplier / 2^19`` in two limbs of 12 bits, without the seven lowest bits."""
    low = (sums * ((multiplier >> 7) & 0xFFF)) >> _LIMB
    return low - np.where(sums < 0, _LOST_BELOW_0, 0) + sums * (multiplier >> 19)


def offset(shift: int, zero_point: int) -> int:
    """The halves of both roundings and the zero point, as `scaled` counts."""
    return ((2 * zero_point + 1) << (shift + _LIMB - 1)) + (1 << (_LIMB - 1))


def trim(
    multiplier: int, shift: int, sums: tuple[int, int], zero_point: int
) -> tuple[int, int] | None:
    """A multiplier whose seven lowest bits are 0, and a nudge.

    ``(scaled(sum, trimmed) + offset + nudge) >> (shift + 12)``, limited to int8, equals the
    reference's result plus zero point for every sum from ``sums[0]`` to ``sums[1]``, and nothing
    on the way leaves 32 bits. None if there is no such pair near the multiplier.
    """
    if max(-sums[0], sums[1]) >= 2**19 or shift > 15:
        return None
    results = np.arange(-127, 128, dtype=np.int64)
    least = thresholds(multiplier, shift, results - zero_point)
    inside = (least > sums[0]) & (least <= sums[1])
    beyond = results[least > sums[1]][:1]  # never reached
    before = results[least <= sums[0]][-1:]  # always
    start = offset(shift, zero_point)
    for step in sorted(range(-_TRIES, _TRIES + 1), key=abs):
        trimmed = ((multiplier >> 7) + step) << 7
        if not 2**30 <= trimmed < 2**31:
            continue
        edges = results << (shift + _LIMB)
        ends = scaled(np.array(sums, np.int64), trimmed)
        # The nudges for which each threshold is passed, and not one sum earlier.
        at_least = [edges[inside] - scaled(least[inside], trimmed)]
        at_most = [edges[inside] - scaled(least[inside] - 1, trimmed) - 1]
        at_least += [(before << (shift + _LIMB)) - ends[0], np.array([-(2**31)]) - ends[0]]
        at_most += [(beyond << (shift + _LIMB)) - ends[1] - 1, np.array([2**31 - 1]) - ends[1]]
        first = max(int(np.concatenate(at_least).max()) - start, UNPROVED + 1)
        last = min(int(np.concatenate(at_most).min()) - start, 2**15 - 1)
        if first <= last and abs(ends).max() < 2**31 and abs(start) < 2**31 - 2**15:
            return trimmed, min(max(first, 0), last)
    return None


def trim_layer(
    weights: NDArray[np.int8],
    bias: NDArray[np.int32],
    multipliers: NDArray[np.int32],
    shifts: NDArray[np.int8],
    zero_point: int,
) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Multipliers and nudges of channels with weights (channels, K); inputs are -128..127.

    A channel without a proof keeps its multiplier, and has the nudge `UNPROVED`.
    """
    trimmed, nudges = multipliers.copy(), np.full(multipliers.shape, UNPROVED, np.int16)
    above = np.maximum(weights.astype(np.int64), 0).sum(axis=1)
    below = np.minimum(weights.astype(np.int64), 0).sum(axis=1)
    least, most = bias - 128 * above + 127 * below, bias + 127 * above - 128 * below
    for c, (multiplier, shift) in enumerate(
        zip(multipliers.tolist(), shifts.tolist(), strict=True)
    ):
        found = trim(multiplier, shift, (int(least[c]), int(most[c])), zero_point)
        if found is not None:
            trimmed[c], nudges[c] = found
    return trimmed, nudges
