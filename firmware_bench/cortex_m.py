"""Bench of a generated C library on an emulated Cortex-M: outputs, instructions, memory, cycles.

The firmware holds the library and a bare-metal main, nothing else; every figure but the cycles is
exact for the binary whose hash is given. Cycles are estimated (:mod:`firmware_bench.cycles`).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firmware_bench.calls import CallCount, watch_calls
from firmware_bench.cores import find_core
from firmware_bench.cycles import (
    Block,
    board_cycles,
    count_by_class,
    describe,
    estimate_cycles,
    fetched_bytes,
    milliseconds,
)
from firmware_bench.disassembly import disassemble
from firmware_bench.emulator import Counter, Emulation, emulate
from firmware_bench.memory import memory_use
from firmware_bench.pipeline import TRIPLES
from firmware_bench.toolchain import (
    ModelHeader,
    build_firmware,
    build_plugin,
    first_line,
    require_tool,
)
from targets.errors import InputError
from targets.files import atomic_path
from targets.target import FlashTerms

__all__ = ["CortexMResult", "milliseconds", "run"]

_KEPT_FILES = ("firmware.elf", "firmware.map")


@dataclass(frozen=True)
class CortexMResult:
    """What one run told. Bytes and instructions are exact, cycles estimated.

    Attributes
    ----------
    outputs : ndarray of int8, shape (N, output_bytes)
    instructions : int
        Executed by one call of the model on the first window, from its first instruction to its
        return.
    instructions_by_class : dict
        The same by load, store, multiply, alu, branch, other.
    repeatable : bool
        Whether a second call on the same window executed the same blocks equally often.
    instructions_range : tuple of int
        Least and most over the first two windows.
    data_dependent : bool
        Whether those two differ: saturation may branch on the data.
    flash_model_bytes, ram_static_bytes : int
        Of the library's objects alone, see :mod:`firmware_bench.memory`.
    stack_bytes : int
        Deepest word that a call overwrote below its caller's frame, over all windows. A frame
        whose lowest words are never written hides them.
    cycles_estimated : int or None
        Of the core alone; None if its cycle model is not installed. `cycle_model` says why, or
        names the rules.
    cycles_board : int or None
        With the flash terms of the board, where they were given.
    fetched_bytes, flash_misses : int
        Of code executed, and of reads that the board's data cache did not hold (0 without terms).
    calls : dict
        What the kernels executed of `instructions`, by the name of a layer's constants in model.c;
        empty unless asked for.
    """

    machine: str
    core: str
    outputs: npt.NDArray[np.int8]
    instructions: int
    instructions_by_class: dict[str, int]
    repeatable: bool
    flash_model_bytes: int
    flash_total_bytes: int
    ram_arena_bytes: int
    ram_io_bytes: int
    ram_static_bytes: int
    stack_bytes: int
    cycles_estimated: int | None
    cycle_model: str
    elf_sha256: str
    compiler: str
    emulator: str
    model_name: str = ""
    model_hash: str = ""
    instructions_range: tuple[int, int] = (0, 0)
    data_dependent: bool = False
    cycles_board: int | None = None
    fetched_bytes: int = 0
    flash_misses: int = 0
    calls: dict[str, CallCount] = field(default_factory=dict)


def run(
    c_dir: Path,
    core: str,
    windows: npt.NDArray[np.int8],
    *,
    flash_terms: FlashTerms | None = None,
    by_layer: bool = False,
    work_dir: Path | None = None,
    timeout_s: float = 600.0,
) -> CortexMResult:
    """Build the library in `c_dir` into a firmware for `core` and run it on `windows`.

    Parameters
    ----------
    c_dir : Path
        Folder with model.h and the library's C files.
    core : str
        One of :data:`firmware_bench.cores.CORES`.
    windows : ndarray of int8, shape (N, input_bytes)
        At least one. The first two are counted, the first of them twice.
    flash_terms : FlashTerms, optional
        What the flash of the board adds to the core's cycles.
    by_layer : bool
        Tell which layer's kernel each instruction served. Library and counts are the same.
    work_dir : Path, optional
        Where to leave firmware.elf and firmware.map; by default nothing is left.
    timeout_s : float
        For each of the two runs of the emulator.

    Raises
    ------
    InputError
        A program is missing, the library does not build, or the firmware misbehaves.
    """
    row = find_core(core)
    emulator = require_tool("qemu-system-arm")
    with tempfile.TemporaryDirectory(prefix="dlink-firmware-") as name:
        folder = Path(name)
        firmware = build_firmware(c_dir, row, folder)
        windows = _check_windows(windows, firmware.header)
        counted = emulate(
            firmware,
            windows[[0, 0, min(1, len(windows) - 1)]],
            timeout_s=timeout_s,
            counter=Counter(
                build_plugin(folder), flash_terms, watch_calls(firmware) if by_layer else None
            ),
        )
        plain = emulate(firmware, windows, timeout_s=timeout_s)
        _check_same_outputs(counted, plain, c_dir)
        memory = memory_use(firmware)
        listing = disassemble(firmware.elf, llvm=core in TRIPLES)
        if work_dir is not None:
            _keep(folder, work_dir)
    first, again, other = counted.regions
    totals = (_instructions(first), _instructions(other))
    cycles, fetched = estimate_cycles(core, first, listing), fetched_bytes(first)
    misses = counted.flash_misses[0] if counted.flash_misses else 0
    on_board = None
    if cycles is not None and flash_terms is not None:
        on_board = board_cycles(cycles, flash_terms, fetched, misses)
    return CortexMResult(
        machine=row.machine,
        core=row.name,
        outputs=plain.outputs,
        instructions=totals[0],
        instructions_by_class=count_by_class(first, listing),
        repeatable=first == again,
        flash_model_bytes=memory.flash_model,
        flash_total_bytes=memory.flash_total,
        ram_arena_bytes=memory.ram_arena,
        ram_io_bytes=memory.ram_io,
        ram_static_bytes=memory.ram_static,
        stack_bytes=max(counted.stack_bytes, plain.stack_bytes),
        cycles_estimated=cycles,
        cycle_model=describe(core),
        elf_sha256=firmware.elf_sha256,
        compiler=firmware.compiler,
        emulator=f"{first_line(emulator)}, machine {row.machine}",
        model_name=firmware.header.name,
        model_hash=firmware.header.hash,
        instructions_range=(min(totals), max(totals)),
        data_dependent=first != other,
        cycles_board=on_board,
        fetched_bytes=fetched,
        flash_misses=misses,
        calls=counted.calls[0] if by_layer else {},
    )


def _instructions(blocks: list[Block]) -> int:
    return sum(block.instructions * block.executions for block in blocks)


def _check_windows(windows: npt.NDArray[np.int8], header: ModelHeader) -> npt.NDArray[np.int8]:
    expected = f"int8 (N, {header.input_bytes}), N at least 1"
    shape_fits = windows.ndim == 2 and windows.shape[1] == header.input_bytes
    if windows.dtype != np.int8 or not shape_fits or len(windows) == 0:
        raise InputError(
            "windows do not fit the model's input",
            where=header.name,
            value=f"{windows.dtype} {windows.shape}",
            limit=expected,
            todo="Quantise the windows with the scale of the model's input.",
        )
    return np.ascontiguousarray(windows)


def _check_same_outputs(counted: Emulation, plain: Emulation, c_dir: Path) -> None:
    """Three calls on window 0 (two of them counted) and all others must agree in every byte."""
    expected = plain.outputs[[0, 0, min(1, len(plain.outputs) - 1)]]
    if not np.array_equal(counted.outputs, expected):
        raise InputError(
            "the model gives different outputs for the same window",
            where=c_dir,
            todo="Look for a value that is read before it is written.",
        )


def _keep(folder: Path, work_dir: Path) -> None:
    for name in _KEPT_FILES:
        with atomic_path(work_dir / name) as part:
            part.write_bytes((folder / name).read_bytes())
