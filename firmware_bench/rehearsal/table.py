"""A rehearsal on the terminal: student, teacher and their ratio, each figure with its evidence."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from firmware_bench.results import Measurement, Results, TargetRun
from targets.units import human

_COLUMNS = (
    ("instructions", "emulated"),
    ("peak_rss", "emulated"),
    ("latency_estimated", "estimated"),
)
_HEADINGS = ("file", "runtime", "file size\nmeasured", "of teacher", "instructions\nemulated",
             "of teacher", "peak memory\nemulated", "of teacher", "time\nestimated", "band",
             "of teacher")  # fmt: skip


def rehearsed(results: Results, run: TargetRun) -> bool:
    """Whether a run's figures come from the emulated board."""
    found = results.select(target=run.target.id, metric="instructions")
    return run.target.kind == "linux" and any(one.evidence == "emulated" for one in found)


def print_rehearsals(console: Console, results: Results) -> None:
    """Print a table for each rehearsed board, and which of int8 and fp32 is faster there."""
    for run in results.runs:
        if rehearsed(results, run):
            console.print(_table(results, run))
            for one in results.select(target=run.target.id, metric="int8_speedup"):
                console.print(
                    f"  {one.runtime}: {one.note} ({one.format}: {one.value:.2f} times as fast as "
                    f"fp32), {one.evidence}", highlight=False, soft_wrap=True,
                )  # fmt: skip
            for one in results.select(target=run.target.id, metric="latency_estimated"):
                if one.value is None:
                    text = f"  no time for {one.model} {one.format}, {one.runtime}: {one.reason}"
                    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _table(results: Results, run: TargetRun) -> Table:
    table = Table(title=f"{run.target.id}: rehearsed in an emulator", title_justify="left")
    for k, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if k < 2 else "right", no_wrap=k < 2)
    counted = results.select(target=run.target.id, metric="instructions")
    teacher = next((one for one in counted if one.model == "teacher"), None)
    for one in sorted(counted, key=lambda m: (m.model != "teacher", m.format, m.runtime)):
        table.add_row(*_row(results, one, teacher))
    return table


def _row(results: Results, one: Measurement, teacher: Measurement | None) -> list[str]:
    sizes = results.select(model=one.model, format=one.format, metric="file_size")
    above = [] if teacher is None else results.select(
        model="teacher", format=teacher.format, metric="file_size"
    )  # fmt: skip
    cells = [f"{one.model} {one.format}", one.runtime]
    cells += _pair(sizes[0] if sizes else None, above[0] if above else None)
    for metric, _ in _COLUMNS:
        mine = _of(results, one, metric)
        theirs = None if teacher is None else _of(results, teacher, metric)
        value, ratio = _pair(mine, theirs)
        cells.append(value)
        if metric == "latency_estimated":
            cells.append(_band(mine))
        cells.append(ratio)
    return cells


def _of(results: Results, one: Measurement, metric: str) -> Measurement | None:
    found = results.select(target=one.target, model=one.model, format=one.format, metric=metric)
    return next((other for other in found if other.runtime == one.runtime), None)


def _pair(mine: Measurement | None, theirs: Measurement | None) -> list[str]:
    """A figure, and the share of the teacher's that it is."""
    if mine is None or mine.value is None:
        return ["-", "-"]
    ratio = "-"
    if theirs is not None and theirs.value and mine.model != "teacher":
        ratio = f"1/{theirs.value / mine.value:,.0f}" if mine.value * 2 < theirs.value else (
            f"{mine.value / theirs.value:.2f}"
        )  # fmt: skip
    return [human(mine.value, mine.unit), ratio]


def _band(mine: Measurement | None) -> str:
    if mine is None or mine.interval is None:
        return "-"
    return f"{human(mine.interval.low, mine.unit)} to {human(mine.interval.high, mine.unit)}"
