"""An artefact rehearsed on an emulated Raspberry Pi: over ssh as on a board, then counted.

The student's files run over a real ssh connection by the runner that a board gets: outputs are
checked, milliseconds are not told. Then each file, the teacher's too, runs once between two marks
under each runtime: exact instructions, peak memory, and a time estimated from what was executed.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from firmware_bench.artefact import Artefact
from firmware_bench.estimate import counts as estimate_counts
from firmware_bench.estimate import user_fit
from firmware_bench.estimate.model import Estimate, LatencyModel, published
from firmware_bench.pi import bench as over_ssh
from firmware_bench.pi.options import PiOptions
from firmware_bench.protocol import Progress
from firmware_bench.rehearsal import guest_run, sshd, userland
from firmware_bench.rehearsal.count import Counts, count
from firmware_bench.results import Evidence, Interval, Measurement, Model, TargetRun, figure
from targets.errors import InputError
from targets.target import Target

ARCHES = ("arm64", "armhf")
#: Sites whose runtime reads a file of this suffix.
_READERS = {".onnx": ("onnxruntime",), ".tflite": ("litert", "tflite-runtime")}
_JOBS = 2  # counts at once: one thread and some hundred megabytes each
_QUICK = PiOptions(runs=1, cold_starts=1, paced_s=0.05, connect_s=60.0)
_TIMEOUT_S = 3600.0
_ARMHF = "the latency model was fitted to 64-bit code"


@dataclass(frozen=True)
class _Case:
    """One model file under one runtime."""

    model: Model
    format: str
    path: Path
    site: str
    attention: bool


def bench(
    artefact: Artefact,
    target: Target,
    arch: str,
    progress: Progress = lambda text: None,
    *,
    keep: Path | None = None,
    constants: Path | None = None,
) -> tuple[TargetRun, list[Measurement]]:
    """Rehearse every model of the artefact on an emulated board.

    Parameters
    ----------
    arch : str
        "arm64", or "armhf" for 32-bit Raspberry Pi OS.
    keep : Path, optional
        Folder that gets the counts, ``MODEL.FORMAT.RUNTIME.counts``, for ``dlink-bench fit``.
    constants : Path, optional
        What ``dlink-bench fit`` wrote: the board's own constants.

    Returns
    -------
    run, measurements
        Figures are `emulated`; milliseconds are `estimated`, with the model's band, or none.

    Raises
    ------
    InputError
        Nothing built (``make rehearsal``), no such board, a runtime that refuses a model.
    """
    if arch not in ARCHES:
        raise InputError("no such word size", where="--arch", value=arch, limit=", ".join(ARCHES))
    cases = _cases(artefact, arch)
    model = user_fit.load(constants) if constants is not None else published(target.id)
    with sshd.Pi(target.id, arch) as pi:
        options = replace(_QUICK, ssh_config=pi.config)
        run, found = over_ssh.bench(_student_only(artefact), target, sshd.HOST, options, progress)
    # The runner's memory is that of the emulator's process.
    found = [one for one in found if one.metric not in ("peak_rss", "model_rss")]
    windows = artefact.path / "golden.npz"
    with ThreadPoolExecutor(_JOBS) as pool:
        counted = pool.map(partial(_count, target, arch, windows, keep), cases)
        for case, (counts, runtime) in zip(cases, counted, strict=True):
            found += _figures(target, arch, case, counts, runtime, model)
            progress(f"counted {case.model} {case.format}, {case.site}")
    return run, found + _ratios(target, found) + _speedups(target, found)


def steps(artefact: Artefact, arch: str) -> int:
    """How often :func:`bench` reports progress."""
    return len(_cases(artefact, arch)) + over_ssh.steps(artefact, _QUICK)


def _cases(artefact: Artefact, arch: str) -> list[_Case]:
    sites = userland.USERLANDS[arch].sites
    operators = artefact.manifest.get("operators", {})
    found = []
    for (model, fmt), path in artefact.models().items():
        attention = "Softmax" in operators.get(path.name, ())
        owner: Model = "student" if model == "student" else "teacher"
        found += [
            _Case(owner, fmt, path, site, attention)
            for site in _READERS[path.suffix] if site in sites
        ]  # fmt: skip
    if not found:
        raise InputError(
            "the artefact has no file that this board's runtimes read", where=artefact.path,
            value=", ".join(fmt for _, fmt in artefact.models()) or "no model",
            todo="Export it with --target rpi4b.",
        )  # fmt: skip
    return found


def _student_only(artefact: Artefact) -> Artefact:
    """The artefact without its teacher, which would take minutes a window in an emulator."""
    files = {
        name: entry
        for name, entry in artefact.manifest["files"].items()
        if not name.startswith("teacher.")
    }
    return replace(artefact, manifest={**artefact.manifest, "files": files})


def _count(
    target: Target, arch: str, windows: Path, keep: Path | None, case: _Case
) -> tuple[Counts, str]:
    argv = ["python3", str(guest_run.__file__), str(case.path), "--windows", str(windows),
            "--runs", "1", "--warmup", "1", "--threads", "1"]  # fmt: skip
    kept = None
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        kept = keep / f"{case.model}.{case.format}.{case.site}.counts"
    found = count(target.id, arch, case.site, argv, timeout_s=_TIMEOUT_S, keep=kept)
    told = json.loads(found.stdout.strip().splitlines()[-1])
    return found, str(told.get("runtime", case.site))


def _figures(
    target: Target, arch: str, case: _Case, counts: Counts, runtime: str, model: LatencyModel
) -> list[Measurement]:
    def one(metric: str, value: float | None, evidence: Any, **extra: Any) -> Measurement:
        return figure(
            target.id, case.model, metric, value, evidence, format=case.format, runtime=runtime,
            **extra,
        )  # fmt: skip

    found = [
        one("instructions", counts.instructions, "emulated", note=f"{arch}, one thread"),
        one("peak_rss", counts.peak_rss_bytes, "emulated", note=f"{arch}, loading included"),
    ]
    estimate = _estimate(arch, case, counts, runtime, model)
    if estimate.ms is None or estimate.low is None or estimate.high is None:
        return [*found, one("latency_estimated", None, "estimated", reason=estimate.reason)]
    band = Interval(low=estimate.low, high=estimate.high, kind="model band")
    note = f"{estimate.model}; {estimate.band}"
    return [*found, one("latency_estimated", estimate.ms, "estimated", interval=band, note=note)]


def _estimate(
    arch: str, case: _Case, counts: Counts, runtime: str, model: LatencyModel
) -> Estimate:
    if arch != "arm64":
        return Estimate(None, None, None, "", runtime, False, _ARMHF)
    return model.estimate(estimate_counts.of(counts), runtime=runtime, attention=case.attention)


def _ratios(target: Target, found: list[Measurement]) -> list[Measurement]:
    """Teacher's estimated time over the student's."""
    timed = [one for one in found if one.metric == "latency_estimated" and one.value]
    above = next((one for one in timed if one.model == "teacher"), None)
    if above is None:
        return []
    return [
        figure(
            target.id, "ratio", "latency_ratio", (above.value or 0) / (one.value or 1), "estimated",
            format=one.format, runtime=f"{above.runtime} / {one.runtime}",
            note=f"estimated, teacher {above.format} against student {one.format}",
        )
        for one in timed if one.model == "student"
    ]  # fmt: skip


def _speedups(target: Target, found: list[Measurement]) -> list[Measurement]:
    """Whether int8 or fp32 is faster under each runtime, by the estimate or by instructions."""
    made: list[Measurement] = []
    kinds: tuple[tuple[str, Evidence], ...] = (
        ("latency_estimated", "estimated"),
        ("instructions", "emulated"),
    )
    for metric, evidence in kinds:
        times = {
            (one.runtime, one.format): one.value
            for one in found if one.model == "student" and one.metric == metric and one.value
        }  # fmt: skip
        for (runtime, fmt), value in times.items():
            kind = fmt.rsplit(".", 1)[1]
            plain = times.get((runtime, f"fp32.{kind}"))
            if not fmt.startswith("int8.") or plain is None or (runtime, fmt) in {
                (one.runtime, one.format) for one in made
            }:  # fmt: skip
                continue
            ratio = plain / value
            faster = "int8" if ratio > 1 else "fp32"
            by = "estimated time" if evidence == "estimated" else "instructions"
            made.append(
                figure(
                    target.id, "student", "int8_speedup", ratio, evidence, format=fmt,
                    runtime=runtime, note=f"{faster} is faster by {by}",
                )
            )  # fmt: skip
    return made
