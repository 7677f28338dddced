"""Bench of the streaming interface on an emulated Cortex-M: what a hop costs in the long run.

The same firmware as for whole windows, but that each call pushes the samples of one hop into one
stream. When the first window is full, every call ends one.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from firmware_bench import validation
from firmware_bench.cores import find_core
from firmware_bench.cycles import board_cycles, estimate_cycles, fetched_bytes, milliseconds
from firmware_bench.disassembly import disassemble
from firmware_bench.emulator import Counter, emulate
from firmware_bench.memory import memory_use
from firmware_bench.pipeline import TRIPLES
from firmware_bench.results import Interval, Measurement, figure
from firmware_bench.toolchain import build_firmware, build_plugin
from targets.target import FlashTerms, Target

Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Stream:
    """A library with the streaming interface, samples for it, and what windows of them give.

    Attributes
    ----------
    c_dir : Path
        The library, generated with this hop.
    hop, block_bytes : int
        Samples from window to window; the interface's memory.
    pushes : ndarray of int8, shape (N, hop * values of a sample)
        One hop of samples each.
    expected : ndarray of int8, shape (windows, output bytes)
        Outputs of the reference kernels for the windows that end in the last pushes.
    """

    c_dir: Path
    hop: int
    block_bytes: int
    pushes: Bytes
    expected: Bytes


@dataclass(frozen=True)
class HopResult:
    """What a run told. Bytes and instructions are exact, cycles estimated.

    Attributes
    ----------
    instructions : int
        Of the last push.
    instructions_range : tuple of int
        Least and most of all pushes that end a window.
    ram_block_bytes, ram_samples_bytes, ram_output_bytes, ram_static_bytes : int
        State and scratch memory; the samples of one push; the output; the library's variables.
    differing_bytes : int
        Output bytes that differ from the reference kernels', of all windows.
    """

    instructions: int
    instructions_range: tuple[int, int]
    cycles_core: int | None
    cycles_board: int | None
    ram_block_bytes: int
    ram_samples_bytes: int
    ram_output_bytes: int
    ram_static_bytes: int
    stack_bytes: int
    flash_model_bytes: int
    differing_bytes: int
    output_bytes: int

    @property
    def ram_bytes(self) -> int:
        """All RAM of the interface, the stack apart."""
        own = self.ram_block_bytes + self.ram_static_bytes
        return own + self.ram_samples_bytes + self.ram_output_bytes


def run(
    stream: Stream,
    core: str,
    *,
    flash_terms: FlashTerms | None = None,
    timeout_s: float = 600.0,
) -> HopResult:
    """Build the library into a firmware for `core` and push the samples, a hop at a time.

    Raises
    ------
    InputError
        A program is missing, the library does not build, or the firmware misbehaves.
    """
    with tempfile.TemporaryDirectory(prefix="dlink-hop-") as name:
        folder = Path(name)
        defines = (f"-DBENCH_CHUNK={stream.hop}",)
        firmware = build_firmware(stream.c_dir, find_core(core), folder, defines=defines)
        counter = Counter(build_plugin(folder), flash_terms)
        found = emulate(firmware, stream.pushes, timeout_s=timeout_s, counter=counter)
        memory = memory_use(firmware)
        listing = disassemble(firmware.elf, llvm=core in TRIPLES)
    windows = len(stream.expected)
    counts = [sum(b.instructions * b.executions for b in region) for region in found.regions]
    last = found.regions[-1]
    cycles = estimate_cycles(core, last, listing)
    on_board = None
    if cycles is not None and flash_terms is not None:
        misses = found.flash_misses[-1] if found.flash_misses else 0
        on_board = board_cycles(cycles, flash_terms, fetched_bytes(last), misses)
    return HopResult(
        instructions=counts[-1],
        instructions_range=(min(counts[-windows:]), max(counts[-windows:])),
        cycles_core=cycles,
        cycles_board=on_board,
        ram_block_bytes=stream.block_bytes,
        ram_samples_bytes=stream.pushes.shape[1],
        ram_output_bytes=stream.expected.shape[1],
        ram_static_bytes=memory.ram_static,
        stack_bytes=found.stack_bytes,
        flash_model_bytes=memory.flash_model,
        differing_bytes=int(np.count_nonzero(found.outputs[-windows:] != stream.expected)),
        output_bytes=stream.expected.size,
    )


def measurements(stream: Stream, target: Target, whole: int) -> list[Measurement]:
    """Run the stream on a board's core; `whole` is the instructions of a whole window there."""
    result = run(stream, target.core, flash_terms=target.flash_terms)
    least, most = result.instructions_range
    notes = {
        "hop_instructions": f"{stream.hop} samples; {result.instructions / whole:.3f} of a whole"
        f" window; {least:,} to {most:,}",
        "hop_ram_bytes": f"state and scratch {result.ram_block_bytes:,} + samples of a hop"
        f" {result.ram_samples_bytes:,} + output {result.ram_output_bytes:,}"
        f" + static {result.ram_static_bytes:,} B",
        "hop_differing_bytes": f"of {result.output_bytes:,} output bytes, against the reference"
        " kernels on whole windows",
    }
    values = {
        "hop_instructions": result.instructions,
        "hop_ram_bytes": result.ram_bytes,
        "hop_stack_bytes": result.stack_bytes,
        "hop_flash_bytes": result.flash_model_bytes,
        "hop_differing_bytes": result.differing_bytes,
    }
    found = [
        figure(target.id, "student", name, value, "emulated", note=notes.get(name, ""))
        for name, value in values.items()
    ]
    cycles = result.cycles_core if result.cycles_board is None else result.cycles_board
    if cycles is not None and target.clock_hz:
        band = validation.band(target)
        time = milliseconds(cycles, target.clock_hz)
        low, high = band.times(time)
        what = "core only" if result.cycles_board is None else "with the board's flash"
        found.append(
            figure(
                target.id, "student", "hop_latency_estimated", time, "estimated",
                note=f"{cycles:,} cycles, {what}; {band.text}",
                interval=Interval(low=low, high=high, kind="model band"),
            )
        )  # fmt: skip
    return found
