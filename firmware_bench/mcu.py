"""Measurements of the generated C library on a Cortex-M board: emulated, and timed by estimate.

The teacher does not run there; its row says by which factor it does not fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from firmware_bench import cortex_m
from firmware_bench.artefact import Artefact
from firmware_bench.cortex_m import CortexMResult
from firmware_bench.protocol import Progress
from firmware_bench.results import Environment, Interval, Measurement, TargetRun, figure
from targets.errors import InputError
from targets.target import Target

#: The board's time over the core-only estimate. Flash wait states are left out, so the error is
#: lopsided: up to 16 % too high was seen, and 32 % too low (1 / 0.68); see cycles.BAND.
BAND = (0.84, 1.47)
FORMAT = "c int8"
STEPS = 1
_MB = 1e6


def bench(
    artefact: Artefact, target: Target, *, progress: Progress = lambda text: None
) -> tuple[TargetRun, list[Measurement]]:
    """Build the artefact's C library for the target's core, run it emulated, compare its outputs.

    Raises
    ------
    InputError
        No C library or golden vectors in the artefact, a tool missing, or a faulty firmware.
    """
    c_dir = artefact.path / "c"
    if not c_dir.is_dir():
        raise InputError(
            "the artefact has no C library",
            where=c_dir,
            todo=f"Export it again, or leave out -t {target.id}.",
        )
    golden = artefact.golden("inputs_int8", "outputs_int8")
    inputs = _rows(golden["inputs_int8"])
    result = cortex_m.run(c_dir, target.core, inputs)
    progress(f"{target.id}: {len(inputs)} windows emulated")
    environment = Environment(
        description=f"{result.emulator}; {result.compiler}",
        facts={
            "machine": result.machine,
            "emulator": result.emulator,
            "compiler": result.compiler,
            "elf_sha256": result.elf_sha256,
            "cycle_model": result.cycle_model,
            "windows": len(inputs),
        },
    )
    found = student(target, artefact.facts("student"), result, _rows(golden["outputs_int8"]))
    found += teacher(target, artefact.facts("teacher"))
    return TargetRun(target=target, environment=environment), found


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
            f"whole firmware {result.flash_total_bytes:,} B",
        ),
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
    found.append(_latency(target, result, about))
    return found


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


def _latency(target: Target, result: CortexMResult, about: dict[str, str]) -> Measurement:
    if result.cycles_estimated is None or not target.clock_hz:
        return figure(
            target.id, "student", "latency_estimated", None, "estimated",
            reason=result.cycle_model, **about,
        )  # fmt: skip
    time = cortex_m.milliseconds(result.cycles_estimated, target.clock_hz)
    return figure(
        target.id, "student", "latency_estimated", time, "estimated",
        note=f"{result.cycles_estimated:,} cycles at {target.clock_hz / 1e6:g} MHz;"
        f" {result.cycle_model}",
        interval=Interval(low=time * BAND[0], high=time * BAND[1], kind="model band"),
        **about,
    )  # fmt: skip


def _rows(array: np.ndarray) -> np.ndarray:
    """View golden vectors (N, ...) int8 as (N, bytes)."""
    return np.ascontiguousarray(array, np.int8).reshape(len(array), -1)
