"""Constants of the latency model, and errors of models that it had not seen.

A model is a sum of terms, each a count of one inference times a constant of the board that cannot
be negative. Constants minimise the squared relative errors. An error is that of a network none of
whose precisions was in the fit; which terms to take is chosen inside the same loop
(:func:`nested_errors`), so that the choice does not see the network either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from firmware_bench.estimate.recorded import MACHINES, Row
from targets.errors import InputError


def _classes(*names: str) -> Callable[[Row], float]:
    return lambda row: float(sum(row.classes.get(name, 0) for name in names))


#: Name -> count of one inference. Those of the memory need a row that was counted with caches.
TERMS: dict[str, Callable[[Row], float]] = {
    "cycles": lambda row: float(row.cycles),
    "instructions": lambda row: float(row.instructions),
    "multiplies": _classes("fma", "multiply", "dot"),
    "floats": _classes("fma"),
    "stores": _classes("store", "store_vector"),
    "loads": _classes("load", "load_vector"),
    "branches": _classes("branch"),
    "call": lambda row: 1e6,
    "misses": lambda row: float(row.l1_misses or 0),
    "lines": lambda row: float(row.dram_lines or 0),
}
#: Terms in time of the memory; the others are cycles of the core's clock.
MEMORY_TERMS = frozenset({"lines"})
_COUNTED = frozenset({"lines", "misses"})

#: The model in use (chosen by the tables of docs/estimates.md), the one for code with more branches
#: than any fitted network, and the one without llvm-mca.
CHOSEN = ("cycles", "floats", "branches", "misses", "lines")
PLAIN = ("cycles", "misses", "lines")
BY_INSTRUCTIONS = ("instructions", "lines")


@dataclass(frozen=True)
class Errors:
    """Relative errors (estimate / published - 1) of held-out networks, one a row."""

    rows: tuple[Row, ...]
    values: np.ndarray

    @property
    def size(self) -> np.ndarray:
        """Errors without their sign, shape (n_rows,)."""
        return np.abs(self.values)

    @property
    def median(self) -> float:
        """Median size."""
        return float(np.median(self.size))

    @property
    def p90(self) -> float:
        """Size that nine of ten do not exceed."""
        return float(np.quantile(self.size, 0.9))

    @property
    def worst(self) -> float:
        """Greatest size."""
        return float(self.size.max())

    def within(self, limit: float) -> float:
        """Share of the rows whose error is at most `limit` in size."""
        return float(np.mean(self.size <= limit))

    def of(self, board: str) -> Errors:
        """Those of one board."""
        keep = [i for i, row in enumerate(self.rows) if row.board == board]
        return Errors(tuple(self.rows[i] for i in keep), self.values[keep])


def usable(rows: Sequence[Row], terms: Sequence[str]) -> list[Row]:
    """Rows that hold every count that `terms` need."""
    if not _COUNTED & set(terms):
        return list(rows)
    return [row for row in rows if row.dram_lines is not None and row.l1_misses is not None]


def design(rows: Sequence[Row], terms: Sequence[str]) -> np.ndarray:
    """Counts in units of time without constants, ms; shape (n_rows, n_terms).

    A core's term is in ms per cycle of that board's clock, a memory's in ms per nanosecond.
    """
    unknown = set(terms) - set(TERMS)
    if unknown:
        raise InputError("unknown term", value=", ".join(sorted(unknown)), limit=", ".join(TERMS))
    return np.array([[_unit(row.board, t) * TERMS[t](row) for t in terms] for row in rows])


def _unit(board: str, term: str) -> float:
    return 1e-6 if term in MEMORY_TERMS else 1e-6 / MACHINES[board].clock_ghz


def solve(counts: np.ndarray, ms: np.ndarray) -> np.ndarray:
    """Non-negative constants with the least squared relative error; shape (n_terms,).

    Parameters
    ----------
    counts : (n_rows, n_terms)
    ms : (n_rows,) positive
    """
    scaled = counts / ms[:, None]
    size = np.linalg.norm(scaled, axis=0)
    size[size == 0] = 1
    found, _ = nnls(scaled / size, np.ones(len(ms)))
    return np.asarray(found / size)


def fit(rows: Sequence[Row], board: str, terms: Sequence[str]) -> dict[str, float]:
    """Constants of a board: cycles per count, nanoseconds per line.

    Raises
    ------
    InputError
        Fewer rows of that board than terms.
    """
    own = [row for row in usable(rows, terms) if row.board == board]
    if len(own) < len(terms):
        raise InputError("too few rows to fit", where=board, value=len(own), limit=len(terms))
    values = solve(design(own, terms), np.array([row.ms for row in own]))
    return dict(zip(terms, map(float, values), strict=True))


def held_out(rows: Sequence[Row], terms: Sequence[str]) -> Errors:
    """Error of each row, fitted without its network (in both precisions), board by board."""
    kept = tuple(usable(rows, terms))
    values = np.zeros(len(kept))
    for board in dict.fromkeys(row.board for row in kept):
        index = np.array([i for i, row in enumerate(kept) if row.board == board])
        counts = design([kept[i] for i in index], terms)
        ms = np.array([kept[i].ms for i in index])
        families = np.array([kept[i].family for i in index])
        for family in np.unique(families):
            out = families == family
            constants = solve(counts[~out], ms[~out])
            values[index[out]] = counts[out] @ constants / ms[out] - 1
    return Errors(kept, values)


def nested_errors(
    rows: Sequence[Row], candidates: Sequence[Sequence[str]]
) -> tuple[Errors, dict[tuple[str, ...], int]]:
    """Errors when the terms, too, are chosen without the held-out network.

    The candidate with the least 90th percentile among the remaining networks is taken, on all
    boards. Returns the errors, and how often each candidate was taken.
    """
    needed = sorted({term for terms in candidates for term in terms})
    kept = usable(rows, needed)
    taken: dict[tuple[str, ...], int] = {}
    rated: list[Row] = []
    values: list[float] = []
    for family in dict.fromkeys(row.family for row in kept):
        seen = [row for row in kept if row.family != family]
        scores = [held_out(seen, terms).p90 for terms in candidates]
        best = tuple(candidates[int(np.argmin(scores))])
        taken[best] = taken.get(best, 0) + 1
        for row in (row for row in kept if row.family == family):
            constants = np.array(list(fit(seen, row.board, best).values()))
            rated.append(row)
            values.append(float(design([row], best)[0] @ constants) / row.ms - 1)
    return Errors(tuple(rated), np.array(values)), taken
