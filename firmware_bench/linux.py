"""Measure an artefact's models on this machine: onnxruntime and TFLite, student and teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from firmware_bench import environment, stats
from firmware_bench.artefact import Artefact
from firmware_bench.protocol import ROUNDS, Progress, Worker, interleave, warm_up
from firmware_bench.results import Measurement, Model, TargetRun, figure
from targets.errors import InputError
from targets.target import Target

NS_PER_MS = 1e6


@dataclass(frozen=True)
class _Key:
    """A model file: whose it is and in which format."""

    model: Model
    format: str

    @property
    def kind(self) -> str:
        return self.format.rsplit(".", 1)[1]

    def __str__(self) -> str:
        return f"{self.model}.{self.format}"


def bench(
    artefact: Artefact,
    target: Target,
    *,
    runs: int = 200,
    threads: int = 1,
    progress: Progress = lambda text: None,
) -> tuple[TargetRun, list[Measurement]]:
    """Time every model of the artefact on this machine, batch 1, interleaved.

    Returns
    -------
    run, measurements
        The environment before and after, and latency, memory and the teacher/student ratio.

    Raises
    ------
    InputError
        No model in the artefact, or a runtime that refuses one: the file is named.
    """
    files = {_Key(_model(name), fmt): path for (name, fmt), path in artefact.models().items()}
    if not files:
        raise InputError("no model file in the artefact", where=artefact.path)
    artefact.golden("windows")  # refuse before any process starts
    windows = artefact.path / "golden.npz"
    before = environment.read_state()
    bare = _bare_memory({key.kind for key in files}, windows, threads)
    with _workers(files, windows, threads) as workers:
        block = -(-runs // min(ROUNDS, runs))
        stable = {}
        for key, worker in workers.items():
            stable[key] = warm_up(worker, block)
            progress(f"warm-up {key}")
        by_name = {str(key): worker for key, worker in workers.items()}
        blocks = interleave(by_name, runs, progress)
        memory = {key: worker.memory()["peak_rss"] for key, worker in workers.items()}
        runtimes = {key: worker.runtime for key, worker in workers.items()}
    after = environment.read_state()
    in_ms = {key: [[t / NS_PER_MS for t in b] for b in blocks[str(key)]] for key in files}
    found: list[Measurement] = []
    for key in files:
        found += _latency(target.id, key, runtimes[key], in_ms[key], stable[key])
        found += _memory(target.id, key, runtimes[key], memory[key], bare[key.kind])
    found += _ratios(target.id, in_ms, runtimes)
    return TargetRun(target=target, environment=environment.assess(before, after)), found


def steps(artefact: Artefact, runs: int) -> int:
    """How often :func:`bench` reports progress."""
    return len(artefact.models()) + min(ROUNDS, runs)


def _model(name: str) -> Model:
    return "student" if name == "student" else "teacher"


def _bare_memory(kinds: set[str], windows: Path, threads: int) -> dict[str, int]:
    """Peak memory of a worker that holds the runtime and the windows but no model."""
    found = {}
    for kind in sorted(kinds):
        with Worker(kind, None, windows, threads=threads) as worker:
            found[kind] = worker.memory()["peak_rss"]
    return found


@contextlib.contextmanager
def _workers(files: dict[_Key, Path], windows: Path, threads: int) -> Iterator[dict[_Key, Worker]]:
    with contextlib.ExitStack() as stack:
        yield {
            key: stack.enter_context(Worker(key.kind, path, windows, threads=threads))
            for key, path in files.items()
        }


def _latency(
    target: str, key: _Key, runtime: str, blocks: list[list[float]], stable: bool
) -> list[Measurement]:
    samples = stats.summary([time for block in blocks for time in block], stable=stable)
    note = "" if stable else "the warm-up did not settle"

    def one(metric: str, value: float, **extra: object) -> Measurement:
        return figure(
            target, key.model, metric, value, "measured",
            format=key.format, runtime=runtime, note=note, **extra,
        )  # fmt: skip

    interval = stats.median_interval(blocks)
    return [
        one("latency_median", samples.median, samples=samples, interval=interval),
        one("latency_p90", samples.p90),
        one("latency_p99", samples.p99),
        one("latency_worst", samples.worst),
    ]


def _memory(target: str, key: _Key, runtime: str, peak: int, bare: int) -> list[Measurement]:
    extra = {"format": key.format, "runtime": runtime}
    own = peak - bare
    note = f"peak minus {bare} B of the same process without a model"
    return [
        figure(target, key.model, "peak_rss", peak, "measured", **extra),
        figure(target, key.model, "model_rss", own, "measured", note=note, **extra)
        if own > 0
        else figure(
            target, key.model, "model_rss", None, "measured", **extra,
            reason="smaller than the difference between two processes",
        ),
    ]  # fmt: skip


def _ratios(
    target: str, blocks: dict[_Key, list[list[float]]], runtimes: dict[_Key, str]
) -> list[Measurement]:
    """Teacher time over student time, for each format of the student."""
    teacher = next((key for key in blocks if key.model == "teacher"), None)
    if teacher is None:
        return []
    found = []
    for key, own in blocks.items():
        if key.model != "student":
            continue
        value, interval = stats.ratio(blocks[teacher], own)
        found.append(
            figure(
                target, "ratio", "latency_ratio", value, "measured",
                format=key.format, interval=interval,
                runtime=f"{runtimes[teacher]} / {runtimes[key]}",
                note=f"{teacher} against {key}, interleaved",
            )
        )  # fmt: skip
    return found
