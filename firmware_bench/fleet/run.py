"""Run a fleet: a process a board, as many at once as may be; one failure stops no other."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from firmware_bench import artefact as artefacts
from firmware_bench.artefact import Artefact
from firmware_bench.fleet.boards import Board
from firmware_bench.fleet.lanes import lane, may_start
from firmware_bench.fleet.merge import Found, merge, result_ids
from firmware_bench.fleet.process import PATIENCE_S, BoardProcess, Event, stop_all
from firmware_bench.fleet.table import Display, Row
from firmware_bench.results import Measurement, Results, TargetRun
from targets.errors import InputError

EXIT_DONE, EXIT_FAILED = 0, 1
JOBS = 8
_TICK_S = 0.2
#: Called with each board that is done and its own results.
OnBoard = Callable[[Board, Results], None]


@dataclass(frozen=True)
class FleetResult:
    """What became of a fleet: the merged results, and a row a board in the file's order."""

    results: Results
    rows: tuple[Row, ...]

    @property
    def exit_code(self) -> int:
        """0 if all boards are done, 1 if one failed."""
        return EXIT_DONE if all(row.status == "done" for row in self.rows) else EXIT_FAILED


def run_fleet(
    artefact: Path,
    boards: Sequence[Board],
    *,
    jobs: int = JOBS,
    console: Console | None = None,
    on_board: OnBoard = lambda board, results: None,
) -> FleetResult:
    """Measure an artefact on several boards at once.

    Parameters
    ----------
    artefact : Path
        Artefact folder, verified first.
    boards : sequence of Board
        As of :func:`firmware_bench.fleet.boards.load_boards`.
    jobs : int
        The most that run at once. Boards that are one device never do, and nothing is emulated
        while models are timed on this machine.
    console : Console, optional
        Where a live table is drawn, or plain lines if it is no terminal.
    on_board : callable
        Told of each board as it is done, so that an interrupt later does not lose it.

    Returns
    -------
    FleetResult
        A board that failed is a row with its reason there.

    Raises
    ------
    InputError
        No board, or a faulty artefact.
    KeyboardInterrupt
        After every board was told to stop, and has.
    """
    if not boards:
        raise InputError("no board to measure", todo="Name one in boards.toml.")
    fleet = _Fleet(artefacts.load(artefact), boards, jobs, console, on_board)
    fleet.run()
    return FleetResult(merge(fleet.artefact, fleet.rows, fleet.found, fleet.ids), tuple(fleet.rows))


class _Fleet:
    def __init__(
        self,
        artefact: Artefact,
        boards: Sequence[Board],
        jobs: int,
        console: Console | None,
        on_board: OnBoard,
    ) -> None:
        self.artefact, self.found = artefact, dict[str, Found]()
        self.rows = [Row(board) for board in boards]
        self.ids = result_ids(boards)
        self._by_name = {row.board.name: row for row in self.rows}
        self._lanes = {board.name: lane(board) for board in boards}
        # What is timed on this machine goes first, while nothing else has begun to load it.
        self._pending = sorted(boards, key=lambda board: board.how != "host")
        self._running: dict[str, BoardProcess] = {}
        self._given_up: dict[str, float] = {}  # asked to stop; killed then
        self._jobs, self._on_board = max(1, jobs), on_board
        self._events: queue.Queue[Event] = queue.Queue()
        self._display = Display(console, self.rows)

    def run(self) -> None:
        """Run every board to its end."""
        try:
            with self._display.shown():
                while self._pending or self._running:
                    self._start_what_may()
                    self._hear()
                    self._stop_the_late()
        finally:
            if self._running:
                self._display.say(f"stopping: {', '.join(self._running)}")
            stop_all(self._running.values())

    def _start_what_may(self) -> None:
        for board in list(self._pending):
            running = [self._by_name[name].board for name in self._running]
            if len(running) >= self._jobs:
                return
            if may_start(board, running, self._lanes):
                self._pending.remove(board)
                row = self._by_name[board.name]
                row.start()
                self._running[board.name] = BoardProcess(self.artefact.path, board, self._events)
                self._display.changed(row)

    def _hear(self) -> None:
        try:
            name, answer = self._events.get(timeout=_TICK_S)
        except queue.Empty:
            return
        row = self._by_name[name]
        if answer is None:
            self._running.pop(name)
            return
        if row.status == "running":  # not one that was given up
            self._take(row, answer)
            self._display.changed(row)

    def _take(self, row: Row, answer: dict[str, Any]) -> None:
        row.total = answer.get("total", row.total)
        if "step" in answer:
            row.steps, row.step = row.steps + 1, answer["step"]
        elif "error" in answer:
            row.end(answer["error"])
        elif "run" in answer:
            self.found[row.board.name] = (
                TargetRun.model_validate(answer["run"]),
                [Measurement.model_validate(one) for one in answer["measurements"]],
            )
            row.end()
            target = row.board.target
            alone = merge(self.artefact, [row], self.found, {row.board.name: target})
            self._on_board(row.board, alone)

    def _stop_the_late(self) -> None:
        for name, process in self._running.items():
            row = self._by_name[name]
            limit = row.board.timeout_minutes
            if row.status == "running" and time.monotonic() - row.started > 60 * limit:
                row.end(f"took longer than timeout_minutes = {limit:g}")
                self._display.changed(row)
                process.ask_to_stop()
                self._given_up[name] = time.monotonic() + PATIENCE_S
            elif time.monotonic() > self._given_up.get(name, float("inf")):
                process.wait(0)
