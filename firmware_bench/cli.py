"""Console scripts: `dlink-bench` measures an artefact, `dlink-gate` judges it by budgets.

Nothing heavy is imported before a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import click

from distill.commands import LazyGroup
from firmware_bench.pi.command import LinuxBoard, linux_options
from targets.errors import user_errors

_PATH = click.Path(path_type=Path)


class _Bench(LazyGroup):
    lazy = MappingProxyType({
        "live": (
            "firmware_bench.live.command:live",
            "Decode a recording or a stream with an artefact, at a hop.",
        ),
        "fleet": (
            "firmware_bench.fleet.cli:fleet",
            "Measure an artefact on every board of a file.",
        ),
        "history": (
            "firmware_bench.history.cli:history",
            "Keep results over commits; show, plot and compare them.",
        ),
        "fit": (
            "firmware_bench.estimate.user_fit:command",
            "Fit the estimate of a board to your own measurements.",
        ),
    })  # fmt: skip


@click.group(cls=_Bench, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="dlink")
def bench() -> None:
    """Measure student and teacher of an artefact on a board, in an emulator, or here.

    \b
    Examples:
      dlink-bench artefacts/eegmat -t host -t nucleo-l4r5zi -o results.json
      dlink-bench artefacts/eegmat -t rpi4b --ssh pi@raspberrypi.local
      dlink-bench artefacts/eegmat -t rpi4b --rehearse arm64
      dlink-bench student.int8.tflite -t rp2040 -t corstone300
    """


@bench.command("run", hidden=True)
@click.argument("artefact", type=_PATH)
@click.option(
    "-t",
    "--target",
    "target_ids",
    multiple=True,
    default=("host",),
    show_default=True,
    help="Where to measure; repeat for several. An unknown one lists all.",
)
@click.option(
    "-o", "--out", "output", type=_PATH, default=Path("results.json"), show_default=True,
    help="Results file to write.",
)  # fmt: skip
@click.option(
    "--runs", type=click.IntRange(1), default=200, show_default=True,
    help="Timed runs of each model on the host.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1, 64), multiple=True, default=(1,), show_default=True,
    help="Threads of the runtimes; repeat for several on a Linux board.",
)  # fmt: skip
@click.option(
    "--keep", type=_PATH, metavar="DIR",
    help="Keep each board's firmware, and the C library of a bare model, in this folder.",
)  # fmt: skip
@click.option(
    "--hop", type=click.IntRange(1), metavar="SAMPLES",
    help="Measure a bare model's streaming interface too: a window every so many samples.",
)  # fmt: skip
@click.option(
    "--prefer", type=click.Choice(["speed", "balanced", "memory"]), default="balanced",
    show_default=True, help="What a bare model's library is generated for.",
)  # fmt: skip
@click.option(
    "--layers", is_flag=True,
    help="Tell instructions layer by layer, beside the core's limit, on the Cortex-M targets.",
)  # fmt: skip
@click.option(
    "--serial", "port", metavar="PORT",
    help="Measure on the real board behind this serial port; it runs the --build-serial firmware.",
)  # fmt: skip
@click.option(
    "--baud", type=click.IntRange(1200, 4_000_000), default=115_200, show_default=True,
    help="Speed of the serial line, and of the firmware built for it.",
)  # fmt: skip
@click.option(
    "--build-serial", "build_dir", type=_PATH, metavar="DIR",
    help="Write the firmware to flash for each -t to DIR, and stop.",
)  # fmt: skip
@linux_options
def run_command(  # noqa: PLR0913, PLR0917 - each is an option of the command
    artefact: Path,
    target_ids: tuple[str, ...],
    output: Path,
    runs: int,
    threads: tuple[int, ...],
    keep: Path | None,
    hop: int | None,
    prefer: Literal["speed", "balanced", "memory"],
    layers: bool,
    port: str | None,
    baud: int,
    build_dir: Path | None,
    **linux: Any,
) -> None:
    """Measure student and teacher of an ARTEFACT folder on one or more targets.

    Every file's checksum is verified first. On the host all models run in turn, each in a process
    of its own; on a Cortex-M the generated C runs in an emulator.

    ARTEFACT may also be a quantised .tflite file: its C library is then generated, and runs on the
    Cortex-M targets.

    A Raspberry Pi is measured over SSH (docs/raspberry_pi.md) or rehearsed in an emulator
    (docs/rehearsal.md).

    With --serial one Cortex-M target is also measured as a real board; docs/boards.md shows the
    way from unpacking it to its first figure.
    """
    with user_errors("dlink-bench"):
        from firmware_bench import console as tables
        from firmware_bench import results
        from firmware_bench.layer_table import print_layers
        from firmware_bench.pi.command import read
        from firmware_bench.pi.table import print_boards
        from firmware_bench.rehearsal.table import print_rehearsals
        from firmware_bench.run import SerialLine, build_serial, measure, write_board_folder
        from firmware_bench.serial_table import print_serial
        from targets.files import check_writable

        if build_dir is not None:
            click.echo("\n".join(build_serial(artefact, target_ids, build_dir, baud=baud)))
            return
        board = read(runs, threads, linux)
        if board.prepare:
            _prepare(target_ids, board)
            return
        if board.board_folder is not None:
            told = write_board_folder(artefact, target_ids, board.board_folder, board)
            click.echo("\n".join(told))
            return
        check_writable(output)
        console = tables.console()
        found = measure(
            artefact, target_ids, runs=runs, threads=threads[0], keep=keep, hop=hop, layers=layers,
            prefer=prefer, board=board,
            console=console,
            serial=SerialLine(port, baud) if port is not None else None,
        )  # fmt: skip
        results.save(output, found)
        tables.print_results(console, found)
        print_layers(console, found)
        print_serial(console, found)
        print_rehearsals(console, found)
        print_boards(console, found)
        console.print(f"results: {output}", soft_wrap=True, highlight=False)


def _prepare(target_ids: tuple[str, ...], board: LinuxBoard) -> None:
    """Show, and with --yes run, what makes the board ready."""
    from firmware_bench.pi.prepare import prepare
    from targets.errors import InputError
    from targets.target import load

    assert board.host is not None
    if len(target_ids) != 1:
        raise InputError("one board is prepared at a time", where="--prepare", value=target_ids)
    target = load(target_ids[0])
    prepare(board.host, target, board.options, carry=board.carry, go=board.go, say=click.echo)
    if not board.go:
        click.echo("nothing was changed; add --yes to run these commands")


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExample:  dlink-gate results.json --budgets examples/budgets.toml",
)
@click.version_option(package_name="dlink")
@click.argument("results", type=_PATH)
@click.option("--budgets", type=_PATH, required=True, help="TOML file with [[budget]] tables.")
@click.option(
    "--report", type=_PATH, help="HTML page to write; by default report.html beside the results."
)
@click.option("--json", "as_json", is_flag=True, help="Print the verdicts as JSON.")
def gate(results: Path, budgets: Path, report: Path | None, as_json: bool) -> None:
    """Judge the RESULTS of a bench by budgets, and write the report.

    Exit code: 0 every line passed, 1 a line failed, 2 bad input, 3 none failed but one is missing
    or inconclusive.
    """
    with user_errors("dlink-gate"):
        import json

        from firmware_bench import console as tables
        from firmware_bench import gate as judging
        from firmware_bench import report as page
        from firmware_bench import results as files
        from targets import budget

        lines = budget.load(budgets)
        found = files.load(results)
        verdicts = judging.judge(lines, found)
        report = report or results.parent / "report.html"
        page.write(report, found, verdicts)
        if as_json:
            text = json.dumps({**judging.as_json(verdicts), "report": str(report)}, indent=2)
            click.echo(text)
        else:
            console = tables.console()
            tables.print_verdicts(console, verdicts)
            console.print(f"report: {report}", soft_wrap=True, highlight=False)
        sys.exit(judging.exit_code(verdicts))
