"""A rehearsal on the terminal: student, teacher and their ratio, each figure with its evidence."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from firmware_bench.results import Measurement, Results, TargetRun
from targets.units import BASE_UNIT, human

_COLUMNS = ("instructions", "peak_rss", "latency_estimated")
_HEADINGS = ("file", "runtime", "file size\nmeasured", "instructions\nemulated",
             "peak memory\nemulated", "time (band)\nestimated")  # fmt: skip


def rehearsed(results: Results, run: TargetRun) -> bool:
    """Whether a run's figures come from the emulated board."""
    found = results.select(target=run.target.id, metric="instructions")
    return run.target.kind == "linux" and any(one.evidence == "emulated" for one in found)


def print_rehearsals(console: Console, results: Results) -> None:
    """Print a table for each rehearsed board, and which of int8 and fp32 is faster there."""
    for run in results.runs:
        if rehearsed(results, run):
            _wide(console).print(_table(results, run))
            for one in results.select(target=run.target.id, metric="latency_estimated"):
                if one.value is None:
                    text = f"  no time for {one.model} {one.format}, {one.runtime}: {one.reason}"
                    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _wide(console: Console) -> Console:
    """A console that does not cut the table, where no terminal sets the width."""
    if console.is_terminal or console.record:
        return console
    return Console(width=max(console.width, 136), file=console.file)


def _table(results: Results, run: TargetRun) -> Table:
    title = (
        f"{run.target.id}: the student, rehearsed in an emulator; beside each figure, its share of "
        "the teacher's"
    )
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for k, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if k < 2 else "right", no_wrap=True)
    counted = results.select(target=run.target.id, metric="instructions")
    teacher = next((one for one in counted if one.model == "teacher"), None)
    for one in sorted(counted, key=lambda m: (m.model != "teacher", m.format, m.runtime)):
        table.add_row(*_row(results, one, teacher))
    return table


def _row(results: Results, one: Measurement, teacher: Measurement | None) -> list[str]:
    def size(of: Measurement | None) -> Measurement | None:
        if of is None:
            return None
        found = results.select(model=of.model, format=of.format, metric="file_size")
        return found[0] if found else None

    name = f"teacher {one.format}" if one.model == "teacher" else one.format
    cells = [name, one.runtime, _cell(size(one), size(teacher))]
    for metric in _COLUMNS:
        theirs = None if teacher is None else _of(results, teacher, metric)
        cells.append(_cell(_of(results, one, metric), theirs))
    return cells


def _of(results: Results, one: Measurement, metric: str) -> Measurement | None:
    found = results.select(target=one.target, model=one.model, format=one.format, metric=metric)
    return next((other for other in found if other.runtime == one.runtime), None)


def _cell(mine: Measurement | None, theirs: Measurement | None) -> str:
    """A figure, its band, and the share of the teacher's that it is: "1.46 M  1/137"."""
    if mine is None or mine.value is None:
        return "-"
    text = _figure(mine.value, mine.unit)
    if mine.interval is not None:
        low, high = (_figure(v, mine.unit) for v in (mine.interval.low, mine.interval.high))
        text += f" ({low.split()[0]}-{high.split()[0]})"
    if theirs is None or not theirs.value or mine.model == "teacher":
        return text
    part = mine.value / theirs.value
    return f"{text} 1/{1 / part:.0f}" if part < 0.5 else f"{text} {part:.2f}"


def _figure(value: float, unit: str) -> str:
    return f"{value / 1e6:,.2f} M" if unit == BASE_UNIT["count"] else human(value, unit)
