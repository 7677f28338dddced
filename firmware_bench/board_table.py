"""The tables of a bare model: one row a board, then each figure against the peer's."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from firmware_bench import peers
from firmware_bench.peers import Comparison
from firmware_bench.results import Measurement, Results
from targets.units import human

_COLUMNS = (
    ("instructions", "emulated", "instructions"),
    ("per MAC", "emulated", "instructions_per_mac"),
    ("flash", "emulated", "flash_bytes"),
    ("RAM", "emulated", "ram_bytes"),
    ("stack", "emulated", "stack_bytes"),
    ("core only", "estimated", "latency_core_only"),
    ("on the board", "estimated", "latency_estimated"),
    ("differing", "emulated", "golden_differing_bytes"),
)
_HOP_COLUMNS = (
    ("instructions", "emulated", "hop_instructions"),
    ("of a window", "emulated", "instructions"),
    ("flash", "emulated", "hop_flash_bytes"),
    ("RAM", "emulated", "hop_ram_bytes"),
    ("stack", "emulated", "hop_stack_bytes"),
    ("time", "estimated", "hop_latency_estimated"),
    ("differing", "emulated", "hop_differing_bytes"),
)
_PEER_HEADINGS = ("ours", "peer", "ratio", "goal")


def print_model(console: Console, results: Results) -> None:
    """Print the boards' figures, where each estimate comes from, and the peer beside them."""
    manifest = results.manifest
    title = (
        f"{manifest['name']}: {manifest['macs']:,} multiply-accumulates, "
        f"{manifest['constant_bytes']:,} B of weights and biases"
    )
    table = _table(title, "board", *(f"{name}\n{kind}" for name, kind, _ in _COLUMNS))
    for run in results.runs:
        by_metric = {
            one.metric: one for one in results.select(target=run.target.id, model="student")
        }
        if run.target.flash_terms is None:  # then the only estimate is the core's
            by_metric.pop("latency_estimated", None)
        table.add_row(run.target.id, *(_cell(by_metric.get(metric)) for _, _, metric in _COLUMNS))
    console.print(table)
    for one in results.select(metric="latency_estimated"):
        console.print(
            f"  {one.target}: {one.note or one.reason}", markup=False, highlight=False,
            soft_wrap=True,
        )  # fmt: skip
    _print_stream(console, results)
    compared = peers.compare(results)
    if compared:
        _print_peer(console, compared)


def _print_stream(console: Console, results: Results) -> None:
    """What a hop costs beside a whole window, if streaming was measured."""
    if "hop" not in results.manifest:
        return
    title = f"Streaming, a window every {results.manifest['hop']} samples"
    table = _table(title, "board", *(f"{name}\n{kind}" for name, kind, _ in _HOP_COLUMNS))
    for run in results.runs:
        by_metric = {
            one.metric: one for one in results.select(target=run.target.id, model="student")
        }
        hop, whole = by_metric["hop_instructions"].value, by_metric["instructions"].value
        share = f"{hop / whole:.3f}" if hop and whole else "-"
        cells = [_cell(by_metric.get(metric)) for _, _, metric in _HOP_COLUMNS]
        table.add_row(run.target.id, cells[0], share, *cells[2:])
    console.print(table)
    for one in results.select(metric="hop_ram_bytes")[:1]:
        console.print(f"  RAM: {one.note}", markup=False, highlight=False, soft_wrap=True)


def _print_peer(console: Console, compared: list[Comparison]) -> None:
    table = _table(f"Against {peers.load().name}, recorded", "board", *_PEER_HEADINGS)
    table.columns[0].header = "board, figure"
    table.add_column("verdict", no_wrap=True)
    for one in compared:
        verdict = {True: "[green]met[/]", False: "[bold red]missed[/]", None: ""}[one.met]
        goal = "" if one.goal is None else f"{float(one.goal):.3f}"
        table.add_row(
            f"{one.target} {one.figure}", f"{one.ours:,}", f"{one.peer:,}", f"{one.ratio:.3f}",
            goal, verdict,
        )  # fmt: skip
    console.print(table)
    missed = sum(one.met is False for one in compared)
    goals = sum(one.met is not None for one in compared)
    console.print(
        f"  {goals - missed} of {goals} goals met; code is flash less weights and biases",
        highlight=False,
    )


def _cell(one: Measurement | None) -> str:
    if one is None or one.value is None:
        return "-"
    if one.metric in (
        "flash_bytes",
        "ram_bytes",
        "stack_bytes",
        "hop_ram_bytes",
        "hop_stack_bytes",
        "hop_flash_bytes",
    ):
        return f"{one.value:,}"
    return human(one.value, one.unit)


def _table(title: str, first: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
