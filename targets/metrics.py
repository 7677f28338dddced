"""The figures that are measured and gated: name, unit, which way is better, how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from targets.units import BASE_UNIT

#: How a gate may use a metric.
#: exact: the same on every run, a hard gate anywhere. time: milliseconds of a clock, only with a
#: valid environment. interval: judged by its interval (interleaved ratio, estimate with a band).
Trust = Literal["exact", "time", "interval"]


@dataclass(frozen=True)
class Metric:
    """One figure.

    `unit` is the base unit of `dimension` (see :mod:`targets.units`). `scope` "model" means that
    the figure belongs to the model alone and is the same on every target.
    """

    name: str
    dimension: str
    title: str
    better: Literal["lower", "higher"] = "lower"
    trust: Trust = "exact"
    scope: Literal["target", "model"] = "target"

    @property
    def unit(self) -> str:
        """Unit in which results.json stores the figure."""
        return BASE_UNIT[self.dimension]


_ALL = (
    Metric("latency_median", "time", "latency, median", trust="time"),
    Metric("latency_p90", "time", "latency, 90th percentile", trust="time"),
    Metric("latency_p99", "time", "latency, 99th percentile", trust="time"),
    Metric("latency_worst", "time", "latency, worst", trust="time"),
    Metric("latency_ratio", "ratio", "teacher time / student time", "higher", "interval"),
    Metric("latency_estimated", "time", "latency, estimated", trust="interval"),
    Metric("latency_jitter", "time", "latency, interquartile range", trust="time"),
    Metric("latency_threads", "time", "latency, median, more threads", trust="time"),
    Metric("latency_sustained", "time", "latency, median, at the end of full load", trust="time"),
    Metric("cold_start", "time", "process start to model loaded", trust="time"),
    Metric("runtime_import", "time", "import of the runtime", trust="time"),
    Metric("model_load", "time", "loading of the model", trust="time"),
    Metric("first_inference", "time", "first inference", trust="time"),
    Metric("real_time_factor", "ratio", "time of a window / hop", trust="time"),
    Metric("deadline_misses", "count", "windows late in a loop at the hop", trust="time"),
    Metric("response_worst", "time", "window due to answer, worst, at the hop", trust="time"),
    Metric("energy", "energy", "energy of one inference", trust="time"),
    Metric("int8_speedup", "ratio", "fp32 time / int8 time", "higher", "interval"),
    Metric("golden_agreement", "fraction", "agreement with the golden outputs", "higher"),
    Metric("golden_error", "fraction", "largest difference / largest golden output"),
    Metric("peak_rss", "size", "peak resident memory of the process"),
    Metric("model_rss", "size", "resident memory of the model"),
    Metric("file_size", "size", "file size", scope="model"),
    Metric("params", "count", "parameters", scope="model"),
    Metric("macs", "count", "multiply-accumulates", scope="model"),
    Metric("instructions", "count", "instructions of one inference"),
    Metric("instructions_per_mac", "count", "instructions per multiply-accumulate"),
    Metric("cycles_estimated", "count", "cycles, estimated", trust="interval"),
    Metric("cycles_core_only", "count", "cycles, core only, estimated", trust="interval"),
    Metric("latency_core_only", "time", "latency, core only, estimated", trust="interval"),
    Metric("flash_bytes", "size", "flash of the model (code and constants)"),
    Metric("firmware_bytes", "size", "flash of the whole firmware"),
    Metric("code_bytes", "size", "flash of the whole firmware, weights apart"),
    Metric("ram_bytes", "size", "RAM (arena, input, output, static)"),
    Metric("stack_bytes", "size", "stack, high-water mark"),
    Metric("hop_instructions", "count", "instructions of a hop, streaming"),
    Metric("hop_latency_estimated", "time", "latency of a hop, estimated", trust="interval"),
    Metric("hop_ram_bytes", "size", "RAM, streaming (state, scratch, samples, output)"),
    Metric("hop_flash_bytes", "size", "flash of the model, streaming alone"),
    Metric("hop_stack_bytes", "size", "stack of a hop, high-water mark"),
    Metric("hop_differing_bytes", "count", "bytes that differ from whole windows, streaming"),
    Metric("golden_differing_bytes", "count", "bytes that differ from the golden vectors"),
    Metric("instructions_vs_peer", "ratio", "instructions / the peer's"),
    Metric("flash_vs_peer", "ratio", "whole firmware / the peer's"),
    Metric("code_vs_peer", "ratio", "whole firmware / the peer's, weights apart"),
    Metric("ram_vs_peer", "ratio", "RAM / the peer's"),
    Metric("stack_vs_peer", "ratio", "stack / the peer's"),
    Metric("hop_ram_vs_peer", "ratio", "RAM, streaming / the peer's"),
    Metric("flash_factor", "ratio", "weights / flash of the board"),
    Metric("ram_factor", "ratio", "activation peak / SRAM of the board"),
    Metric("balanced_accuracy", "fraction", "balanced accuracy", "higher", scope="model"),
    Metric("teacher_agreement", "fraction", "agreement with the teacher", "higher", scope="model"),
    Metric("accuracy_drop", "fraction", "accuracy lost by quantisation", scope="model"),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
#: What a figure may be of. `ratio` is teacher against student; the last two are training arms:
#: the exported student is one seed of `distilled`, `matched` its twin without a teacher; `peer` is
#: another engine's recorded figure on the student's file.
MODELS = ("student", "teacher", "ratio", "distilled", "matched", "peer")
