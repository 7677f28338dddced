"""Pipelines: runs of layers that the library carries an image through strip by strip.

The arithmetic of positions mirrors runtime/dlink_pipeline.c; what each stream must hold at most is
found by running it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from export.c import graph as g
from export.c.stages import Stage

ROWS, COLUMNS = 0, 1
PLACE_BYTES = 12  # dlink_place_t
GROUP = 3  # pixels that a convolution multiplies at once


@dataclass(frozen=True)
class Stream:
    """A tensor inside a pipeline; `capacity` positions are held at most.

    `passing`: none is held from one step to the next, so that its memory serves others meanwhile.
    `fixed_bytes`: if not 0, its size, whatever the positions.
    """

    tensor: g.Tensor
    root: int
    capacity: int
    passing: bool = False
    fixed_bytes: int = 0


@dataclass(frozen=True)
class Inner:
    """Arena memory of a pipeline, in use from stage `first` to stage `last`."""

    name: str
    size: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Pipeline:
    """Stages between one input tensor and one output tensor, whole ones both.

    Attributes
    ----------
    axis : ROWS or COLUMNS, the axis along which strips go.
    step : positions of the input taken at once.
    blocks : for each stage the pixels that a convolution gathers at once.
    streams : first the input, then each stage's output.
    reads : for each stage the numbers of the streams that it reads.
    turns : for each stage the most positions made at once.
    """

    stages: tuple[Stage, ...]
    axis: int
    step: int
    blocks: tuple[int, ...]
    streams: tuple[Stream, ...]
    reads: tuple[tuple[int, ...], ...]
    turns: tuple[int, ...]

    @property
    def source(self) -> Stream:
        """What the first stage reads."""
        return self.streams[0]

    @property
    def result(self) -> Stream:
        """What the last stage writes."""
        return self.streams[-1]

    def length(self, stream: Stream) -> int:
        """Positions of the whole tensor."""
        return stream.tensor.shape[1 + self.axis]

    def stream_bytes(self, stream: Stream) -> int:
        """Bytes of the positions held."""
        if stream.fixed_bytes:
            return stream.fixed_bytes
        shape = list(stream.tensor.shape)
        shape[1 + self.axis] = stream.capacity
        return -(-shape[1] * shape[2] * shape[3] // 4) * 4

    def inner(self) -> list[Inner]:
        """What the pipeline keeps in the arena beside its input and output.

        Streams by number, then the state, then each stage's scratch memory.
        """
        last = len(self.stages) - 1
        found = []
        for i, stream in enumerate(self.streams[1:-1]):
            readers = [j for j, numbers in enumerate(self.reads) if i + 1 in numbers]
            life = (i, max(readers)) if stream.passing else (0, last)
            found.append(Inner(f"stream{i + 1}", self.stream_bytes(stream), *life))
        found.append(Inner("state", PLACE_BYTES * len(self.streams), 0, last))
        for i, (stage, block) in enumerate(zip(self.stages, self.blocks, strict=True)):
            if size := stage.scratch_bytes(block):
                found.append(Inner(f"scratch{i}", size, i, i))
        return found

    def live_at(self, i: int) -> int:
        """Arena bytes in use while stage `i` works, the result included."""
        inner = sum(b.size for b in self.inner() if b.first <= i <= b.last)
        return inner + self.stream_bytes(self.result)

    @cached_property
    def live_bytes(self) -> int:
        """Most arena bytes in use at once, the result included."""
        return max(map(self.live_at, range(len(self.stages))))


@dataclass
class _Place:
    first: int
    end: int
    limit: int = 0
    most: int = 0


@dataclass(frozen=True)
class Walked:
    """What a run of a pipeline does.

    Attributes
    ----------
    most : positions held at most, by root.
    passing : roots of which no position is held from one step to the next.
    counts : positions computed, by stage and step.
    read_from, read_to : positions of the input that are read, the last one not included.
    """

    most: dict[int, int]
    passing: set[int]
    counts: list[list[int]]
    read_from: int
    read_to: int


class Walk:
    """dlink_pipeline_run without the data: what each step computes, what each stream holds."""

    def __init__(self, stages: Sequence[Stage], roots: dict[int, int], axis: int) -> None:
        self.stages, self.axis = stages, axis
        self.reads = [[roots[t.index] for t in stage.inputs] for stage in stages]
        self.writes = [roots[stage.output.index] for stage in stages]
        self.source = self.reads[0][0]
        self.lengths = {self.source: stages[0].inputs[0].shape[1 + axis]}
        for stage, root in zip(stages, self.writes, strict=True):
            self.lengths[root] = stage.output.shape[1 + axis]

    def run(self, step: int, first: int = 0, last: int | None = None) -> Walked:
        """Outputs first..last-1, `step` positions of the input at a time; everything by default."""
        last = self.lengths[self.writes[-1]] if last is None else last
        places = self._begin(first)
        self._find_limits(places, last)
        source = places[self.source]
        read_from = source.first
        passing = set(self.writes[:-1])
        counts: list[list[int]] = [[] for _ in self.stages]
        result, turns = places[self.writes[-1]], self.turns(step)
        while result.end < last:
            source.end = min(source.end + step, source.limit)
            for i, root in enumerate(self.writes):
                place = places[root]
                end = min(self._ready(places, i), place.end + turns[i])
                if end > place.end:
                    place.first = max(place.first, self._kept(places, root))
                    counts[i].append(end - place.end)
                    place.end = end
                    place.most = max(place.most, end - place.first)
            passing = {r for r in passing if self._kept(places, r) == places[r].end}
        most = {root: place.most for root, place in places.items()}
        return Walked(most, passing, counts, read_from, source.limit)

    def turns(self, step: int) -> tuple[int, ...]:
        """For each stage the most positions made at once: as fast as they come, and no faster.

        Without it, what waits for the end of the input would pass through all at once.
        """
        strides = {self.source: 1}
        for stage, reads, root in zip(self.stages, self.reads, self.writes, strict=True):
            strides[root] = strides[reads[0]] * stage.stride[self.axis]
        return tuple(-(-step // strides[root]) for root in self.writes)

    def _start(self, stage: Stage, at: int) -> int:
        return max(at * stage.stride[self.axis] - stage.pad[self.axis], 0)

    def _begin(self, first: int) -> dict[int, _Place]:
        starts = dict(self.lengths)
        starts[self.writes[-1]] = first
        for i in reversed(range(len(self.stages))):
            for root in self.reads[i]:
                start = self._start(self.stages[i], starts[self.writes[i]])
                starts[root] = min(starts[root], start)
        return {root: _Place(start, start) for root, start in starts.items()}

    def _find_limits(self, places: dict[int, _Place], last: int) -> None:
        places[self.writes[-1]].limit = last
        for i in reversed(range(len(self.stages))):
            stage, axis = self.stages[i], self.axis
            limit = (places[self.writes[i]].limit - 1) * stage.stride[axis] - stage.pad[axis]
            limit = min(limit + stage.size[axis], self.lengths[self.reads[i][0]])
            for root in self.reads[i]:
                places[root].limit = max(places[root].limit, limit)

    def _ready(self, places: dict[int, _Place], i: int) -> int:
        stage, axis = self.stages[i], self.axis
        source, *second = (places[root] for root in self.reads[i])
        end = places[self.writes[i]].limit
        if source.end < source.limit:
            covered = source.end + stage.pad[axis] - stage.size[axis]
            end = 0 if covered < 0 else min(end, covered // stage.stride[axis] + 1)
        return min([end, *(place.end for place in second)])

    def _kept(self, places: dict[int, _Place], root: int) -> int:
        kept = places[root].end
        for i, reads in enumerate(self.reads):
            if root in reads:
                kept = min(kept, self._start(self.stages[i], places[self.writes[i]].end))
        return kept
