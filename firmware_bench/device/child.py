"""A worker process as seen from the runner: start it, ask it, and tell how it died."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, ClassVar

REPLY_TIMEOUT_S = 900
#: What no bug of a model explains: the kernel ends a process so when memory runs out.
_HINTS = {signal.SIGKILL: "SIGKILL (often: out of memory)"}


class ModelError(Exception):
    """The model cannot be run here; the text is the runtime's own."""


class Crash(ModelError):
    """The process that held the model ended: `signal` is its name, or "exit CODE"."""

    def __init__(self, ended_by: str, last_words: str) -> None:
        super().__init__(f"{ended_by}: {last_words}" if last_words else ended_by)
        self.signal = ended_by


class Child:
    """A model in a process of its own; a context manager.

    Parameters
    ----------
    request : dict
        Fields of the request `open` (see :mod:`.worker`).

    Attributes
    ----------
    opened : dict
        The answer to it.

    Raises
    ------
    ModelError
        The runtime refuses the model.
    Crash
        The process died.
    """

    #: Those alive, so that a runner which loses its parent can end them.
    living: ClassVar[set[Child]] = set()

    def __init__(self, request: dict[str, Any]) -> None:
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        spawned = time.monotonic_ns()
        self._process = subprocess.Popen(
            [sys.executable, script, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
        )
        Child.living.add(self)
        try:
            self.opened = self.ask(do="open", spawned_ns=spawned, **request)
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        watchdog = threading.Timer(REPLY_TIMEOUT_S, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            raise self._crash()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ModelError(reply["error"])
        return reply

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process when it has answered."""
        Child.living.discard(self)
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *ended_by: object) -> None:
        self.close()

    def _crash(self) -> Crash:
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
        return Crash(name_of(code), "".join(last))


def name_of(code: int) -> str:
    """Name the end of a process: "SIGSEGV" for -11, "exit 3" for 3."""
    if code >= 0:
        return f"exit {code}"
    try:
        ended_by = signal.Signals(-code)
    except ValueError:
        return f"signal {-code}"
    return _HINTS.get(ended_by, ended_by.name)
