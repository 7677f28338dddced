"""From what a board reported to measurements, each with its evidence and its runtime.

No milliseconds come out of an emulator, of a model that crashed, or of one whose outputs are not
the golden ones: the figure is there, without a value and with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from export.parity import TOLERANCES
from firmware_bench import stats
from firmware_bench.pi import energy
from firmware_bench.pi.record import NS_PER_MS, Record
from firmware_bench.results import Evidence, Measurement, Model, figure

#: Float outputs may differ from torch's by this part of the largest; another order of additions
#: makes less, a wrong kernel more.
FLOAT_TOLERANCE = 1e-3
#: How far integer outputs may be from the reference kernels': the stage of the artefact's parity.
_STAGES = {"int8.tflite": "int8.runtimes", "int16x8.tflite": "int16.runtimes"}


class _Writer:
    """Measurements of one entry."""

    def __init__(self, record: Record, target: str, entry: str) -> None:
        about = record.model(entry)
        self.model: Model = "student" if about["model"] == "student" else "teacher"
        self.format, self.runtime = str(about["format"]), record.runtime(entry)
        self.evidence: Evidence = "emulated" if record.emulated else "measured"
        self._target = target

    def __call__(self, metric: str, value: float | None, **extra: object) -> Measurement:
        extra = {"runtime": self.runtime, **extra}
        return figure(
            self._target, self.model, metric, value, self.evidence, format=self.format, **extra
        )


def measurements(
    record: Record, target: str, meter: energy.Meter | None = None
) -> list[Measurement]:
    """Every figure of a record; `meter` is what a power meter at the board's supply wrote."""
    found: list[Measurement] = []
    for entry in record.entries:
        one = _Writer(record, target, entry)
        reason = why_no_time(record, entry)
        found += _golden(record, entry, one)
        if reason:
            found.append(one("latency_median", None, reason=reason))
            continue
        found += _latency(record, entry, one)
        found += _starts(record, entry, one)
        found += _memory(record, entry, one)
        found += _paced(record, entry, one)
        found += _threads(record, entry, one)
        found += _sustained(record, entry, one)
        if record.job["energy_s"]:
            found.append(energy.measurement(record, entry, meter, one))
    timed = [entry for entry in record.entries if not why_no_time(record, entry)]
    return [*found, *_ratios(record, target, timed), *_speedups(record, target, timed)]


def why_no_time(record: Record, entry: str) -> str:
    """Reason why no milliseconds of an entry are told; empty if they are."""
    files = record.units.get("files", {}).get(record.model(entry)["id"], {})
    fault, wrong = record.about("fault", entry), wrong_outputs(record, entry)
    reasons = {
        "none of the runtimes that read it is installed on the board (looked for"
        f" {', '.join(record.job['runtimes'])})": entry.endswith("@none"),
        "the file on the board is damaged: its checksum is not the artefact's": not files.get(
            "whole", True
        ),
        f"{fault['phase']}: {fault['error']}" if fault else "": fault is not None,
        "an emulator has no clock of the board": bool(record.emulated),
        f"the outputs are not the golden ones: {wrong}": bool(wrong),
        "a round of it is missing": not record.blocks(entry, record.job["threads"][0]),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def wrong_outputs(record: Record, entry: str) -> str:
    """What is wrong with the outputs; empty if they are the golden ones, or cannot be judged.

    Float formats are held against torch's outputs, integer TFLite against the reference kernels'.
    Other formats differ from the float model by right, and their agreement is a figure, not a rule.
    """
    alone = record.about("alone", entry)
    golden = alone["golden"] if alone else {}
    if golden and not golden["finite"]:
        return "not finite"
    kind = record.model(entry)["format"]
    if kind in _STAGES and "worst_step" in golden:
        allowed = TOLERANCES[_STAGES[kind]].max_abs or 0.0
        if golden["worst_step"] > allowed:
            return f"{golden['worst_step']} steps from the reference kernels (allowed {allowed:g})"
    if kind.startswith("fp32.") and "max_abs" in golden:
        error = golden["max_abs"] / (golden["scale"] or 1.0)
        if error > FLOAT_TOLERANCE:
            return f"off by {error:.1e} of the largest (allowed {FLOAT_TOLERANCE:.0e})"
    return ""


def _golden(record: Record, entry: str, one: _Writer) -> Iterator[Measurement]:
    alone = record.about("alone", entry)
    golden = alone["golden"] if alone else {}
    if "agreement" in golden:
        note = f"{golden['windows']} windows, against the model in torch"
        yield one("golden_agreement", golden["agreement"], note=note)
        yield one("golden_error", golden["max_abs"] / (golden["scale"] or 1.0), note=note)
    if "differing" in golden:
        note = f"values that differ, worst {golden['worst_step']} steps, from the reference kernels"
        yield one("golden_differing_bytes", golden["differing"], note=note)


def _latency(record: Record, entry: str, one: _Writer) -> list[Measurement]:
    threads = record.job["threads"][0]
    blocks = record.blocks(entry, threads)
    stable = record.units[f"warm:{threads}"]["stable"].get(entry, False)
    times = list(itertools.chain.from_iterable(blocks))
    samples = stats.summary(times, stable=stable)
    quarter, three = np.percentile(times, [25, 75])
    notes = [] if stable else ["the warm-up did not settle"]
    if changed := record.changed(entry):
        notes.append(f"{changed} outputs differed from the first of their window")
    note = "; ".join(notes)
    return [
        one("latency_median", samples.median, samples=samples,
            interval=stats.median_interval(blocks), note=note),
        one("latency_p90", samples.p90, note=note),
        one("latency_p99", samples.p99, note=note),
        one("latency_worst", samples.worst, note=note),
        one("latency_jitter", float(three - quarter), note=note),
    ]  # fmt: skip


def _starts(record: Record, entry: str, one: _Writer) -> list[Measurement]:
    starts = record.units[f"alone:{entry}"]["starts"]

    def median(*names: str) -> float:
        return float(np.median([sum(start[n] for n in names) for start in starts])) / NS_PER_MS

    note = f"median of {len(starts)} new processes"
    return [
        one("cold_start", median("start_ns", "import_ns", "load_ns"), note=note),
        one("runtime_import", median("import_ns"), note=f"{note}, with NumPy"),
        one("model_load", median("load_ns"), note=note),
        one("first_inference", median("first_ns"), note=note),
    ]


def _memory(record: Record, entry: str, one: _Writer) -> list[Measurement]:
    peak = record.units[f"alone:{entry}"]["memory"]["peak_rss"]
    bare = (record.about("bare", entry.partition("@")[2]) or {}).get("peak_rss")
    found = [one("peak_rss", peak)]
    if bare is None:
        reason = "the process without a model could not be measured"
        return [*found, one("model_rss", None, reason=reason)]
    if peak <= bare:
        reason = "smaller than the difference between two processes"
        return [*found, one("model_rss", None, reason=reason)]
    note = f"peak minus {bare} B of the same process without a model"
    return [*found, one("model_rss", peak - bare, note=note)]


def _paced(record: Record, entry: str, one: _Writer) -> list[Measurement]:
    loop = record.about("paced", entry)
    if loop is None:
        return []
    hop = loop["hop_ns"] / NS_PER_MS
    threads = record.job["threads"][0]
    times = list(itertools.chain.from_iterable(record.blocks(entry, threads)))
    note = f"{len(loop['responses_ns'])} windows, one every {hop:g} ms"
    return [
        one("real_time_factor", float(np.median(times)) / hop, note=f"hop {hop:g} ms"),
        one("deadline_misses", loop["misses"], note=note),
        one("response_worst", max(loop["responses_ns"]) / NS_PER_MS, note=note),
    ]


def _threads(record: Record, entry: str, one: _Writer) -> Iterator[Measurement]:
    for threads in record.job["threads"][1:]:
        blocks = record.blocks(entry, threads)
        if blocks:
            samples = stats.summary(
                list(itertools.chain.from_iterable(blocks)),
                stable=record.units[f"warm:{threads}"]["stable"].get(entry, False),
            )
            yield one(
                "latency_threads", samples.median, samples=samples,
                interval=stats.median_interval(blocks),
                runtime=f"{one.runtime}, {threads} threads",
            )  # fmt: skip


def _sustained(record: Record, entry: str, one: _Writer) -> Iterator[Measurement]:
    found = record.units.get("sustained")
    if found is None or found["entry"] != entry or not found["points"]:
        return
    points = found["points"]
    late = [p["median_ns"] for p in points if p["s"] >= 0.8 * points[-1]["s"]]
    heat = [p["state"]["temperature_c"] for p in points if p["state"]["temperature_c"]]
    warm = f", {heat[0]:.0f} to {max(heat):.0f} °C" if heat else ""
    yield one(
        "latency_sustained", float(np.median(late)) / NS_PER_MS,
        note=f"the last fifth of {points[-1]['s']:.0f} s of full load{warm}; at first"
        f" {points[0]['median_ns'] / NS_PER_MS:.3g} ms",
        runtime=f"{one.runtime}, {found['threads']} threads",
    )  # fmt: skip


def _ratios(record: Record, target: str, timed: list[str]) -> Iterator[Measurement]:
    """Teacher time over student time, from rounds in which both ran."""
    threads = record.job["threads"][0]
    teacher = next((e for e in timed if record.model(e)["model"] == "teacher"), None)
    if teacher is None:
        return
    for entry in timed:
        if record.model(entry)["model"] == "student":
            value, interval = stats.ratio(
                record.blocks(teacher, threads), record.blocks(entry, threads)
            )
            yield figure(
                target, "ratio", "latency_ratio", value, "measured",
                format=record.model(entry)["format"], interval=interval,
                runtime=f"{record.runtime(teacher)} / {record.runtime(entry)}",
                note=f"{teacher} against {entry}, interleaved",
            )  # fmt: skip


def _speedups(record: Record, target: str, timed: list[str]) -> Iterator[Measurement]:
    """The student's fp32 time over its int8 time under the same runtime: which one is faster."""
    threads = record.job["threads"][0]
    for entry in timed:
        name, _, runtime = entry.partition("@")
        twin = f"{name.replace('int8.', 'fp32.')}@{runtime}"
        if not name.startswith("student.int8.") or twin not in timed:
            continue
        value, interval = stats.ratio(record.blocks(twin, threads), record.blocks(entry, threads))
        if interval.low <= 1 <= interval.high:
            verdict = "int8 and fp32 are as fast as each other"
        else:
            verdict = f"{'int8' if value > 1 else 'fp32'} is faster"
        yield figure(
            target, "student", "int8_speedup", value, "measured",
            format=record.model(entry)["format"], interval=interval,
            runtime=record.runtime(entry), note=f"{verdict} under {runtime}, interleaved",
        )  # fmt: skip
