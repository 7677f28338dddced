"""What a board over SSH said beside its times, as lines on the terminal."""

from __future__ import annotations

from rich.console import Console

from firmware_bench.results import Measurement, Results, TargetRun
from targets.units import human

#: Told with their note, in this order, where they were measured.
_METRICS = (
    ("int8_speedup", "fp32 time / int8 time"),
    ("latency_jitter", "jitter"),
    ("cold_start", "cold start"),
    ("first_inference", "first inference"),
    ("deadline_misses", "windows late"),
    ("real_time_factor", "real-time factor"),
    ("latency_threads", "median"),
    ("latency_sustained", "under full load"),
    ("energy", "energy"),
    ("golden_agreement", "agreement"),
)


def print_boards(console: Console, results: Results) -> None:
    """Print the lines of every Linux board of a run."""
    for run in results.runs:
        if run.target.kind == "linux":
            for line in lines(results, run):
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def lines(results: Results, run: TargetRun) -> list[str]:
    """Return the sentences: which board, what was noted, the figures that have no column."""
    environment = run.environment
    text = [f"{run.target.id}: {environment.description}"]
    text += [f"  note: {note}" for note in environment.facts.get("notes", {}).values()]
    found = results.select(target=run.target.id)
    for metric, name in _METRICS:
        text += [_sentence(one, name) for one in found if one.metric == metric]
    return text + [
        f"  {one.model} {one.format}: no time: {one.reason}"
        for one in found
        if one.metric == "latency_median" and one.value is None
    ]


def _sentence(one: Measurement, name: str) -> str:
    about = f"  {one.model} {one.format}, {one.runtime}: {name}"
    if one.value is None:
        return f"{about}: none: {one.reason}"
    note = f" ({one.note})" if one.note else ""
    return f"{about} {human(one.value, one.unit)}{note}, {one.evidence}"
