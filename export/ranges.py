"""Ranges of tensors that are seen piece by piece: extremes, and quantiles from a histogram."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

# At least 16,384 between zero and the largest value: where an outlier is 100 times the signal, the
# signal still has more bins than int8 has steps.
BINS = 65536


class RunningRange:
    """Smallest, largest and quantiles of all values added, in constant memory.

    `low`, `high` are the extremes, `zeros` the number of values that are exactly 0. The histogram
    spans [-limit, limit], where limit is a power of two; a value beyond it doubles the span and
    merges neighbouring bins, so that no second pass is needed.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.zeros = 0
        self._limit = 0.0
        self._counts = np.zeros(BINS, np.int64)

    @classmethod
    def restored(
        cls, counts: npt.NDArray[np.int64], limit: float, low: float, high: float, zeros: int
    ) -> RunningRange:
        """Make what :attr:`counts`, :attr:`limit`, `low`, `high` and `zeros` were taken from."""
        made = cls()
        made.low, made.high, made.zeros = low, high, zeros
        made._counts, made._limit = np.array(counts, np.int64), limit
        return made

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Values in each of BINS equal bins over [-limit, limit]."""
        return self._counts

    @property
    def limit(self) -> float:
        """Half of the histogram's span: a power of two, or 0 before the first value."""
        return self._limit

    def add(self, values: npt.NDArray[np.floating]) -> None:
        """Add finite values of any shape; none is allowed too."""
        if not values.size:
            return
        self.low, self.high = (
            min(self.low, float(values.min())),
            max(self.high, float(values.max())),
        )
        # Zero so far, or too small for bins: any span will do, and it can grow.
        peak = max(-self.low, self.high, 2.0**-60)
        if self._limit == 0.0:
            self._limit = 2.0 ** math.ceil(math.log2(peak))
        while peak > self._limit:
            merged = np.zeros_like(self._counts)
            merged[BINS // 4 : 3 * BINS // 4] = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts, self._limit = merged, 2 * self._limit
        self.zeros += values.size - int(np.count_nonzero(values))
        if self._limit > 2.0**120:  # the span itself would overflow float32
            values = values.astype(np.float64)
        span = (-self._limit, self._limit)
        self._counts += np.histogram(values, bins=BINS, range=span)[0]

    def within(self, percentile: float) -> tuple[float, float]:
        """Range without the rarest values: 100 - `percentile` per cent are cut from each end.

        The cut falls on the outer edge of a bin, and never outside the extremes.
        """
        total = int(self._counts.sum())
        below = np.cumsum(self._counts)
        tail = total * (100.0 - percentile) / 100.0
        width = 2 * self._limit / BINS
        first = int(np.searchsorted(below, tail, side="right"))
        last = int(np.searchsorted(below, total - tail, side="left"))
        low = -self._limit + min(first, BINS - 1) * width
        high = -self._limit + (min(last, BINS - 1) + 1) * width
        return max(self.low, low), min(self.high, high)
