"""Steps in order of need, several at a time: a failed one stops only what needs it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from distill.compare.launch import Handle, Launcher

#: waiting -> running -> done or failed. "kept": was done before; "blocked": what it needs failed.
State = Literal["waiting", "running", "done", "failed", "kept", "blocked"]
ENDED: tuple[State, ...] = ("done", "failed", "kept", "blocked")

POLL_S = 0.1
GRACE_S = 30.0


@dataclass(frozen=True)
class Step:
    """One process to run.

    Attributes
    ----------
    name : its own, fit for a file name.
    command : argument list.
    result : the file whose presence says that the step is done.
    log : where its output goes.
    needs : names of steps that must be done before.
    """

    name: str
    command: tuple[str, ...]
    result: Path
    log: Path
    needs: tuple[str, ...] = ()


@dataclass
class Progress:
    """What became of every step; `changed` names the one that just moved on."""

    steps: dict[str, Step]
    states: dict[str, State]
    started: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def names(self, *states: State) -> list[str]:
        """Names of the steps in one of these states, in order."""
        return [name for name, state in self.states.items() if state in states]


Watch = Callable[[Progress, str], None]


def run_steps(
    steps: Sequence[Step],
    launcher: Launcher,
    *,
    parallel: int,
    threads: int,
    watch: Watch | None = None,
    grace_s: float = GRACE_S,
) -> Progress:
    """Run every step whose result is not there yet, at most `parallel` at a time.

    Parameters
    ----------
    steps : a step stands after those that it needs.
    threads : cores of each process.
    watch : called with the name of a step after each change, and with "" now and then.
    grace_s : seconds that running steps have to end when this process is interrupted.
    """
    progress = Progress({step.name: step for step in steps}, dict.fromkeys(
        (step.name for step in steps), "waiting"))  # fmt: skip
    tell = watch or (lambda _progress, _name: None)
    running: dict[str, Handle] = {}
    for step in steps:
        if step.result.exists():
            progress.states[step.name] = "kept"
    tell(progress, "")
    with _terminate_is_interrupt():
        try:
            while progress.names("waiting", "running"):
                for name in _ready(progress)[: parallel - len(running)]:
                    step = progress.steps[name]
                    step.log.parent.mkdir(parents=True, exist_ok=True)
                    running[name] = launcher.start(step.command, step.log, threads)
                    progress.states[name], progress.started[name] = "running", time.monotonic()
                    tell(progress, name)
                time.sleep(POLL_S)
                _collect(progress, running, tell)
                tell(progress, "")
        finally:
            _stop(list(running.values()), grace_s)
    return progress


def _ready(progress: Progress) -> list[str]:
    """Waiting steps whose needs are met."""
    met = set(progress.names("done", "kept"))
    waiting = progress.names("waiting")
    return [name for name in waiting if met.issuperset(progress.steps[name].needs)]


def _collect(progress: Progress, running: dict[str, Handle], tell: Watch) -> None:
    """Note which steps have ended; block those that need a failed one."""
    for name, handle in list(running.items()):
        status = handle.poll()
        if status is None:
            continue
        del running[name]
        progress.seconds[name] = time.monotonic() - progress.started[name]
        whole = status == 0 and progress.steps[name].result.exists()
        progress.states[name] = "done" if whole else "failed"
        tell(progress, name)
    for name in progress.names("waiting"):
        if set(progress.steps[name].needs) & set(progress.names("failed", "blocked")):
            progress.states[name] = "blocked"
            tell(progress, name)


def _stop(handles: list[Handle], grace_s: float) -> None:
    """End what still runs: first as Ctrl-C does, then without mercy."""
    try:
        for handle in handles:
            handle.stop()
        deadline = time.monotonic() + grace_s
        while any(handle.poll() is None for handle in handles) and time.monotonic() < deadline:
            time.sleep(POLL_S)
    finally:  # also after a second Ctrl-C
        for handle in handles:
            if handle.poll() is None:
                handle.stop(now=True)


@contextlib.contextmanager
def _terminate_is_interrupt() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that children are stopped too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
