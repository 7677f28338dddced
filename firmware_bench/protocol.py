"""How models are timed against each other: live workers, warm-up, blocks in turn.

On a machine that others use too, two models measured one after the other are compared across two
different minutes. Here every block of the one stands beside a block of the other, and the order
rotates from round to round, so that a slow phase hits all alike.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from targets.errors import InputError

REPLY_TIMEOUT_S = 600
#: Two blocks in a row whose medians differ by less than this end the warm-up.
WARM_TOLERANCE = 0.05
WARM_BLOCKS = 10
ROUNDS = 20

#: Called after each finished step with its description.
Progress = Callable[[str], None]


class Runner(Protocol):
    """Something that runs a model `count` times and returns the times in ns."""

    def run(self, count: int) -> list[int]:
        """Run and time."""


class Worker:
    """A model in its own process (see :mod:`firmware_bench.worker`); a context manager.

    Parameters
    ----------
    kind : {"onnx", "tflite"}
        Which runtime.
    model : Path or None
        Model file; None opens the runtime alone, to know the memory it takes by itself.
    windows : Path or None
        npz file with the array `windows`, (n, n_chans, n_times) float32.

    Raises
    ------
    InputError
        The runtime refuses the model, or the process ended.
    """

    def __init__(
        self, kind: str, model: Path | None, windows: Path | None, *, threads: int = 1
    ) -> None:
        self._model = model
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "firmware_bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
        )
        try:
            self.runtime: str = self._ask(
                do="open",
                kind=kind,
                model=str(model.resolve()) if model else None,
                windows=str(windows.resolve()) if windows else None,
                threads=threads,
            )["runtime"]
        except BaseException:
            self.close()
            raise

    def run(self, count: int) -> list[int]:
        """Run the model `count` times; returns the times in ns."""
        times: list[int] = self._ask(do="run", count=count)["times_ns"]
        return times

    def memory(self) -> dict[str, int]:
        """Peak and present resident memory of the process, bytes."""
        return self._ask(do="memory")

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):  # it has died with a request unread
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        watchdog = threading.Timer(REPLY_TIMEOUT_S, self._process.kill)
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
            raise self._died()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise InputError(
                f"the model cannot be run: {reply['error']}",
                where=self._model,
                todo="Check it with dlink-export verify.",
            )
        return reply

    def _died(self) -> InputError:
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
        return InputError(
            f"the process that ran the model ended with code {code}: {''.join(last) or 'no word'}",
            where=self._model,
        )


def warm_up(runner: Runner, block: int) -> bool:
    """Run blocks until the median settles; returns whether it did."""
    previous = 0.0
    for _ in range(WARM_BLOCKS):
        times = sorted(runner.run(block))
        median = times[len(times) // 2]
        if previous and abs(median - previous) <= WARM_TOLERANCE * previous:
            return True
        previous = median
    return False


def interleave(
    runners: Mapping[str, Runner], runs: int, progress: Progress = lambda text: None
) -> dict[str, list[list[int]]]:
    """Time all models in turn, block by block.

    Parameters
    ----------
    runners : mapping
        Name -> live runner, warmed up.
    runs : int
        Runs of each model in all; rounded up to full blocks.

    Returns
    -------
    dict
        Name -> blocks of times in ns; block i of every model belongs to the same round.
    """
    rounds = min(ROUNDS, runs)
    block = -(-runs // rounds)
    names = list(runners)
    times: dict[str, list[list[int]]] = {name: [] for name in names}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(runners[name].run(block))
        progress(f"round {turn + 1} of {rounds}")
    return times
