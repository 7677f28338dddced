"""How far off the estimates are: published measurements against what our rules give.

``python -m firmware_bench.validation`` prints the table; dlink-bench prints the same error with
each estimate. An error is estimate / measurement - 1.

What it is: estimates of TensorFlow Lite Micro with CMSIS-NN, counted in the emulator like our own
library, against published times of microTVM with CMSIS-NN on the same board. What it is not: the
same binary on both sides (nobody publishes that), nor a measurement of our library. Where the data
hold no such pair for a board, the range that a study of published results found is quoted instead,
and said to be quoted. A firmware run on the real board replaces both.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from firmware_bench.cycles import milliseconds
from targets.errors import InputError
from targets.target import Target
from targets.units import parse as parse_quantity

_FILE = "data/validation.toml"


@dataclass(frozen=True)
class Published:
    """A published time of one model."""

    board: str
    core: str
    clock_hz: int
    engine: str
    round: str
    model: str
    time_ms: float
    source: str

    @property
    def cycles(self) -> float:
        """The time in cycles of the board's clock."""
        return self.time_ms * self.clock_hz / 1e3


@dataclass(frozen=True)
class Pair:
    """An estimate beside the measurement it is held against; `note` says what differs."""

    board: str
    engine: str
    model: str
    estimate_ms: float
    measured: Published
    note: str

    @property
    def error(self) -> float:
        """Estimate / measurement - 1."""
        return self.estimate_ms / self.measured.time_ms - 1


@dataclass(frozen=True)
class Band:
    """Least and greatest error seen, and where that comes from."""

    low: float
    high: float
    text: str

    def times(self, estimate: float) -> tuple[float, float]:
        """Range of the true time: what it would be if the estimate were off by either error."""
        return estimate / (1 + self.high), estimate / (1 + self.low)


@dataclass(frozen=True)
class Evidence:
    """The data file: measurements, pairs, and the quoted ranges by core."""

    published: tuple[Published, ...]
    pairs: tuple[Pair, ...]
    study: dict[str, Band]

    def best(self, board: str, model: str) -> Published | None:
        """Return the fastest published time of a model on a board, or None."""
        rows = [one for one in self.published if (one.board, one.model) == (board, model)]
        return min(rows, key=lambda one: one.time_ms, default=None)

    def errors(self, board: str) -> list[Pair]:
        """Return the pairs of a board."""
        return [pair for pair in self.pairs if pair.board == board]


@cache
def load() -> Evidence:
    """Read the data file."""
    return parse((resources.files("firmware_bench") / _FILE).read_text(encoding="utf-8"))


def parse(text: str) -> Evidence:
    """Read measurements, pairs and ranges from TOML; a fault in it is an InputError."""
    try:
        raw = tomllib.loads(text)
        published = tuple(
            one for row in raw["published"] for one in _published(row, raw["sources"])
        )
        pairs = tuple(pair for row in raw["estimated"] for pair in _pairs(row, published))
        study = {
            name: Band(
                row["low"], row["high"], f"{_range(row['low'], row['high'])} ({row['note']})"
            )
            for name, row in raw["study"].items()
        }
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError, StopIteration) as err:
        raise InputError(f"validation data cannot be used: {err!r}", where=_FILE) from None
    return Evidence(published, pairs, study)


def _published(row: dict[str, Any], sources: dict[str, str]) -> Iterable[Published]:
    clock = int(parse_quantity(row["clock"], "frequency", where=_FILE).number)
    times = {model: 1e3 / rate for model, rate in row.get("rate", {}).items()} | row.get("ms", {})
    for model, time in times.items():
        yield Published(
            row["board"], row["core"], clock, row["engine"], row["round"], model, float(time),
            sources[row["round"]],
        )  # fmt: skip


def _pairs(row: dict[str, Any], published: Sequence[Published]) -> list[Pair]:
    wanted = (row["board"], row["against"], row["round"])
    measured = {one.model: one for one in published if (one.board, one.engine, one.round) == wanted}
    return [
        Pair(row["board"], row["engine"], model, time, measured[model], row["note"])
        for model, time in row["ms"].items()
    ]


def band(target: Target) -> Band:
    """Return the error of estimates for `target`, for one sentence and for an interval.

    On a board with flash terms and measured pairs: the range of their errors, widened to what the
    study found, for the errors of two engines' difference lie all on one side. Elsewhere the
    study's range of the core, which is quoted.

    Raises
    ------
    InputError
        Nothing is known of the core.
    """
    evidence = load()
    pairs = evidence.errors(target.id)
    if target.flash_terms is not None and pairs:
        errors, study = [pair.error for pair in pairs], evidence.study["board_terms"]
        found = _range(min(errors), max(errors))
        text = (
            f"error {found} on {len(errors)} models of {pairs[0].engine} against published times of"
            f" {pairs[0].measured.engine} (two engines: the error holds their difference);"
            f" quoted from a study: {study.text}"
        )
        return Band(min(*errors, study.low), max(*errors, study.high), text)
    if target.core not in evidence.study:
        raise InputError("no error is known for the core", where=target.id, value=target.core)
    study = evidence.study[target.core]
    return Band(study.low, study.high, f"error quoted from a study: {study.text}")


def _range(low: float, high: float) -> str:
    return f"{100 * low:+.1f} to {100 * high:+.1f} %"


def against_best(board: Target, cycles: dict[str, int]) -> list[tuple[str, int, Published, float]]:
    """Hold our estimated cycles by model against the fastest published engine on a board.

    Returns
    -------
    list of (model, our cycles, published, ratio ours / theirs in time)
        For each model that has a published row. It is no validation: two engines are compared, one
        estimated, one measured.
    """
    found = []
    for model, count in cycles.items():
        best = load().best(board.id, model)
        if best is not None and board.clock_hz:
            ratio = milliseconds(count, board.clock_hz) / best.time_ms
            found.append((model, count, best, ratio))
    return found


def main() -> None:
    """Entry of ``python -m firmware_bench.validation``."""
    from firmware_bench.validation_cli import command

    command()


if __name__ == "__main__":
    main()
