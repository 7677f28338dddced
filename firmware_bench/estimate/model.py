"""Milliseconds of one inference on one thread of a Raspberry Pi, with a band, or a reason why not.

The estimate is a sum of counts times constants of the board (:mod:`firmware_bench.estimate.fit`
names the terms). The constants were fitted to published times of image networks under ncnn; other
runtimes keep the constants and get the wider band that other runtimes' figures showed. Every figure
is `estimated`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from firmware_bench.estimate import fit, mca, recorded
from firmware_bench.estimate.counts import Counts
from firmware_bench.estimate.recorded import MACHINES, Row
from targets.errors import InputError

EVIDENCE = "estimated"
FITTED_RUNTIME = "ncnn"
#: Networks of other runtimes against the model: 22 of 23 rows lay within this (docs/estimates.md).
OTHER_RUNTIMES = 0.35
#: True time / estimate of attention networks: too few published rows to fit a term.
ATTENTION = (0.6, 3.0)
#: How far beyond the fitted networks a count may lie: students are smaller than image networks.
SMALLER, LARGER, DENSER = 100.0, 4.0, 2.0
#: Beyond this many times the fitted share of branches their constant is not trusted.
BRANCHIER = 1.25


@dataclass(frozen=True)
class Band:
    """Range of true time / estimate, and where it comes from."""

    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Estimate:
    """One figure. Without a value (`valid` is false) `reason` says why.

    Attributes
    ----------
    ms, low, high : float or None
        Time of one inference and the ends of its band.
    parts : dict of str to float
        Milliseconds by term; they add up to `ms`.
    model, runtime : str
        Which model with which constants; which runtime and version was counted.
    band : str
        Where the band comes from.
    """

    ms: float | None
    low: float | None
    high: float | None
    model: str
    runtime: str
    valid: bool
    reason: str = ""
    band: str = ""
    parts: tuple[tuple[str, float], ...] = ()
    evidence: str = EVIDENCE


@dataclass(frozen=True)
class LatencyModel:
    """A board's constants, what they were fitted to, and how far off they were.

    Attributes
    ----------
    board : str
        Identifier of the target ("rpi4b").
    terms : tuple of (str, float)
        Name and constant: cycles per count, or nanoseconds per line of memory.
    error : float
        Greatest size of the error of a network left out of the fit.
    instructions, lines_per_instruction : (float, float)
        Range of the fitted networks.
    source : str
    own : bool
        Whether the constants come from measurements of one's own networks and runtime.
    branch_share : float
        Largest share of branches among the fitted networks.
    plain : LatencyModel or None
        What takes over for code with a larger share of branches.
    """

    board: str
    terms: tuple[tuple[str, float], ...]
    error: float
    instructions: tuple[float, float]
    lines_per_instruction: tuple[float, float]
    source: str
    own: bool = False
    branch_share: float = 1.0
    plain: LatencyModel | None = None

    @property
    def core(self) -> str:
        """Core of the board ("cortex-a72")."""
        return MACHINES[self.board].core

    @property
    def needs_cycles(self) -> bool:
        """Whether a term needs llvm-mca."""
        return any(name not in {"instructions", "lines"} for name, _ in self.terms)

    @property
    def name(self) -> str:
        """The model in one line, with its constants."""
        text = " + ".join(f"{value:.3g} x {name}" for name, value in self.terms)
        return f"{text}, {MACHINES[self.board].clock_ghz:g} GHz ({self.source})"

    def parts(self, row: Row) -> tuple[tuple[str, float], ...]:
        """Milliseconds by term."""
        names = [name for name, _ in self.terms]
        counts = fit.design([row], names)[0]
        return tuple(
            (name, float(count * constant))
            for count, (name, constant) in zip(counts, self.terms, strict=True)
        )

    def scaled(self, factor: float, *, error: float, source: str) -> LatencyModel:
        """Return the model with all constants times `factor`."""
        terms = tuple((name, value * factor) for name, value in self.terms)
        plain = self.plain and self.plain.scaled(factor, error=error, source=source)
        return replace(self, terms=terms, error=error, source=source, plain=plain)

    def suited(self, *rows: Row) -> LatencyModel:
        """Return this model, or the plain one if a row has a larger share of branches."""
        limit = BRANCHIER * self.branch_share
        branchy = any(row.branch_share > limit for row in rows)
        return self.plain if branchy and self.plain is not None else self

    def band(self, runtime: str, attention: bool) -> Band:
        """Range of true time / estimate for a network of that runtime."""
        if self.own:
            error = min(self.error, 0.9)
            return Band(1 / (1 + error), 1 / (1 - error), self.source)
        if attention:
            return Band(*ATTENTION, "attention networks: too few published rows for a term")
        if runtime.partition(" ")[0] == FITTED_RUNTIME:
            return Band(1 / (1 + self.error), 1 / (1 - self.error), "worst network left out")
        wide = max(self.error, OTHER_RUNTIMES)
        return Band(1 - wide, 1 + wide, f"other runtimes than {FITTED_RUNTIME}")

    def estimate(self, counts: Counts, *, runtime: str, attention: bool = False) -> Estimate:
        """Estimate one inference.

        Parameters
        ----------
        counts : Counts
            One inference under emulation of this board's core, in a warm process, with caches that
            are empty where it begins: so were the counts that the constants were fitted to.
        runtime : str
            Name and version of what was counted ("litert 2.3.0").
        attention : bool
            Whether the network holds attention: its band is wider.
        """
        try:
            row = self.row(counts)
        except InputError as err:
            return Estimate(None, None, None, self.name, runtime, False, str(err))
        reason = self._outside(counts)
        if reason:
            return Estimate(None, None, None, self.name, runtime, False, reason)
        used = self.suited(row)
        parts = used.parts(row)
        ms = sum(value for _, value in parts)
        band = used.band(runtime, attention)
        return Estimate(
            ms, ms * band.low, ms * band.high, used.name, runtime, True, "", band.text, parts
        )

    def row(self, counts: Counts, *, model: str = "", ms: float = 1.0) -> Row:
        """Counts of one inference as a row of this board; `ms` is what was measured, if it was.

        Raises
        ------
        InputError
            Nothing was executed, or llvm-mca is needed and not installed.
        """
        if not self.needs_cycles:
            cycles, classes = float(counts.instructions), {}
        else:
            found = mca.core_cycles(self.core, counts.blocks)
            cycles, classes = found.cycles, found.classes
        return Row(
            self.board, model, ms, counts.instructions, cycles, classes,
            counts.dram_lines, max(counts.l1_misses, counts.dram_lines),
        )  # fmt: skip

    def _outside(self, counts: Counts) -> str:
        if counts.threads != 1:
            return f"the model holds for one thread, not for {counts.threads}"
        low, high = self.instructions
        if not low / SMALLER <= counts.instructions <= high * LARGER:
            return (
                f"{counts.instructions:.3g} instructions lie far outside what was fitted"
                f" ({low:.3g} to {high:.3g})"
            )
        densest = self.lines_per_instruction[1] * DENSER
        if counts.dram_lines > densest * counts.instructions:
            share = counts.dram_lines / counts.instructions
            return f"{share:.3g} lines per instruction: bound by memory beyond what was fitted"
        return ""


def build(board: str, terms: tuple[str, ...], rows: tuple[Row, ...], source: str) -> LatencyModel:
    """Fit `terms` to the rows of a board.

    Raises
    ------
    InputError
        No such board, or too few rows.
    """
    if board not in MACHINES:
        raise InputError(
            "no latency model for this board", where=board, limit=", ".join(MACHINES),
            todo="Measure there.",
        )  # fmt: skip
    own = [row for row in fit.usable(rows, terms) if row.board == board]
    constants = fit.fit(own, board, terms)
    counts = [row.instructions for row in own]
    dense = [row.dram_lines / row.instructions for row in own if row.dram_lines is not None]
    return LatencyModel(
        board,
        tuple(constants.items()),
        fit.held_out(own, terms).worst,
        (min(counts), max(counts)),
        (min(dense, default=0.0), max(dense, default=0.0)),
        source,
        branch_share=max(row.branch_share for row in own),
        plain=build(board, fit.PLAIN, rows, f"{source}, without branches")
        if "branches" in terms
        else None,
    )


@cache
def published(board: str, *, cycles: bool | None = None) -> LatencyModel:
    """Model of a board by the published figures.

    Parameters
    ----------
    cycles : bool, optional
        Whether by llvm-mca's cycles; by default if it is installed. Else by instructions alone,
        with the wider band that this has.
    """
    by_cycles = mca.available() if cycles is None else cycles
    terms = fit.CHOSEN if by_cycles else fit.BY_INSTRUCTIONS
    how = "llvm-mca cycles" if by_cycles else "instructions alone"
    return build(board, terms, recorded.load().rows, f"{how}, fitted to published ncnn times")
