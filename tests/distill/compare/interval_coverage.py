"""How often intervals hold the true difference; run it for the table of docs/comparing.md.

Differences of n_seeds x n_subjects are drawn with known standard deviations of seeds, subjects and
cells around a true difference of 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distill.compare.statistics import crossed, crossed_bootstrap, mean_interval

Interval = Callable[[np.ndarray], tuple[float, float]]
SPREADS = {"all alike": (1, 1, 1), "subjects": (0.2, 1, 0.5), "seeds": (2, 1, 0.5)}
INTERVALS: dict[str, Interval] = {
    "t over seeds": lambda d: mean_interval(d.mean(axis=1)) or (0, 0),
    "bootstrap percentiles": lambda d: crossed_bootstrap(d, draws=1000) or (0, 0),
    "crossed random effects": lambda d: (crossed(d) or ((0, 0), 0))[0],
}


def coverage(
    interval: Interval, n_seeds: int, n_subjects: int, spread: tuple[float, ...], n: int = 400
) -> float:
    """Share of `n` simulated comparisons whose interval holds 0."""
    rng = np.random.default_rng(0)
    of_seeds, of_subjects, of_cells = spread
    held = 0
    for _ in range(n):
        d = (of_seeds * rng.standard_normal((n_seeds, 1))
             + of_subjects * rng.standard_normal((1, n_subjects))
             + of_cells * rng.standard_normal((n_seeds, n_subjects)))  # fmt: skip
        low, high = interval(d)
        held += low <= 0 <= high
    return held / n


if __name__ == "__main__":
    print("| seeds x subjects | largest spread |", " | ".join(INTERVALS), "|")
    print("| :-- | :-- |" + " --: |" * len(INTERVALS))
    for shape in ((3, 4), (3, 20), (5, 10), (10, 20)):
        for name, spread in SPREADS.items():
            found = [coverage(one, *shape, spread, 2000) for one in INTERVALS.values()]
            cells = " | ".join(f"{100 * value:.0f} %" for value in found)
            print(f"| {shape[0]} x {shape[1]} | {name} | {cells} |")
