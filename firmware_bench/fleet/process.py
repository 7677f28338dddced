"""The fleet's side of a board's process: start it, hear its answers, end it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from firmware_bench.fleet.boards import Board

#: How long boards have to clean up after a stop, s: a Linux board is reached over its network.
PATIENCE_S = 30.0
#: What a process's end is told as: its answers are dicts.
Event = tuple[str, dict[str, Any] | None]


class BoardProcess:
    """A running worker; its answers go to `events` as (board's name, answer), its end as None."""

    def __init__(self, artefact: Path, board: Board, events: queue.Queue[Event]) -> None:
        self._name, self._events = board.name, events
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the reader)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "firmware_bench.fleet.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C is the fleet's to handle
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        job = {"artefact": str(artefact.resolve()), "board": board.model_dump(mode="json")}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once: its end is told
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Id of the process, which leads a group of its own."""
        return self._process.pid

    def ask_to_stop(self) -> None:
        """Let it end as by Ctrl-C; does not wait."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self, until: float) -> None:
        """Wait for its end, but not longer than `until` (time.monotonic()): then it is killed."""
        try:
            self._process.wait(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._process.wait()
        self._reader.join(timeout=5)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _read(self) -> None:
        assert self._process.stdout is not None
        last: dict[str, Any] = {}
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):
                last = json.loads(line)
                self._events.put((self._name, last))
        code = self._process.wait()
        if code < 0:  # what it had started, such as an emulator, has nobody left to end it
            self._kill_group()
        if not last.keys() & {"error", "run"}:
            self._events.put((self._name, {"error": self._why(code)}))
        self._words.close()
        self._process.stdout.close()
        self._events.put((self._name, None))

    def _why(self, code: int) -> str:
        """A process that ended without a last word: a crash of a library, or killed."""
        self._words.seek(0)
        said = self._words.read().decode("utf-8", "replace").strip().splitlines()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its process ended with {how}" + (f": {said[-1]}" if said else "")


def stop_all(processes: Iterable[BoardProcess], patience_s: float = PATIENCE_S) -> None:
    """End every process, all at once, each with time to clean up on its board."""
    found = list(processes)
    for process in found:
        process.ask_to_stop()
    end = time.monotonic() + patience_s
    for process in found:
        process.wait(end)
