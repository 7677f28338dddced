"""The table of a model's layers on the terminal, one a target."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from firmware_bench.results import LayerCount, LayerTable, Results

_HEADINGS = ("MACs", "instructions", "of all", "per MAC", "of the limit")


def print_layers(console: Console, results: Results) -> None:
    """Print what each layer executes, and how near its kernel comes to the core's limit."""
    for run in results.runs:
        if run.layers is not None:
            console.print(_table(f"{run.target.id}: layer by layer, emulated", run.layers))
            console.print(
                f"  limit of {run.target.core}: MACs per instruction {run.layers.limit}"
                f" ({run.layers.limit_reason})",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip


def _table(title: str, layers: LayerTable) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("layer", overflow="fold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    whole = layers.total.instructions
    for one in layers.layers:
        table.add_row(_title(one), *_figures(one, whole))
    between = f"{layers.between:,}"
    table.add_row("between layers", "-", between, _percent(layers.between / whole), "-", "-")
    table.add_section()
    table.add_row("sum", *_figures(layers.total, whole))
    return table


def _title(one: LayerCount) -> str:
    """``3: CONV_2D 1x9 stride 1x1, 1x1x160x32 -> 1x1x160x48, RELU6``."""
    fused = one.activation not in ("NONE", one.operator)
    return f"{one.index}: {one.operator} {one.shape}" + (f", {one.activation}" if fused else "")


def _figures(one: LayerCount, whole: int) -> tuple[str, ...]:
    per_mac, share = one.instructions_per_mac, one.share_of_limit
    return (
        f"{one.macs:,}" if one.macs else "-",
        f"{one.instructions:,}",
        _percent(one.instructions / whole),
        "-" if per_mac is None else f"{per_mac:.2f}",
        "-" if share is None else _percent(share),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
