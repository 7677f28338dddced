"""How far a comparison is: a live table on a terminal, a line a change elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from distill.compare.schedule import ENDED, Progress, Watch
from distill.compare.tables import duration

if TYPE_CHECKING:
    from rich.console import Console

#: Live tables show that many steps; the ones that run or failed come first.
SHOWN = 12
_COLOURS = {"running": "cyan", "failed": "red", "blocked": "red", "done": "green"}


@contextlib.contextmanager
def watching(console: Console) -> Iterator[Watch]:
    """Yield what :func:`distill.compare.schedule.run_steps` calls after each change."""
    if not console.is_terminal:
        told = False

        def tell(progress: Progress, name: str) -> None:
            nonlocal told
            kept = len(progress.names("kept"))
            if kept and not told:
                _print(console, f"{kept} of {len(progress.steps)} steps were done before")
            told = True
            _line(console, progress, name)

        yield tell
        return
    from rich.live import Live

    with Live(console=console, refresh_per_second=4, transient=True) as live:
        yield lambda progress, _name: live.update(_table(progress))


def _line(console: Console, progress: Progress, name: str) -> None:
    """One line for a step that ended."""
    state = progress.states.get(name)
    if state not in ENDED:
        return
    ended, every = len(progress.names(*ENDED)), len(progress.steps)
    text = f"[{ended}/{every}] {state} {name}"
    if name in progress.seconds:
        text += f" ({duration(progress.seconds[name])})"
    if state == "failed":
        text += f", log {progress.steps[name].log}"
    _print(console, text)


def _print(console: Console, text: str) -> None:
    """A line as it is: names are no markup, and long ones are not folded."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(progress: Progress) -> Any:
    """Counts of states, then the steps that matter now."""
    import rich.table
    from rich.console import Group
    from rich.markup import escape

    states = list(progress.states.values())
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    table = rich.table.Table()
    for column in ("step", "state", "time"):
        table.add_column(column, justify="right" if column == "time" else "left")
    order = [*progress.names("running"), *progress.names("failed"),
             *reversed(progress.names("done")), *progress.names("waiting")]  # fmt: skip
    now = time.monotonic()
    for name in order[:SHOWN]:
        state = progress.states[name]
        seconds = progress.seconds.get(name)
        if state == "running":
            seconds = now - progress.started[name]
        colour = _COLOURS.get(state, "dim")
        table.add_row(escape(name), f"[{colour}]{state}[/]",
                      duration(seconds) if seconds is not None else "")  # fmt: skip
    return Group(f"{len(states)} steps: {counts}", table)
