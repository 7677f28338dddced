"""Measurements of the generated C library on a Cortex-M board: emulated, and timed by estimate.

The teacher does not run there; its row says by which factor it does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from firmware_bench import cortex_m, layers, stream_m, validation
from firmware_bench.artefact import Artefact
from firmware_bench.cortex_m import CortexMResult
from firmware_bench.protocol import Progress
from firmware_bench.results import Environment, Interval, Measurement, TargetRun, figure
from targets.errors import InputError
from targets.target import Target

FORMAT = "c int8"
STEPS = 1
_MB = 1e6


@dataclass(frozen=True)
class Subject:
    """What a board runs: a generated library, windows, and the outputs they must give.

    Attributes
    ----------
    c_dir : Path
        Folder of the library.
    inputs, expected : ndarray of int8, shapes (N, input_bytes) and (N, output_bytes)
        `expected` is what the reference kernels make of `inputs`.
    facts, teacher : dict
        Static figures of the model ("macs") and of the teacher it came from, if any.
    stream : Stream, optional
        The library has the streaming interface too; what to push.
    layers_of : Path, optional
        The library's .tflite file, if instructions are to be told layer by layer.
    """

    c_dir: Path
    inputs: npt.NDArray[np.int8]
    expected: npt.NDArray[np.int8]
    facts: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)
    stream: stream_m.Stream | None = None
    layers_of: Path | None = None


def of_artefact(artefact: Artefact) -> Subject:
    """Take library and golden vectors from an artefact; without them it is an InputError."""
    c_dir = artefact.path / "c"
    if not c_dir.is_dir():
        raise InputError(
            "the artefact has no C library",
            where=c_dir,
            todo="Export it again, or leave out the Cortex-M targets.",
        )
    golden = artefact.golden("inputs_int8", "outputs_int8")
    return Subject(
        c_dir,
        _rows(golden["inputs_int8"]),
        _rows(golden["outputs_int8"]),
        artefact.facts("student"),
        artefact.facts("teacher"),
    )


def bench(
    subject: Subject,
    target: Target,
    *,
    keep: Path | None = None,
    progress: Progress = lambda text: None,
) -> tuple[TargetRun, list[Measurement]]:
    """Build the library for the target's core, run it emulated, compare its outputs.

    Parameters
    ----------
    keep : Path, optional
        Folder that gets firmware.elf and firmware.map.

    Raises
    ------
    InputError
        A tool is missing, or the firmware is faulty.
    """
    result = cortex_m.run(
        subject.c_dir, target.core, subject.inputs, flash_terms=target.flash_terms,
        by_layer=subject.layers_of is not None, work_dir=keep,
    )  # fmt: skip
    progress(f"{target.id}: {len(subject.inputs)} windows emulated")
    environment = Environment(
        description=f"{result.emulator}; {result.compiler}",
        facts={
            "machine": result.machine,
            "emulator": result.emulator,
            "compiler": result.compiler,
            "elf_sha256": result.elf_sha256,
            "cycle_model": result.cycle_model,
            "windows": len(subject.inputs),
        },
    )
    found = student(target, subject.facts, result, subject.expected)
    if subject.stream is not None:
        found += stream_m.measurements(subject.stream, target, result.instructions)
    found += teacher(target, subject.teacher)
    by_layer = layers.layer_table(subject.layers_of, result) if subject.layers_of else None
    return TargetRun(target=target, environment=environment, layers=by_layer), found


def student(
    target: Target, facts: dict[str, Any], result: CortexMResult, expected: np.ndarray
) -> list[Measurement]:
    """Turn one emulated run into measurements.

    Parameters
    ----------
    expected : (N, output_bytes) int8
        Outputs of the reference kernels for the same windows.
    """
    if result.outputs.shape != expected.shape:
        raise InputError(
            "golden outputs do not fit the C library",
            where=target.id,
            value=expected.shape,
            limit=result.outputs.shape,
            todo="Export the artefact again with dlink-export.",
        )
    about = {"format": FORMAT, "runtime": f"{result.compiler} -> {result.emulator}"}

    def emulated(metric: str, value: float, note: str = "") -> Measurement:
        return figure(target.id, "student", metric, value, "emulated", note=note, **about)

    differing = int(np.count_nonzero(result.outputs != expected))
    ram = result.ram_arena_bytes + result.ram_io_bytes + result.ram_static_bytes
    least, most = result.instructions_range
    varies = f"data-dependent: {least:,} to {most:,}" if result.data_dependent else ""
    counted = varies or ("repeated exactly" if result.repeatable else "not repeatable")
    found = [
        emulated("instructions", result.instructions, counted),
        emulated(
            "flash_bytes",
            result.flash_model_bytes,
            "code and constants of the library alone",
        ),
        emulated("firmware_bytes", result.flash_total_bytes, "with start-up, bench and C library"),
        emulated(
            "ram_bytes",
            ram,
            f"arena {result.ram_arena_bytes:,} + input and output {result.ram_io_bytes:,}"
            f" + static {result.ram_static_bytes:,} B",
        ),
        emulated("stack_bytes", result.stack_bytes),
        emulated(
            "golden_differing_bytes",
            differing,
            f"of {expected.size:,} output bytes, {len(expected)} windows, against the"
            " reference kernels",
        ),
    ]
    if facts.get("macs"):
        found.append(emulated("instructions_per_mac", result.instructions / facts["macs"]))
    return found + _estimates(target, result, about)


def teacher(target: Target, facts: dict[str, Any]) -> list[Measurement]:
    """Say by which factor an int8 teacher would not fit flash and SRAM of the board."""
    found = []
    for metric, key, room, what in (
        ("flash_factor", "weights_int8_bytes", target.flash_bytes, "flash"),
        ("ram_factor", "activation_peak_int8_bytes", target.sram_bytes, "SRAM"),
    ):
        need = facts.get(key)
        if need is None or not room:
            continue
        fits = "fits" if need <= room else "does not fit"
        note = (
            f"{fits}: needs {need / _MB:.2f} MB {what}, {need / room:.2f} times the board's "
            f"{room / _MB:.2f} MB"
        )
        found.append(
            figure(
                target.id, "teacher", metric, need / room, "estimated",
                format="int8 (not built)", note=note,
            )
        )  # fmt: skip
    return found


def _estimates(target: Target, result: CortexMResult, about: dict[str, str]) -> list[Measurement]:
    """Cycles and time: of the core alone, and on the board where its flash terms are known.

    ``latency_estimated`` is the better of the two that there is; its note says which.
    """
    core, board = result.cycles_estimated, result.cycles_board
    if core is None or not target.clock_hz:
        return [
            figure(
                target.id, "student", "latency_estimated", None, "estimated",
                reason=result.cycle_model, **about,
            )
        ]  # fmt: skip
    band, clock = validation.band(target), target.clock_hz

    def estimate(metric: str, value: float, note: str, *, banded: bool = False) -> Measurement:
        low, high = band.times(value)
        interval = Interval(low=low, high=high, kind="model band") if banded else None
        return figure(
            target.id, "student", metric, value, "estimated", note=note, interval=interval, **about
        )

    rules = f"{core:,} cycles by {result.cycle_model}"
    if board is None:
        best, note = core, f"core only: {rules}; the board's flash terms are not known"
    else:
        best = board
        note = (
            f"{board:,} cycles: {rules}, {board - core:,} of the flash"
            f" ({result.fetched_bytes:,} B of code fetched, {result.flash_misses:,} misses)"
        )
    note = f"{note}; at {clock / 1e6:g} MHz; {band.text}"
    return [
        estimate("cycles_core_only", core, result.cycle_model),
        estimate("cycles_estimated", best, note, banded=True),
        estimate("latency_core_only", cortex_m.milliseconds(core, clock), result.cycle_model),
        estimate("latency_estimated", cortex_m.milliseconds(best, clock), note, banded=True),
    ]


def _rows(array: np.ndarray) -> np.ndarray:
    """View golden vectors (N, ...) int8 as (N, bytes)."""
    return np.ascontiguousarray(array, np.int8).reshape(len(array), -1)
