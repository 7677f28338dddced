"""How a stream of samples flows through the levels: the arithmetic of runtime/dlink_stream.c.

Positions count from the start of the current window, in each level's own steps. What each level
must hold at most is found by running the flow here, without data, until it repeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import gcd


@dataclass(frozen=True)
class Reach:
    """What a level's positions read of the level before, and how many are made at once.

    Position c that lies in no edge reads ``c * stride - pad`` and `size` - 1 more. The left edge
    reads positions below `left_reads`, the right edge those from `right_reads` on. `batch` is in
    the level's own positions.
    """

    stride: int
    pad: int
    size: int
    left_reads: int
    right_reads: int
    batch: int


@dataclass(frozen=True)
class Extent:
    """A level: `length` positions a window, of which [left, right) are alike in every window.

    The next window starts `hop` positions later; `position` is the bytes of one (of one row).
    """

    length: int
    left: int
    right: int
    hop: int
    position: int

    @property
    def grain(self) -> int:
        """Positions are dropped by whole multiples of so many, to keep words aligned."""
        return 4 // gcd(self.position, 4)


@dataclass
class Flow:
    """The flow through `levels`; ``reaches[k]`` leads from level k to level k + 1.

    Attributes
    ----------
    most : positions that each level held at most.
    slots : left edges of each level that waited at once, at most.
    counts : for each reach, how often how many positions were made at once.
    """

    levels: Sequence[Extent]
    reaches: Sequence[Reach]
    batch: int  # samples taken at once
    most: list[int] = field(init=False)
    slots: list[int] = field(init=False)
    counts: list[dict[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.most = [0] * len(self.levels)
        self.slots = [0] * len(self.levels)
        self.counts = [{} for _ in self.reaches]
        self._end = [level.left for level in self.levels]
        self._edges = [0] * len(self.levels)

    def run(self, windows: int) -> None:
        """Samples of so many windows, the first one whole, then a hop each."""
        whole = self.levels[0].length
        due = min(self.batch, whole)
        while windows > 0:
            self._grow(0, due - self._end[0])
            self._advance(flush=due == whole)
            if due == whole:
                self._finish()
                windows -= 1
            due = min(self._end[0] + self.batch, whole)

    def _advance(self, *, flush: bool) -> None:
        last = range(len(self.reaches))
        while any(self._step(k, full=True) for k in reversed(last)) or (
            flush and any(self._step(k, full=False) for k in last)
        ):
            pass

    def _step(self, k: int, *, full: bool) -> bool:
        return self._left_edge(k) or self._inside(k, full=full)

    def _left_edge(self, k: int) -> bool:
        source, made = self.levels[k], self._edges[k + 1]
        if self.levels[k + 1].left == 0 or (source.left > 0 and self._edges[k] <= made):
            return False
        if self._end[k] < made * source.hop + self.reaches[k].left_reads:
            return False
        self._edges[k + 1] = made + 1
        used = self._edges[k + 2] if k + 2 < len(self.levels) else 0
        self.slots[k + 1] = max(self.slots[k + 1], made + 1 - used)
        return True

    def _inside(self, k: int, *, full: bool) -> bool:
        reach = self.reaches[k]
        covered = self._end[k] + reach.pad - reach.size
        ready = (covered // reach.stride + 1 if covered >= 0 else 0) - self._end[k + 1]
        count = min(ready, reach.batch)
        if count <= 0 or (full and count < reach.batch):
            return False
        self.counts[k][count] = self.counts[k].get(count, 0) + 1
        self._grow(k + 1, count)
        return True

    def _keep(self, k: int) -> int:
        """The first position of a level that will be read again."""
        if k == len(self.reaches):
            return 0
        reach, target = self.reaches[k], self.levels[k + 1]
        keep = min(self._end[k], self._end[k + 1] * reach.stride - reach.pad)
        if target.left > 0:
            keep = min(keep, self._edges[k + 1] * self.levels[k].hop)
        if target.right < target.length:
            keep = min(keep, reach.right_reads)
        return keep

    def _grow(self, k: int, count: int, *, for_good: bool = True) -> None:
        held = self._end[k] + count - self._keep(k)
        if k < len(self.reaches):
            held += self.levels[k].grain - 1
        self.most[k] = max(self.most[k], held)
        if for_good:
            self._end[k] += count

    def _finish(self) -> None:
        for k, level in enumerate(self.levels):
            self._grow(k, level.length - level.right, for_good=False)
            if self._end[k] != level.right:
                raise AssertionError(f"level {k} ends at {self._end[k]}, not {level.right}")
        for k, level in enumerate(self.levels):
            self._end[k] = max(self._end[k] - level.hop, level.left)
            self._edges[k] -= level.left > 0
