"""The history's tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from firmware_bench.history.compare import Change, Verdict
from firmware_bench.history.figures import Figure
from firmware_bench.history.store import Added
from targets.units import human

#: Where no terminal sets a width: no column of a log is cut off.
_LOG_WIDTH = 240
_STYLE: dict[Verdict, str] = {
    "better": "green", "worse": "bold red", "indicative": "yellow", "new": "cyan", "gone": "cyan",
    "same": "dim",
}  # fmt: skip


def show(table: Table) -> None:
    """Print a table, whole where the output is no terminal."""
    console = Console()
    (console if console.is_terminal else Console(width=_LOG_WIDTH)).print(table)


def results_table(found: Iterable[Added]) -> Table:
    """One row a results file."""
    table = _table("Results", "commit", "taken", "artefact", "targets")
    table.add_column("figures", justify="right", no_wrap=True)
    table.add_column("hash", no_wrap=True)
    for one in found:
        table.add_row(
            one.label, _date(one.created), Text(one.artefact), ", ".join(one.targets),
            str(one.figures), one.sha256[:12],
        )  # fmt: skip
    return table


def figures_table(figures: Sequence[Figure]) -> Table:
    """One row a figure, oldest first; what is not valid says so."""
    metrics = {one.metric for one in figures}
    title = metrics.pop() if len(metrics) == 1 else "Figures"
    headings = ("commit", "taken", "artefact", "on", "model", *(["metric"] if metrics else []))
    table = _table(title, *headings)
    table.add_column("figure", justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    table.add_column("note", overflow="fold")
    for one in figures:
        table.add_row(
            one.label, _date(one.created), Text(one.artefact), one.place, Text(one.what),
            *([one.metric] if metrics else []), _value(one),
            f"{human(one.low, one.unit)} to {human(one.high, one.unit)}"
            if one.low is not None and one.high is not None else "",
            one.evidence, Text(one.reason if one.reason else "" if one.valid else "indicative"),
        )  # fmt: skip
    return table


def changes_table(changes: Sequence[Change], before: str, after: str) -> Table:
    """One row a change."""
    table = _table("Changes", "verdict", "artefact", "on", "model", "metric")
    for heading in (before, after, "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    table.add_column("by", no_wrap=True)
    for one in changes:
        of, share = one.figure, one.relative
        table.add_row(
            Text(one.verdict, _STYLE[one.verdict]), Text(of.artefact), of.place, Text(of.what),
            of.metric, _value(one.before), _value(one.after),
            "" if share is None else f"{100 * share:+.3g} %", of.evidence, one.why,
        )  # fmt: skip
    return table


def _value(one: Figure | None) -> str:
    return "-" if one is None or one.value is None else human(one.value, one.unit)


def _date(created: str) -> str:
    return created[:16].replace("T", " ")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
