"""The tensor arena: when each intermediate tensor lives, and where.

Greedy by size (Pisarchyk and Lee, arXiv 2001.03288): the largest buffer first, each at the lowest
offset that is free for as long as it lives. Where that misses the bound that no plan of whole
tensors can beat (the most bytes alive during any one step), other orders are tried: one buffer at
a time comes first, as long as that lowers the peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from export.c.graph import Graph, Reshape

ALIGNMENT = 4


@dataclass(frozen=True)
class Buffer:
    """Bytes alive from step `first` to step `last`, both included."""

    root: int
    size: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are alive in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Offsets in the arena by root tensor, and for each tensor the root whose bytes it shares.

    The model's input and output are the caller's and have no offset.
    """

    roots: dict[int, int]
    offsets: dict[int, int]
    peak: int
    lower_bound: int


def aliases(graph: Graph) -> dict[int, int]:
    """For each tensor the one whose bytes it is: RESHAPE copies nothing."""
    roots = {graph.input.index: graph.input.index}
    for op in graph.ops:
        source = op.inputs[0].index if isinstance(op, Reshape) else op.output.index
        roots[op.output.index] = roots.get(source, source)
    return roots


def place(order: Sequence[Buffer], alignment: int = ALIGNMENT) -> dict[int, int]:
    """Offsets by root, multiples of `alignment`: in this order, each as low as it fits."""
    placed: list[tuple[int, Buffer]] = []
    for buffer in order:
        offset = 0
        for start, other in sorted(placed, key=lambda pair: pair[0]):
            if not buffer.meets(other):
                continue
            if offset + buffer.size <= start:
                break
            offset = max(offset, -(-(start + other.size) // alignment) * alignment)
        placed.append((offset, buffer))
    return {buffer.root: offset for offset, buffer in placed}


def search(wanted: Sequence[Buffer], bound: int) -> dict[int, int]:
    """The best offsets found; stops at `bound` bytes, or when no single move helps."""
    order = sorted(wanted, key=lambda b: (-b.size, b.first))
    best = place(order)
    while peak(wanted, best) > bound:
        moved = [[b, *(other for other in order if other is not b)] for b in order]
        order = min(moved, key=lambda candidate: peak(wanted, place(candidate)))
        offsets = place(order)
        if peak(wanted, offsets) >= peak(wanted, best):
            break
        best = offsets
    return best


def peak(wanted: Sequence[Buffer], offsets: dict[int, int]) -> int:
    """Bytes up to the end of the last buffer."""
    return max((offsets[b.root] + b.size for b in wanted), default=0)


def live_bytes(wanted: Sequence[Buffer]) -> int:
    """The most bytes alive in one step: the bound."""
    steps = range(max((b.last + 1 for b in wanted), default=0))
    return max((sum(b.size for b in wanted if b.first <= s <= b.last) for s in steps), default=0)
