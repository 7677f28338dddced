"""How far off the estimates are: ``python -m firmware_bench.estimate.validation``.

Each error is that of a network left out of the fit, in both precisions; error = estimate /
published - 1. The tables compare sums of terms on the same rows; the nested figure chooses among
them without the network as well, so it is the one to quote for the procedure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from firmware_bench.estimate import fit, recorded
from firmware_bench.estimate.fit import BY_INSTRUCTIONS, CHOSEN, PLAIN, Errors
from firmware_bench.estimate.recorded import MACHINES, Row
from targets.errors import user_errors

#: Median and worst error that the estimates aim at.
GOAL = (0.05, 0.20)
#: What was tried, in the order of the table.
CANDIDATES = (
    ("instructions",),
    BY_INSTRUCTIONS,
    ("instructions", "misses", "lines"),
    ("cycles",),
    ("cycles", "lines"),
    ("cycles", "misses"),
    ("cycles", "stores"),
    ("cycles", "multiplies"),
    ("cycles", "misses", "lines"),
    ("cycles", "stores", "lines"),
    ("cycles", "multiplies", "lines"),
    ("cycles", "loads", "lines"),
    ("cycles", "branches", "lines"),
    ("cycles", "lines", "call"),
    ("cycles", "multiplies", "stores"),
    ("cycles", "multiplies", "misses", "lines"),
    ("cycles", "branches", "misses", "lines"),
    ("cycles", "floats", "stores", "lines"),
    ("cycles", "floats", "misses", "lines"),
    ("cycles", "stores", "misses", "lines"),
    ("cycles", "floats", "branches", "lines"),
    ("cycles", "floats", "branches", "misses", "lines"),
)


def counted(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Rows that every candidate can be fitted to."""
    return tuple(fit.usable(rows, sorted({term for terms in CANDIDATES for term in terms})))


def attention_ratios(terms: tuple[str, ...] = CHOSEN) -> list[tuple[Row, float]]:
    """Published / estimated time of the attention networks, which no constant was fitted to."""
    data = recorded.load()
    found = []
    for row in data.attention:
        constants = fit.fit(data.rows, row.board, terms)
        counts = fit.design([row], terms)[0]
        found.append((row, row.ms / float(counts @ list(constants.values()))))
    return found


def summary(errors: Errors) -> dict[str, float]:
    """Rows, median, 90th percentile and worst size of the error, share within 20 %."""
    return {
        "rows": len(errors.rows),
        "median": errors.median,
        "p90": errors.p90,
        "worst": errors.worst,
        "within_20": errors.within(0.2),
    }


def collect() -> dict[str, Any]:
    """All figures of the command, ready for JSON."""
    data = recorded.load()
    rows = counted(data.rows)
    nested, taken = fit.nested_errors(rows, CANDIDATES)
    chosen = fit.held_out(rows, CHOSEN)
    boards = [board for board in MACHINES if any(row.board == board for row in rows)]
    return {
        "goal": {"median": GOAL[0], "worst": GOAL[1]},
        "chosen": list(CHOSEN),
        "boards": {board: summary(chosen.of(board)) for board in boards},
        "all": summary(chosen),
        "plain": summary(fit.held_out(rows, PLAIN)),
        "without_llvm_mca": summary(fit.held_out(rows, BY_INSTRUCTIONS)),
        "nested": summary(nested),
        "taken": {" + ".join(terms): times for terms, times in taken.items()},
        "candidates": {
            " + ".join(terms): summary(fit.held_out(rows, terms)) for terms in CANDIDATES
        },
        "without_cache_counts": {
            " + ".join(terms): summary(fit.held_out(data.rows, terms))
            for terms in CANDIDATES
            if len(fit.usable(data.rows, terms)) == len(data.rows)
        },
        "constants": {board: fit.fit(rows, board, CHOSEN) for board in boards},
        "attention": {f"{row.model} {row.board}": ratio for row, ratio in attention_ratios()},
        "sources": list(data.sources),
    }


def plot(path: Path) -> None:
    """Draw estimated against published times, each network left out of its estimate, as PNG."""
    from matplotlib.figure import Figure

    from targets.files import atomic_path

    errors = fit.held_out(counted(recorded.load().rows), CHOSEN)
    figure = Figure(figsize=(5, 5), dpi=90, layout="constrained")
    axes = figure.subplots()
    ends = [min(row.ms for row in errors.rows) / 1.5, max(row.ms for row in errors.rows) * 1.5]
    axes.fill_between(
        ends, [0.8 * end for end in ends], [1.2 * end for end in ends], color="0.9", label="±20 %"
    )
    axes.plot(ends, ends, color="0.5", linewidth=0.8)
    for board in dict.fromkeys(row.board for row in errors.rows):
        own = errors.of(board)
        published = [row.ms for row in own.rows]
        axes.plot(published, published * (1 + own.values), "o", markersize=3.5, label=board)
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axes.set(xlabel="published, ms", ylabel="estimated without that network, ms")
    axes.legend(frameon=False)
    with atomic_path(path) as part:
        figure.savefig(part, format="png")


def _line(name: str, figures: dict[str, float]) -> str:
    return (
        f"  {name:44} {figures['rows']:4.0f} {100 * figures['median']:7.1f} %"
        f" {100 * figures['p90']:6.1f} % {100 * figures['worst']:6.1f} %"
        f" {100 * figures['within_20']:6.0f} %"
    )


def _print(data: dict[str, Any]) -> None:
    head = f"  {'':44} {'rows':>4} {'median':>9} {'p90':>8} {'worst':>8} {'< 20 %':>8}"
    click.echo(f"Terms in use: {' + '.join(data['chosen'])}; each network left out in turn")
    click.echo(head)
    for board, figures in data["boards"].items():
        click.echo(_line(board, figures))
    click.echo(_line("all", data["all"]))
    click.echo(_line("for code with more branches", data["plain"]))
    click.echo(_line("without llvm-mca (instructions + lines)", data["without_llvm_mca"]))
    click.echo(_line("terms, too, chosen without the network", data["nested"]))
    taken = ", ".join(f"{name}: {times}" for name, times in data["taken"].items())
    click.echo(f"  chosen then, by networks: {taken}")
    met = data["all"]["median"] <= GOAL[0] and data["all"]["worst"] <= GOAL[1]
    click.echo(
        f"Goal: median {100 * GOAL[0]:g} %, worst {100 * GOAL[1]:g} %: {'met' if met else 'missed'}"
        f" ({100 * data['all']['median']:.2f} %, {100 * data['all']['worst']:.2f} %)"
    )
    for title, key in (
        ("What was tried, on the same rows", "candidates"),
        ("Terms that need no cache model, on all rows", "without_cache_counts"),
    ):
        click.echo(title)
        for name, figures in data[key].items():
            click.echo(_line(name, figures))
    click.echo("Constants (cycles per count, ns per line)")
    for board, constants in data["constants"].items():
        text = ", ".join(f"{name} {value:.3g}" for name, value in constants.items())
        click.echo(f"  {board:12} {text}")
    click.echo("Attention networks (not fitted): published / estimated")
    for name, ratio in data["attention"].items():
        click.echo(f"  {name}: {ratio:.2f}")
    for source in data["sources"]:
        click.echo(f"Source: {source}")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print for a program.")
@click.option("--plot", "picture", type=click.Path(path_type=Path), metavar="PNG",
              help="Draw estimated against published times.")  # fmt: skip
def command(as_json: bool, picture: Path | None) -> None:
    """Say how far off the millisecond estimates of the Raspberry Pi boards are."""
    with user_errors("validation"):
        data = collect()
        if picture is not None:
            plot(picture)
        if as_json:
            click.echo(json.dumps(data, indent=2))
        else:
            _print(data)


if __name__ == "__main__":
    command()
