"""Where to clip a tensor, from its histogram: least squared error, or least divergence.

Both may cut the two ends differently, because the scales are asymmetric; an end never leaves the
extremes, and never passes zero, which every range contains.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export.ranges import RunningRange

Range = tuple[float, float]
LEVELS = 255  # steps between the ends of an int8 range
# Bins of the divergence: fewer than were counted, so that each holds values enough to be a density.
DENSITY_BINS = 16384
# Shares of the whole range that are tried: from all of it down to a thousandth, 16 to an octave.
_SHARES = 2.0 ** (-np.arange(161) / 16)


def least_squares(values: RunningRange) -> Range:
    """Range with the least expected squared error: rounding within it and clipping beyond it.

    Rounding costs scale^2 / 12 a value, except for exact zeros, which have a code of their own.
    All pairs of ends are compared (the objective of Banner et al. 2019, arXiv:1810.05723, on the
    histogram instead of a fitted density).
    """
    lows, highs = _ends(values)
    width = 2 * values.limit / len(values.counts)
    centres = -values.limit + (np.arange(len(values.counts)) + 0.5) * width
    moments = np.stack([values.counts * centres**k for k in range(3)])
    below = np.concatenate([np.zeros((3, 1)), np.cumsum(moments, axis=1)], axis=1)

    def clipped(ends: npt.NDArray[np.float64], upper: bool) -> npt.NDArray[np.float64]:
        """Sum of (x - end)^2 over the values beyond each end."""
        edge = np.rint((ends + values.limit) / width).astype(int)
        n, first, second = below[:, -1:] - below[:, edge] if upper else below[:, edge]
        return np.maximum(second - 2 * ends * first + ends**2 * n, 0.0)

    scale = (highs[None, :] - lows[:, None]) / LEVELS
    rounding = scale**2 / 12 * (values.counts.sum() - values.zeros)
    error = rounding + clipped(lows, upper=False)[:, None] + clipped(highs, upper=True)[None, :]
    i, j = np.unravel_index(int(error.argmin()), error.shape)
    return float(lows[i]), float(highs[j])


def least_divergence(values: RunningRange) -> Range:
    """Range whose int8 distribution diverges least (Kullback-Leibler) from the float one.

    Migacz, "8-bit inference with TensorRT", 2017. One symmetric threshold is chosen first, as
    there; then each end by itself, because the scales here are asymmetric.
    """
    lows, highs = _ends(values)
    counts = values.counts.reshape(DENSITY_BINS, -1).sum(axis=1)
    # Behind a ReLU most values are exactly 0, which any scale keeps: they are no part of a density.
    counts[DENSITY_BINS // 2] -= values.zeros
    width = 2 * values.limit / DENSITY_BINS

    def divergence(low: float, high: float) -> float:
        first = max(int(np.floor((low + values.limit) / width)), 0)
        last = min(int(np.ceil((high + values.limit) / width)), DENSITY_BINS)
        return _divergence(counts, first, last)

    peak = max(-values.low, values.high)
    both = [(max(values.low, -t), min(values.high, t)) for t in peak * _SHARES[::2]]
    low, high = min(((min(a, 0.0), max(b, 0.0)) for a, b in both), key=lambda r: divergence(*r))
    high = min(highs.tolist(), key=lambda end: divergence(low, end))
    low = min(lows.tolist(), key=lambda end: divergence(end, high))
    return low, high


def _ends(values: RunningRange) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Candidates of the lower and of the upper end; just 0 where no value lies beyond it."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    return (
        low * _SHARES if low < 0 else np.zeros(1),
        high * _SHARES if high > 0 else np.zeros(1),
    )


def _divergence(counts: npt.NDArray[np.int64], first: int, last: int) -> float:
    """KL(p || q) of the bins first ... last - 1; infinite where a step has less than one bin.

    p has what is cut off on its outer bins; q spreads each step's count over its filled bins.
    """
    inside = counts[first:last]
    if len(inside) < LEVELS:
        return np.inf
    p = inside.astype(np.float64)
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    starts = np.ceil(np.arange(LEVELS) * len(p) / LEVELS).astype(int)
    filled = p > 0
    share = np.add.reduceat(inside, starts) / np.maximum(
        np.add.reduceat(filled.astype(np.int64), starts), 1
    )
    q = np.where(filled, np.repeat(share, np.diff(starts, append=len(p))), 0.0)
    p /= p.sum()
    # A bin that holds only what was cut off has q = 0: it must cost much, not break the logarithm.
    q = np.maximum(q / max(q.sum(), 1.0), 1e-9)
    return float(np.sum(p[filled] * np.log(p[filled] / q[filled])))
