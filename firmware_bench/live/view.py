"""What a live run shows: a panel on a terminal, lines elsewhere, and the summary at the end."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from firmware_bench.live.decode import Decision
from firmware_bench.live.gaps import Counts
from firmware_bench.live.record import NS_PER_MS, Record
from targets.units import human

_BAR, _LATENCIES = 30, 8
#: Drawing takes milliseconds of this machine's time, so it is rare.
_PANEL_SECONDS, _LINE_SECONDS = 0.25, 1.0


class View:
    """Shows decisions as they come; `quiet` shows none. Use as a context."""

    def __init__(self, console: Console, record: Record, counts: Counts, *, quiet: bool) -> None:
        self._console, self._record, self._counts = console, record, counts
        self._quiet, self._next = quiet, 0.0
        self._latencies: deque[str] = deque(maxlen=_LATENCIES)
        self._live: Live | None = None
        if console.is_terminal and not quiet:
            self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, one: Decision) -> None:
        """Show a decision, if the last one shown is old enough."""
        self._latencies.append(_ms(one.latency_ns))
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (_LINE_SECONDS if self._live is None else _PANEL_SECONDS)
        if self._live is not None:
            self._live.update(self._panel(one), refresh=True)
        else:
            self._console.print(self._line(one), markup=False, highlight=False, soft_wrap=True)

    def _line(self, one: Decision) -> str:
        label = self._record.labels[one.label]
        marks = ("" if one.settled else "  settling") + ("  repaired" if one.repaired else "")
        return (
            f"{one.seconds:8.2f} s  {label}  p {one.probabilities[one.label]:.3f}  "
            f"latency {_ms(one.latency_ns)}  inference {_ms(one.inference_ns)}  "
            f"missed {self._record.missed}  dropped {_dropped(self._counts)}{marks}"
        )

    def _panel(self, one: Decision) -> Group:
        bars = Table.grid(padding=(0, 1))
        for index, (label, p) in enumerate(
            zip(self._record.labels, one.probabilities, strict=True)
        ):
            style = "bold green" if index == one.label else "dim"
            bars.add_row(
                Text(label, style), Text("█" * round(_BAR * p), style), Text(f"{p:.3f}", style)
            )
        last = Text(f"last latencies: {', '.join(self._latencies)}")
        return Group(
            Text(self._record.labels[one.label], "bold"), bars, Text(self._line(one)), last
        )


def _ms(nanoseconds: int) -> str:
    return human(nanoseconds / NS_PER_MS, "ms")


def _dropped(counts: Counts) -> int:
    return counts.dropped + counts.overrun + counts.not_finite


def print_summary(console: Console, found: dict[str, Any]) -> None:
    """Print the summary of :meth:`~firmware_bench.live.record.Record.summary`."""
    title = f"{found['decisions']} decisions, a hop of {found['hop_ms']:g} ms: measured"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("time")
    for heading in ("median", "p99", "worst"):
        table.add_column(heading, justify="right", no_wrap=True)
    names = {
        "hop": "hop (preprocessing and inference)",
        "inference": "inference",
        "latency": "latency (last sample of the window to decision)",
    }
    for name, samples in found["times_ms"].items():
        table.add_row(
            names[name], *(human(samples[key], "ms") for key in ("median", "p99", "worst"))
        )
    console.print(table)
    for text in _sentences(found):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for fault in found["environment"]["faults"]:
        console.print(
            f"milliseconds are indicative only: {fault['text']}", style="yellow", markup=False,
            highlight=False, soft_wrap=True,
        )  # fmt: skip


def _sentences(found: dict[str, Any]) -> list[str]:
    chain, samples, stream = found["preprocessing"], found["samples"], found["stream"]
    factor = found["real_time_factor"]
    shares = ", ".join(f"{label} {n}" for label, n in found["by_label"].items())
    delay = human(chain["delay_seconds"] * 1e3, "ms")
    return [
        f"group delay of the preprocessor (stated, on top): {delay}"
        f" ({chain['kind']}, {chain['origin']}{': ' + chain['note'] if chain['note'] else ''})",
        f"deadline misses: {found['deadline_misses']}",
        f"samples dropped by the stream {samples['dropped']} (seen by {stream['gaps_seen_by']}), "
        f"by a full queue {samples['overrun']}, not finite {samples['not_finite']}; duplicates "
        f"{samples['duplicates']}; filled {samples['filled']}, restarts {samples['restarts']}",
        f"real-time factor: {factor:.4f} of one core" if factor is not None else "no samples came",
        f"labels: {shares}; while the filters settle {found['unsettled']}, with filled samples "
        f"{found['repaired']}",
        f"model: {found['model']['file']}, {found['model']['runtime']}; "
        f"{found['environment']['description']}; ended: {found['ended']}",
    ]
