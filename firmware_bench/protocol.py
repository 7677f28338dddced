"""How models are timed against each other: live workers, warm-up, blocks in turn.

On a machine that others use too, two models measured one after the other are compared across two
different minutes. Here every block of the one stands beside a block of the other, and the order
rotates from round to round, so that a slow phase hits all alike.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, Self

from firmware_bench.device.child import Child, Crash, ModelError
from targets.errors import InputError

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
    """A model in its own process, the one that a board runs; a context manager.

    Parameters
    ----------
    kind : {"onnx", "tflite"}
        Which runtime.
    model : Path or None
        Model file; None opens the runtime alone, to know the memory it takes by itself.
    windows : Path
        npz file with the array `windows`, (n, n_chans, n_times) float32.

    Raises
    ------
    InputError
        The runtime refuses the model, or the process ended.
    """

    def __init__(self, kind: str, model: Path | None, windows: Path, *, threads: int = 1) -> None:
        self._model = model
        with self._told():
            self._child = Child({
                "kind": kind, "package": None, "model": str(model.resolve()) if model else None,
                "windows": str(windows.resolve()), "threads": threads, "cores": [],
            })  # fmt: skip
        self.runtime: str = self._child.opened["runtime"]

    def run(self, count: int) -> list[int]:
        """Run the model `count` times; returns the times in ns."""
        with self._told():
            times: list[int] = self._child.ask(do="run", count=count)["times_ns"]
        return times

    def memory(self) -> dict[str, int]:
        """Peak and present resident memory of the process, bytes."""
        with self._told():
            return self._child.ask(do="memory")

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended_by: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the process says into the error a user sees."""
        try:
            yield
        except Crash as err:
            raise InputError(
                f"the process that ran the model ended: {err}", where=self._model
            ) from None
        except ModelError as err:
            raise InputError(
                f"the model cannot be run: {err}", where=self._model,
                todo="Check it with dlink-export verify.",
            ) from None  # fmt: skip


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
