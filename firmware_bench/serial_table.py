"""What a board said over its serial line, as lines on the terminal."""

from __future__ import annotations

from rich.console import Console

from firmware_bench.results import Measurement, Results, TargetRun
from targets.units import human

_METRICS = (
    ("latency_median", "median"),
    ("latency_p90", "p90"),
    ("latency_worst", "worst"),
    ("stack_bytes", "stack"),
    ("golden_differing_bytes", "bytes that differ"),
)


def print_serial(console: Console, results: Results) -> None:
    """Print the figures of every target that was reached over a serial line."""
    for run in results.runs:
        if "lines_dropped" in run.environment.facts:
            for line in lines(results, run):
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(results: Results, run: TargetRun) -> list[str]:
    """Return the sentences: who answered, each figure with its evidence, the state of the line."""
    environment = run.environment
    text = [f"{run.target.id}: {environment.description}"]
    found = {one.metric: one for one in results.select(target=run.target.id, model="student")}
    for metric, name in _METRICS:
        if metric in found:
            text.append(f"  {name}: {_sentence(found[metric])}")
    facts = environment.facts
    text.append(
        f"  line: {facts['requests_sent_again']} requests sent again,"
        f" {facts['lines_dropped']} damaged lines dropped"
    )
    return text + [f"  milliseconds are indicative only: {one.text}" for one in environment.faults]


def _sentence(one: Measurement) -> str:
    if one.value is None:
        return f"none: {one.reason}"
    note = f" ({one.note})" if one.note else ""
    return f"{human(one.value, one.unit)}{note}, {one.evidence}"
