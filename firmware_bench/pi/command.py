"""The options of ``dlink-bench`` that concern a Linux board, and what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from firmware_bench.pi.options import PiOptions
from targets.errors import InputError

_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--ssh", "host", metavar="HOST",
                 help="Measure the Linux board that ssh HOST leads to."),
    click.option("--ssh-config", type=_PATH, metavar="FILE", help="For ssh -F."),
    click.option("--ssh-option", "ssh_options", multiple=True, metavar="KEY=VALUE",
                 help="For ssh -o; repeat for several."),
    click.option("--rehearse", type=click.Choice(["arm64", "armhf"]),
                 help="Rehearse on an emulated Raspberry Pi (make rehearsal): instructions, "
                 "memory, estimated time."),
    click.option("--constants", type=_PATH, metavar="FILE",
                 help="With --rehearse: the board's own constants, by dlink-bench fit."),
    click.option("--python", metavar="PATH", help="Interpreter on the board."),
    click.option("--hop-ms", type=click.FloatRange(0, min_open=True), metavar="MS",
                 help="The product's hop on a Linux board; by default a quarter of the window."),
    click.option("--sustained", type=click.FloatRange(0), default=0.0, metavar="MINUTES",
                 help="Minutes of full load with temperature."),
    click.option("--energy", type=click.FloatRange(0), default=0.0, metavar="SECONDS",
                 help="Seconds of energy measurement a model."),
    click.option("--meter", "meter_csv", type=_PATH, metavar="CSV",
                 help="What a power meter wrote meanwhile."),
    click.option("--prepare", is_flag=True, help="Show the commands that make the board ready."),
    click.option("--carry", is_flag=True, help="With --prepare: carry wheels over from here."),
    click.option("--yes", "go", is_flag=True, help="With --prepare: run the commands."),
    click.option("--board-folder", type=_PATH, metavar="DIR",
                 help="Write the folder that a board runs by hand to DIR, and stop."),
    click.option("--from-board", type=_PATH, metavar="DIR",
                 help="Take over the results of such a folder."),
)  # fmt: skip


def linux_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the command gets them as keywords that :func:`read` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class LinuxBoard:
    """How the Linux board of a run is measured.

    Attributes
    ----------
    host : for ssh; None without a board.
    rehearse : "arm64" or "armhf": an emulated board in its place; None: none.
    prepare, carry, go : see :func:`firmware_bench.pi.prepare.prepare`.
    board_folder, from_board : folders of a run by hand.
    constants : of the estimate, by ``dlink-bench fit``; None: the published ones.
    """

    options: PiOptions
    host: str | None = None
    rehearse: str | None = None
    prepare: bool = False
    carry: bool = False
    go: bool = False
    board_folder: Path | None = None
    from_board: Path | None = None
    constants: Path | None = None


def read(runs: int, threads: tuple[int, ...], given: dict[str, Any]) -> LinuxBoard:
    """Build the board from the options' values.

    Raises
    ------
    InputError
        Options that contradict each other or lack another.
    """
    ways = [name for name in ("host", "rehearse", "board_folder", "from_board") if given[name]]
    if len(ways) > 1:
        shown = ", ".join("--ssh" if n == "host" else f"--{n.replace('_', '-')}" for n in ways)
        raise InputError("a board is reached in one way", value=shown, todo="Choose one of them.")
    if given["prepare"] and not given["host"]:
        raise InputError("no board to prepare", where="--prepare", todo="Name it with --ssh HOST.")
    hop = given["hop_ms"]
    options = PiOptions(
        runs=runs, threads=threads, hop_s=None if hop is None else hop / 1000,
        sustained_s=60 * given["sustained"], energy_s=given["energy"],
        meter_csv=given["meter_csv"], python=given["python"], ssh_config=given["ssh_config"],
        ssh_options=tuple(given["ssh_options"]),
    )  # fmt: skip
    keep = ("host", "rehearse", "prepare", "carry", "go", "board_folder", "from_board", "constants")
    return LinuxBoard(options, **{name: given[name] for name in keep})
