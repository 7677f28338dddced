"""Intervals and p-values for few seeds and few subjects. Pure functions of arrays.

What is drawn at random decides what an interval is worth. Over seeds, it speaks of this test set
and any other initial weights. Over seeds and subjects, which are crossed (every seed is judged on
the same subjects), it speaks of other people too. All intervals are two-sided.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
DRAWS = 10_000
#: Up to so many values every sign is tried (2^13 = 8192); beyond, DRAWS of them at random.
EXACT_UP_TO = 13

Pair = tuple[float, float]


def mean_interval(values: ArrayLike, level: float = LEVEL) -> Pair | None:
    """Student's t interval of the mean of `values` (n,); None for fewer than two.

    Of paired differences, one a seed, it is the paired t interval.
    """
    from scipy import stats

    x = np.asarray(values, dtype=np.float64)
    if x.size < 2:
        return None
    half = stats.t.ppf((1 + level) / 2, x.size - 1) * x.std(ddof=1) / np.sqrt(x.size)
    return float(x.mean() - half), float(x.mean() + half)


def sign_flip_p(differences: ArrayLike, *, seed: int = 0) -> float | None:
    """Two-sided p-value of the paired permutation (sign-flip) test on the mean of (n,).

    Exact up to 13 values; beyond, of 10,000 draws with the observed one counted in (Phipson and
    Smyth 2010). Fewer than two values have none.
    """
    d = np.asarray(differences, dtype=np.float64)
    n = d.size
    if n < 2:
        return None
    if n <= EXACT_UP_TO:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        extra = 0
    else:
        bits = np.random.default_rng(seed).integers(0, 2, size=(DRAWS, n))
        extra = 1
    sums = np.abs((1 - 2 * bits) @ d)
    # Sums of the same numbers in another order differ in their last digits.
    hits = int(np.count_nonzero(sums >= abs(d.sum()) - 1e-12 * np.abs(d).sum()))
    return (hits + extra) / (len(sums) + extra)


def smallest_p(n: int) -> float:
    """The smallest p-value that :func:`sign_flip_p` can give for n values: both signs of all."""
    return 2.0 ** (1 - n) if n <= EXACT_UP_TO else 1 / (DRAWS + 1)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment (Holm 1979); None stays None and does not count."""
    known = sorted((p, k) for k, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, k) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[k] = highest
    return adjusted


def fieller(numerator: ArrayLike, denominator: ArrayLike, level: float = LEVEL) -> Pair | None:
    """Fieller's interval of mean(numerator) / mean(denominator), both (n,) and paired.

    The ratios theta for which the t-test of numerator - theta denominator is not significant
    (Fieller 1954). They form an interval only where the denominator itself differs from zero
    significantly; None where it does not, and for fewer than two pairs. A bootstrap of the ratio
    would give an interval there all the same, of whatever width its few denominators near zero
    make.
    """
    from scipy import stats

    x, y = (np.asarray(a, dtype=np.float64) for a in (numerator, denominator))
    n = x.size
    if n < 2:
        return None
    t2 = stats.t.ppf((1 + level) / 2, n - 1) ** 2
    cov = np.cov(x, y) / n
    a, b, c = (
        y.mean() ** 2 - t2 * cov[1, 1],
        x.mean() * y.mean() - t2 * cov[0, 1],
        x.mean() ** 2 - t2 * cov[0, 0],
    )
    if a <= 0:
        return None
    root = np.sqrt(max(b * b - a * c, 0.0))
    return float((b - root) / a), float((b + root) / a)


def crossed(table: ArrayLike, level: float = LEVEL) -> tuple[Pair, float] | None:
    """t interval of the grand mean of (n_seeds, n_subjects), both drawn at random, and its p-value.

    Two-way random effects without repetition: Var(mean) = MS_seeds / n + MS_subjects / n
    - MS_rest / n, n the number of cells, with Satterthwaite's (1946) degrees of freedom. The
    variance is never taken below that of seeds or of subjects alone, the degrees of freedom never
    below those of the fewer of the two. None for fewer than two seeds or subjects.
    """
    from scipy import stats

    d = np.asarray(table, dtype=np.float64)
    s, j = d.shape
    if s < 2 or j < 2:
        return None
    mean, rows, columns = d.mean(), d.mean(axis=1), d.mean(axis=0)
    by_seed, by_subject = rows.var(ddof=1) / s, columns.var(ddof=1) / j
    rest = d - rows[:, None] - columns + mean
    cell = float(np.sum(rest**2)) / ((s - 1) * (j - 1)) / (s * j)
    variance = max(by_seed + by_subject - cell, by_seed, by_subject)
    if variance <= np.finfo(float).eps * max(1.0, float(mean**2)):  # all cells alike
        return (float(mean), float(mean)), float(mean == 0)
    spread = by_seed**2 / (s - 1) + by_subject**2 / (j - 1) + cell**2 / ((s - 1) * (j - 1))
    df = max(variance**2 / spread, min(s, j) - 1)
    error = np.sqrt(variance)
    half = stats.t.ppf((1 + level) / 2, df) * error
    p = 2 * stats.t.sf(abs(mean) / error, df)
    return (float(mean - half), float(mean + half)), float(p)


def crossed_bootstrap(
    table: ArrayLike, level: float = LEVEL, *, seed: int = 0, draws: int = DRAWS
) -> Pair | None:
    """Percentile interval of the grand mean of (n_seeds, n_subjects): pigeonhole bootstrap.

    Seeds and subjects are drawn anew, each among themselves, and the cells of the drawn rows and
    columns averaged (Owen 2007). Subjects drawn within each seed would be taken for other people
    in every seed, and the interval too narrow. None for fewer than two seeds or subjects.
    """
    d = np.asarray(table, dtype=np.float64)
    s, j = d.shape
    if s < 2 or j < 2:
        return None
    rng = np.random.default_rng(seed)
    seeds: NDArray[np.float64] = rng.multinomial(s, np.full(s, 1 / s), size=draws) / s
    subjects: NDArray[np.float64] = rng.multinomial(j, np.full(j, 1 / j), size=draws) / j
    means = np.einsum("bs,sj,bj->b", seeds, d, subjects, optimize=True)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
