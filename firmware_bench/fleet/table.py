"""What the user sees while a fleet runs: a live table, or plain lines where no terminal is."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firmware_bench.fleet.boards import Board

Status = Literal["waiting", "running", "done", "failed"]
_STYLE: dict[Status, str] = {
    "waiting": "dim", "running": "cyan", "done": "green", "failed": "bold red",
}  # fmt: skip
#: A line about a board that goes on, at most this often, s.
_QUIET_S = 10.0


@dataclass
class Row:
    """What is known of one board: `steps` of about `total` are done, the last one being `step`."""

    board: Board
    status: Status = "waiting"
    steps: int = 0
    total: int = 0
    step: str = ""
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0

    @property
    def progress(self) -> str:
        """ "7/12", never more than the total; empty before it is known."""
        return f"{min(self.steps, self.total)}/{self.total}" if self.total else ""

    def start(self) -> None:
        """Note that the board runs."""
        self.status, self.started = "running", time.monotonic()

    def end(self, reason: str = "") -> None:
        """Note that the board is done, or why it failed."""
        self.status, self.reason = ("failed" if reason else "done"), reason
        self.seconds = time.monotonic() - self.started if self.started else 0.0

    @property
    def elapsed(self) -> float:
        """Time since its start, s; how long it took once it has ended."""
        running = self.status == "running"
        return time.monotonic() - self.started if running else self.seconds


class Display:
    """Shows rows; :meth:`changed` is told of each change."""

    def __init__(self, console: Console | None, rows: Sequence[Row]) -> None:
        self._console, self._rows = console, rows
        self._live: Live | None = None
        self._told: dict[str, float] = {}

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the rows while the block runs; the table's last state stays on the terminal."""
        if self._console is None or not self._console.is_terminal:
            yield
            return
        with Live(
            get_renderable=lambda: fleet_table(self._rows),
            console=self._console, refresh_per_second=4,
        ) as self._live:  # fmt: skip
            yield

    def changed(self, row: Row) -> None:
        """Say what is new of a row, where no table does."""
        if self._console is None or self._live is not None:
            return
        name, now = row.board.name, time.monotonic()
        if row.status == "running" and now - self._told.get(name, -_QUIET_S) < _QUIET_S:
            return
        self._told[name] = now
        what = {"running": f"{row.progress} {row.step}".strip() or f"started ({row.board.reached})",
                "done": f"done in {row.seconds:.0f} s",
                "failed": f"failed: {row.reason}"}.get(row.status, row.status)  # fmt: skip
        self.say(f"{name}: {what}")

    def say(self, text: str) -> None:
        """Print a line, beside the table if there is one."""
        if self._console is not None:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def fleet_table(rows: Sequence[Row]) -> Table:
    """Build the table of a fleet, one row a board, a failed one with its reason."""
    table = Table(title="Fleet", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("board", "target", "reached by", "state"):
        table.add_column(heading, no_wrap=True)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("last step, or why it failed", overflow="fold")
    for row in rows:
        table.add_row(
            row.board.name,
            row.board.target,
            Text(row.board.reached),
            Text(row.status, _STYLE[row.status]),
            row.progress,
            f"{row.elapsed:.0f} s" if row.elapsed else "",
            Text(row.reason or (row.step if row.status == "running" else "")),
        )
    return table
