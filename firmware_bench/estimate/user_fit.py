"""A board's constants from one's own measurements: ``python -m firmware_bench.estimate.user_fit``.

One measured model scales all constants. With as many networks as :data:`REFIT_FROM` the constants
are fitted anew if that is better for networks left out; with fewer, and where it is not, they are
scaled together. The error is that of each network left out in turn; one network has none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from firmware_bench.estimate import fit, model
from firmware_bench.estimate.counts import read
from firmware_bench.estimate.model import LatencyModel
from firmware_bench.estimate.recorded import MACHINES, Row
from targets.errors import InputError, user_errors
from targets.files import read_json, write_json

#: Networks from which constants are fitted rather than scaled: two for each term.
REFIT_FROM = 2 * len(fit.CHOSEN)
#: A measurement this many times off the published constants is of something else.
NONSENSE = 10.0
#: Error to print where only one network was measured: that of a scaled model on another network.
ONE_NETWORK = 0.25
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class UserFit:
    """Constants of one's own board.

    Attributes
    ----------
    model : LatencyModel
        With an error that the band comes from.
    kind : {"scaled", "fitted"}
    factor : float
        Median of measured / estimated by the published constants.
    errors : tuple of (str, float)
        Relative error of each network when left out; empty for a single one.
    before : tuple of (str, float)
        Relative error by the published constants.
    """

    model: LatencyModel
    kind: str
    factor: float
    errors: tuple[tuple[str, float], ...]
    before: tuple[tuple[str, float], ...]


def refit(base: LatencyModel, rows: Sequence[Row]) -> UserFit:
    """Fit a board's constants to measured rows.

    Parameters
    ----------
    base : LatencyModel
        The published constants (:func:`firmware_bench.estimate.model.published`).
    rows : sequence of Row
        One a network, `ms` the measured median on that board, one thread, in a valid environment.

    Raises
    ------
    InputError
        No rows, one of another board, a network twice, a time that is not positive or is more than
        :data:`NONSENSE` times off, or times that contradict each other as much.
    """
    _check(base, rows)
    base = base.suited(*rows)
    ratios = np.array([row.ms / _predict(base, row) for row in rows])
    _check_ratios(rows, ratios)
    factor = float(np.median(ratios))
    scaled = _scaled_errors(ratios)
    best, kind, constants = scaled, "scaled", None
    terms = [name for name, _ in base.terms]
    if len(rows) >= REFIT_FROM and len({row.family for row in rows}) >= REFIT_FROM:
        fitted = fit.held_out(rows, terms).values
        if np.abs(fitted).max() < np.abs(scaled).max():
            best, kind, constants = fitted, "fitted", fit.fit(rows, base.board, terms)
    error = float(np.abs(best).max()) if len(best) else ONE_NETWORK
    source = f"{kind} to {len(rows)} measured network{'s' if len(rows) > 1 else ''}"
    found = base.scaled(factor, error=error, source=source)
    if constants is not None:
        found = replace(found, terms=tuple(constants.items()))
    plain = found.plain and replace(found.plain, own=True)
    found = replace(found, **_widened(base, rows), own=True, plain=plain)
    names = [row.model for row in rows]
    return UserFit(
        found,
        kind,
        factor,
        tuple(zip(names, map(float, best), strict=True)) if len(best) else (),
        tuple(zip(names, map(float, 1 / ratios - 1), strict=True)),
    )


def _widened(base: LatencyModel, rows: Sequence[Row]) -> dict[str, Any]:
    """Ranges of `base` with the measured networks in them."""
    counts = [row.instructions for row in rows]
    dense = [(row.dram_lines or 0) / row.instructions for row in rows]
    return {
        "instructions": (min(base.instructions[0], *counts), max(base.instructions[1], *counts)),
        "branch_share": max(base.branch_share, *(row.branch_share for row in rows)),
        "lines_per_instruction": (
            min(base.lines_per_instruction[0], *dense),
            max(base.lines_per_instruction[1], *dense),
        ),
    }


def _predict(base: LatencyModel, row: Row) -> float:
    return sum(value for _, value in base.parts(row))


def _scaled_errors(ratios: np.ndarray) -> np.ndarray:
    """Error of each network when the factor is the median of the others; empty for one."""
    if len(ratios) < 2:
        return np.array([])
    others = [np.median(np.delete(ratios, i)) for i in range(len(ratios))]
    return np.asarray(np.array(others) / ratios - 1)


def _check(base: LatencyModel, rows: Sequence[Row]) -> None:
    if not rows:
        raise InputError("no measurement to fit", todo="Give results and counts of one network.")
    names = [row.model for row in rows]
    for row in rows:
        if row.board != base.board:
            raise InputError("measured on another board", where=row.model, value=row.board,
                             limit=base.board)  # fmt: skip
        if not (math.isfinite(row.ms) and row.ms > 0):
            raise InputError("time is not positive", where=row.model, value=row.ms)
        if names.count(row.model) > 1:
            raise InputError("network given twice", where=row.model)


def _check_ratios(rows: Sequence[Row], ratios: np.ndarray) -> None:
    for row, ratio in zip(rows, ratios, strict=True):
        if not 1 / NONSENSE <= ratio <= NONSENSE:
            raise InputError(
                "measured time is not of what was counted", where=row.model,
                value=f"{ratio:.3g} times the estimate", limit=f"{NONSENSE:g} times",
                todo="Check board, unit, threads, and that both are of the same file and runtime.",
            )  # fmt: skip
    spread = float(ratios.max() / ratios.min())
    if spread > NONSENSE:
        raise InputError(
            "measurements contradict each other", value=f"factors differ {spread:.3g} times",
            limit=f"{NONSENSE:g}", todo="Check that each count belongs to its measurement.",
        )  # fmt: skip


def measured_row(
    base: LatencyModel, results: Path, counts: Path, *, name: str, fmt: str, runtime: str
) -> Row:
    """Row of a measured model: its time from results.json, its counts from the plugin's file.

    Raises
    ------
    InputError
        No such figure on that board, it is not measured, or its environment was not valid.
    """
    from firmware_bench.results import load

    bench = load(results)
    found = [
        one
        for one in bench.select(target=base.board, model=name, metric="latency_median")
        if (not fmt or one.format == fmt) and (not runtime or one.runtime.startswith(runtime))
    ]
    if len(found) != 1 or found[0].value is None:
        raise InputError(
            f"not one latency of the {name} on {base.board}", where=results, value=len(found),
            limit=1, todo="Narrow it down with --format and --runtime.",
        )  # fmt: skip
    environment = bench.environment(base.board)
    if found[0].evidence != "measured" or environment is None or not environment.valid:
        raise InputError(
            "figure cannot be fitted to", where=results, value=found[0].evidence,
            limit="measured, in a valid environment", todo="Mend what the report names.",
        )  # fmt: skip
    label = f"{results.parent.name}/{name} {found[0].format}".strip()
    return base.row(read(counts), model=label, ms=found[0].value)


def save(path: Path, found: UserFit) -> None:
    """Write the constants as JSON."""
    one = found.model
    write_json(path, {
        "schema_version": SCHEMA_VERSION, "board": one.board, "kind": found.kind,
        "terms": dict(one.terms), "error": one.error, "instructions": list(one.instructions),
        "lines_per_instruction": list(one.lines_per_instruction), "source": one.source,
        "branch_share": one.branch_share, "plain": dict(one.plain.terms) if one.plain else None,
        "left_out": dict(found.errors), "by_published": dict(found.before),
    })  # fmt: skip


def load(path: Path) -> LatencyModel:
    """Read constants that :func:`save` wrote.

    Raises
    ------
    InputError
        File missing, or of another version or form.
    """
    data = read_json(path, "fit")
    try:
        if data["schema_version"] != SCHEMA_VERSION or data["board"] not in MACHINES:
            raise ValueError
        ranges = [tuple(map(float, data[key])) for key in ("instructions", "lines_per_instruction")]
        (low, high), (thin, dense) = ranges
        one = LatencyModel(
            data["board"], _terms(data["terms"]), float(data["error"]), (low, high), (thin, dense),
            str(data["source"]), own=True, branch_share=float(data["branch_share"]),
        )  # fmt: skip
        if data["plain"] is None:
            return one
        plain = replace(one, terms=_terms(data["plain"]), branch_share=1.0)
        return replace(one, plain=plain)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError("not a fit of this version", where=path, todo="Fit again.") from None


def _terms(data: dict[str, float]) -> tuple[tuple[str, float], ...]:
    terms = tuple((name, float(value)) for name, value in data.items())
    if not terms or not all(n in fit.TERMS and math.isfinite(v) and v >= 0 for n, v in terms):
        raise ValueError
    return terms


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("board")
@click.option(
    "--pair",
    "pairs",
    nargs=2,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RESULTS COUNTS",
    help="A results.json and the counts of the same model.",
)
@click.option("--model", "name", default="student", show_default=True, help="Model in the results.")
@click.option("--format", "fmt", default="", help="Its format, where there are several.")
@click.option("--runtime", default="", help="Its runtime, where there are several.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the constants here.")
def command(
    board: str, pairs: tuple[tuple[Path, Path], ...], name: str, fmt: str, runtime: str,
    output: Path | None,
) -> None:  # fmt: skip
    """Fit the constants of BOARD to your own measurements."""
    with user_errors("fit"):
        base = model.published(board)
        rows = [
            measured_row(base, results, counts, name=name, fmt=fmt, runtime=runtime)
            for results, counts in pairs
        ]
        found = refit(base, rows)
        click.echo(f"{board}: {found.kind}, {found.factor:.3g} times the published estimate")
        left_out = dict(found.errors)
        for label, before in found.before:
            after = f", left out {100 * left_out[label]:+.1f} %" if label in left_out else ""
            click.echo(f"  {label}: by published constants {100 * before:+.1f} %{after}")
        click.echo(f"  {found.model.name}; band ±{100 * found.model.error:.0f} %")
        if output is not None:
            save(output, found)


if __name__ == "__main__":
    command()
