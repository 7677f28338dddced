"""What the C library of a graph will need in RAM and flash, before anything is calibrated.

Arena and constant arrays depend on shapes, not on scales: the graph is quantised with ranges of -1
to 1 and scheduled as the generator would do it. The code itself, 10 to 35 kB, is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass

from export import ir, quantize, tflite
from export.c import emit
from export.c.choose import PREFERENCES, Preference
from export.c.fold import fold
from export.c.generate import GeneratedLibrary
from export.c.reader import read
from export.c.schedule import schedule
from targets.errors import InputError
from targets.target import Target
from targets.units import human


@dataclass(frozen=True)
class StaticMemory:
    """Bytes; `widest` is the operator during which most bytes of whole tensors are alive."""

    arena_bytes: int
    io_bytes: int
    weight_bytes: int
    widest: str

    @property
    def ram_bytes(self) -> int:
        """Arena, input and output."""
        return self.arena_bytes + self.io_bytes


def static_memory(graph: ir.Graph, prefer: Preference = "balanced") -> StaticMemory:
    """Count arena, input, output and constants of the int8 C library of `graph`.

    Raises
    ------
    InputError
        An operator that the C library lacks.
    """
    ranges = dict.fromkeys(graph.lifetimes(), (-1.0, 1.0))
    model = tflite.write_int8(quantize.quantize(graph, ranges))
    read_back = read(model)
    order = schedule(fold(read_back), "reference", PREFERENCES[prefer])
    io_bytes = read_back.input.size + read_back.output.size
    return StaticMemory(emit.arena_bytes(order.plan), io_bytes, order.weight_bytes, _widest(graph))


def _widest(graph: ir.Graph) -> str:
    spans = graph.lifetimes()
    alive = [
        sum(graph.tensors[name].size for name, (first, last) in spans.items() if first <= i <= last)
        for i in range(len(graph.ops))
    ]
    return graph.ops[max(range(len(alive)), key=alive.__getitem__)].name


def check_fits(need: StaticMemory, target: Target) -> None:
    """Refuse a graph that a microcontroller cannot hold.

    Raises
    ------
    InputError
        RAM or flash too small; it names the operator during which most is alive.
    """
    rows = (
        ("RAM (arena, input and output)", need.ram_bytes, target.sram_bytes,
         f"most is alive at node {need.widest}"),
        ("flash (weights)", need.weight_bytes, target.flash_bytes, "before any code"),
    )  # fmt: skip
    for what, bytes_needed, has, detail in rows:
        if has is not None and bytes_needed > has:
            raise InputError(
                f"the model needs more {what} than {target.name} has, {detail}",
                where=f"--target {target.id}", value=human(bytes_needed, "B"),
                limit=human(has, "B"),
                todo="Take a smaller student, fewer electrodes or a shorter window.",
            )  # fmt: skip


def check_library(library: GeneratedLibrary, target: Target, widest: str) -> None:
    """Refuse a generated library that a microcontroller cannot hold: the exact figures now.

    Parameters
    ----------
    widest : operator that the refusal names, as :attr:`StaticMemory.widest`.
    """
    if target.kind == "cortex-m":
        need = StaticMemory(library.arena_bytes, library.io_bytes, library.weight_bytes, widest)
        check_fits(need, target)
