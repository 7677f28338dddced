"""Statistics of run times: robust summaries and the interval of an interleaved ratio.

Times have a hard floor and a long tail of interruptions, so medians and the median absolute
deviation (MAD) take the place of mean and standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from firmware_bench.results import Interval, Samples

DRAWS = 2000


def summary(times: Sequence[float] | np.ndarray, *, stable: bool = True) -> Samples:
    """Summarise run times (any unit): median, MAD, 90th and 99th percentile, worst.

    Percentiles are of the nearest-rank kind: each is a time that really occurred.
    """
    values = np.asarray(times, dtype=np.float64)
    if values.size == 0:
        raise ValueError("no runs to summarise")
    median = float(np.median(values))
    p90, p99 = np.percentile(values, [90, 99], method="inverted_cdf")
    return Samples(
        count=int(values.size),
        median=median,
        mad=float(np.median(np.abs(values - median))),
        p90=float(p90),
        p99=float(p99),
        worst=float(values.max()),
        stable=stable,
    )


def median_interval(blocks: Sequence[Sequence[float]], *, seed: int = 0) -> Interval:
    """95 % bootstrap interval of the median run time.

    Whole blocks are drawn, not single runs: neighbours share a clock rate and a cache state, so
    single runs are not independent and their interval would be too narrow.

    Parameters
    ----------
    blocks : (n_blocks, n_runs) times
        Blocks of one length.
    """
    times = np.asarray(blocks, dtype=np.float64)
    drawn = times[_draws(len(times), seed)].reshape(DRAWS, -1)
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return Interval(low=float(low), high=float(high), kind="95 % CI")


def ratio(
    numerator: Sequence[Sequence[float]], denominator: Sequence[Sequence[float]], *, seed: int = 0
) -> tuple[float, Interval]:
    """Ratio of two models' times from interleaved blocks, with its 95 % bootstrap interval.

    Block i of both ran next to each other, so a slow phase of a shared machine hits both and
    cancels in the block's ratio of medians. The estimate is the median of the block ratios.

    Parameters
    ----------
    numerator, denominator : (n_blocks, n_runs) times
        In the same order of blocks.
    """
    if len(numerator) != len(denominator):
        raise ValueError(f"{len(numerator)} blocks against {len(denominator)}")
    ratios = np.array(
        [np.median(a) / np.median(b) for a, b in zip(numerator, denominator, strict=True)]
    )
    draws = _draws(len(ratios), seed)
    low, high = np.percentile(np.median(ratios[draws], axis=1), [2.5, 97.5])
    interval = Interval(low=float(low), high=float(high), kind="95 % CI")
    return float(np.median(ratios)), interval


def _draws(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, size=(DRAWS, count))
