"""Which boards may run beside each other.

Two that are one device never do: the same SSH host, the same serial line. Nor does anything that
loads this machine (an emulator) run while models are timed on it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Mapping

from firmware_bench.fleet.boards import Board

HERE = "this machine"


def lane(board: Board) -> str:
    """Name the device behind a board: boards of one lane run one after the other.

    An SSH host is taken as ssh resolves it (`ssh -G`), so that two names of one host are one.
    """
    if board.how == "serial":
        assert board.serial is not None
        return os.path.realpath(board.serial)
    return _ssh_lane(board) if board.how == "ssh" else HERE if board.how == "host" else board.name


def may_start(board: Board, running: Collection[Board], lanes: Mapping[str, str]) -> bool:
    """Whether `board` may start while `running` run; `lanes` is each board's, by name."""
    if any(lanes[board.name] == lanes[other.name] for other in running):
        return False
    if board.how == "host":
        return not any(_loads_this_machine(other) for other in running)
    return not (_loads_this_machine(board) and any(other.how == "host" for other in running))


def _loads_this_machine(board: Board) -> bool:
    """A serial board's library is emulated too, for what the board cannot count."""
    return board.how in ("emulated", "serial")


def _ssh_lane(board: Board) -> str:
    assert board.ssh is not None
    bare = board.ssh.rpartition("@")[2].lower()
    if shutil.which("ssh") is None:
        return bare
    words = [word for option in board.ssh_options for word in ("-o", option)]
    config = ["-F", str(board.ssh_config)] if board.ssh_config is not None else []
    done = subprocess.run(
        ["ssh", "-G", *config, *words, "--", board.ssh],
        capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    if done.returncode or "hostname" not in said:
        return bare  # the board's own run says what is wrong with its options
    jump = said.get("proxyjump", "")
    return f"{said['hostname'].lower()} port {said.get('port', '22')} {jump}".strip()
