"""Processes on this machine, each in a session of its own so that Ctrl-C reaches only us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from distill.compare.launch import environment


class LocalProcess:
    """One child and what it started."""

    def __init__(self, command: Sequence[str], log: Path, threads: int) -> None:
        # Its standard input is a pipe that nobody writes to: it closes when we are gone.
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
                env=environment(threads), start_new_session=True,
            )  # fmt: skip

    def poll(self) -> int | None:
        """Exit status, None while it runs."""
        return self._process.poll()

    def stop(self, *, now: bool = False) -> None:
        """Send SIGINT, or SIGKILL, to the child and its own children."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL if now else signal.SIGINT)


class ProcessLauncher:
    """The default launcher."""

    def start(self, command: Sequence[str], log: Path, threads: int) -> LocalProcess:
        """Start a child."""
        return LocalProcess(command, log, threads)

    def close(self) -> None:
        """Nothing is held."""
