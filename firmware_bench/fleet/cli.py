"""The command `fleet`: an artefact on every board of boards.toml."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from targets.errors import user_errors

_PATH = click.Path(path_type=Path)


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:  dlink-bench fleet artefacts/eegmat boards.toml -o results.json",
)
@click.argument("artefact", type=_PATH)
@click.argument("boards", type=_PATH)
@click.option(
    "-o", "--out", "output", type=_PATH, default=Path("results.json"), show_default=True,
    help="Results file to write, of all boards.",
)  # fmt: skip
@click.option(
    "--each", type=_PATH, metavar="DIR",
    help="Write each board's own results there as BOARD.json, as soon as it is done.",
)  # fmt: skip
@click.option("--only", multiple=True, metavar="BOARD", help="Only this board; repeat for several.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=8, show_default=True,
    help="The most boards at once.",
)  # fmt: skip
def fleet(
    artefact: Path,
    boards: Path,
    output: Path,
    each: Path | None,
    only: tuple[str, ...],
    jobs: int,
) -> None:
    """Measure an ARTEFACT on every board of the file BOARDS, several at once.

    A board that fails does not stop the others: its row says why. Exit code: 0 all boards are done,
    1 a board failed, 2 bad input.
    """
    with user_errors("dlink-bench fleet"):
        from firmware_bench import console as tables
        from firmware_bench import results
        from firmware_bench.fleet.boards import load_boards, pick
        from firmware_bench.fleet.run import run_fleet
        from firmware_bench.fleet.table import fleet_table
        from targets.files import check_writable

        chosen = pick(load_boards(boards), only)
        check_writable(output)
        if each is not None:
            check_writable(each / "results.json")
        console = tables.console()
        found = run_fleet(
            artefact, chosen, jobs=jobs, console=console,
            on_board=lambda board, own: results.save(each / f"{board.name}.json", own)
            if each is not None
            else None,
        )  # fmt: skip
        results.save(output, found.results)
        tables.print_results(console, found.results)
        if not console.is_terminal:  # where it is, the live table has stayed
            console.print(fleet_table(found.rows))
        console.print(f"results: {output}", soft_wrap=True, highlight=False)
        sys.exit(found.exit_code)
