"""The tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from firmware_bench import board_table
from firmware_bench.gate import Status, Verdict
from firmware_bench.rehearsal.table import rehearsed
from firmware_bench.results import Measurement, Results
from targets.units import human

_STYLE: dict[Status, str] = {
    "pass": "green", "fail": "bold red", "missing": "yellow", "inconclusive": "yellow",
}  # fmt: skip
#: Columns of the bench table for each kind of target: heading, metric.
_COLUMNS = {
    "host": (
        ("median", "latency_median"),
        ("p90", "latency_p90"),
        ("p99", "latency_p99"),
        ("peak RSS", "peak_rss"),
        ("model's own", "model_rss"),
        ("vs teacher", "latency_ratio"),
    ),
    "cortex-m": (
        ("instructions", "instructions"),
        ("per MAC", "instructions_per_mac"),
        ("time", "latency_estimated"),
        ("flash", "flash_bytes"),
        ("RAM", "ram_bytes"),
        ("stack", "stack_bytes"),
        ("differing", "golden_differing_bytes"),
    ),
}


def console() -> Console:
    """Return a console that leaves tables their width where no terminal sets one."""
    found = Console()
    return found if found.is_terminal else Console(width=max(found.width, 120))


def print_results(console: Console, results: Results) -> None:
    """Print accuracy, then one table a target, one row a model file; a bare model has its own."""
    if "constant_bytes" in results.manifest:
        board_table.print_model(console, results)
        return
    _print_accuracy(console, results)
    for run in results.runs:
        target = run.target
        if rehearsed(results, run):  # has a table of its own: no milliseconds of a clock
            continue
        columns = _COLUMNS["cortex-m" if target.kind == "cortex-m" else "host"]
        rows, notes = [], []
        for model, fmt in _rows(results, target.id):
            found = results.select(target=target.id, model=model, format=fmt)
            found += results.select(target=target.id, model="ratio", format=fmt) * (
                model == "student"
            )
            by_metric = {one.metric: one for one in found}
            size = results.select(model=model, format=fmt, metric="file_size")
            cells = [size[0] if size else None, *(by_metric.get(metric) for _, metric in columns)]
            rows.append((f"{model} {fmt}", cells))
            notes += [f"{model}: {one.note}" for one in found if one.metric.endswith("_factor")]
        headings = ("file", *(heading for heading, _ in columns))
        console.print(_evident(f"{target.id}: {target.name}", headings, rows))
        for note in notes:
            _line(console, f"  {note}")
        for fault in run.environment.faults:
            _line(console, f"  milliseconds are indicative only: {fault.text}", "yellow")


def print_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print one row a budget line, then a sentence for each that did not pass."""
    table = _table("Budgets", "verdict", "target", "model", "figure")
    for heading in ("found", "limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    for verdict in verdicts:
        budget, found = verdict.budget, verdict.measurement
        style = _STYLE[verdict.status]
        table.add_row(
            f"[{style}]{verdict.status}[/]",
            budget.target,
            " ".join(filter(None, (budget.model, found.format if found else budget.format))),
            budget.metric,
            verdict.value_text,
            verdict.limit_text,
            found.evidence if found else "-",
        )
    console.print(table)
    for verdict in verdicts:
        if verdict.status != "pass":
            where = f"{verdict.budget.place}: {verdict.budget.target} {verdict.budget.metric}"
            _line(console, f"{verdict.status}: {where}: {verdict.reason}")


def _print_accuracy(console: Console, results: Results) -> None:
    found = results.select(metric="balanced_accuracy", format="")
    if not found:
        return
    table = _table("Balanced accuracy", "arm")
    table.add_column("mean ± std", justify="right", no_wrap=True)
    for one in found:
        spread = (one.interval.high - one.interval.low) / 2 if one.interval else 0.0
        table.add_row(one.model, f"{one.value:.3f} ± {spread:.3f}")
    console.print(table)
    _line(console, f"  {found[0].note}")


def _rows(results: Results, target: str) -> list[tuple[str, str]]:
    """Models with their formats that have figures on a target, in order."""
    found = results.select(target=target)
    return list(dict.fromkeys((one.model, one.format) for one in found if one.model != "ratio"))


def _evident(
    title: str,
    headings: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Measurement | None]]],
) -> Table:
    """Build a table whose column headings name the evidence of the figures below them.

    Where a column holds two kinds, each of its cells says its own.
    """
    kinds = [
        sorted({one.evidence for _, cells in rows if (one := cells[k]) and one.value is not None})
        for k in range(len(headings))
    ]
    table = _table(title, "model")
    for heading, kind in zip(headings, kinds, strict=True):
        label = f"{heading}\n{kind[0]}" if len(kind) == 1 else heading
        table.add_column(label, justify="right", no_wrap=True)
    for name, cells in rows:
        shown = [
            f"{_cell(one)} {one.evidence}" if one and len(kind) > 1 else _cell(one)
            for one, kind in zip(cells, kinds, strict=True)
        ]
        table.add_row(name, *shown)
    return table


def _cell(one: Measurement | None) -> str:
    return "-" if one is None or one.value is None else human(one.value, one.unit)


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _line(console: Console, text: str, style: str = "") -> None:
    """Print a sentence as it is: not wrapped, so that a log can be searched for it."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
