"""Pipelines: runs of layers that the library carries an image through strip by strip.

The arithmetic of positions mirrors runtime/dlink_pipeline.c; what each stream must hold at most is
found by running it here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, pairwise
from math import prod

from export.c import graph as g
from export.c.stages import Stage, can_be_stage, lower_stage

ROWS, COLUMNS = 0, 1
PLACE_BYTES = 12  # dlink_place_t
STRIPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48)
MOST_CUTS = 4  # places tried
ROOM = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0)  # of the least arena that a pipeline can have
MOST_STEPS = 2048
MEMORY_POWER = 0.25  # half of all memory may cost a fifth of the instructions more
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


@dataclass(frozen=True, eq=False)
class Candidate:
    """A pipeline with its cost in instructions and the arena bytes that it occupies at most."""

    cost: float
    memory: int
    pipeline: Pipeline


def build(
    ops: Sequence[g.Op],
    roots: dict[int, int],
    memory_power: float = MEMORY_POWER,
    outside: int = 0,
) -> list[Pipeline]:
    """The best pipelines for these layers, which follow each other: one, two or three.

    Cut is where little passes: behind a cut, layers wait for all of their input, so that each
    weight is fetched less often; in front of it, the tensor must be held whole.
    """
    lowered = [lower_stage(op) for op in ops]
    roots = {
        **roots,
        **{
            s.output.index: roots.get(s.output.index, s.output.index)
            for stages in lowered
            for s in stages
        },
    }
    places = [
        i
        for i in range(1, len(ops))
        if _closed(ops, 0, i, roots, -1) and _closed(ops, i, len(ops), roots, -1)
    ]
    places = sorted(places, key=lambda i: ops[i - 1].output.size)[:MOST_CUTS]
    known: dict[tuple[int, int], list[Candidate]] = {}
    best: tuple[float, tuple[Candidate, ...]] | None = None
    for count in range(3):
        for cuts in combinations(sorted(places), count):
            ends = list(pairwise([0, *cuts, len(ops)]))
            for first, last in ends:
                if (first, last) not in known:
                    stages = tuple(stage for some in lowered[first:last] for stage in some)
                    known[first, last] = _candidates(stages, roots, held=first > 0)
            for chosen in _together([known[end] for end in ends]):
                memory = outside + max(candidate.memory for candidate in chosen)
                score = sum(c.cost for c in chosen) * float(memory) ** memory_power
                if best is None or score < best[0]:
                    best = score, chosen
    assert best is not None
    return [candidate.pipeline for candidate in best[1]]


def _together(parts: Sequence[Sequence[Candidate]]) -> Iterator[tuple[Candidate, ...]]:
    """For each memory limit the cheapest candidate of each part."""
    for limit in sorted({candidate.memory for part in parts for candidate in part}):
        fitting = [[c for c in part if c.memory <= limit] for part in parts]
        if all(fitting):
            yield tuple(min(part, key=lambda c: c.cost) for part in fitting)


def _candidates(stages: tuple[Stage, ...], roots: dict[int, int], *, held: bool) -> list[Candidate]:
    """Pipelines of these stages of which none is both cheaper and smaller than another.

    `held`: the input lies in the arena too.
    """
    height, width = stages[0].inputs[0].shape[1:3]
    axis = COLUMNS if width > height else ROWS
    walk = Walk(stages, roots, axis)
    found: list[Candidate] = []
    order = [walk.source, *walk.writes]
    numbers = tuple(tuple(order.index(root) for root in reads) for reads in walk.reads)
    # Strips in whole windows of the first layer that slides by more than one position.
    unit = next((s.stride[axis] for s in stages[:2] if s.stride[axis] > 1), 1)
    length = walk.lengths[walk.source]
    # Of a very long image no thin strips: trying them would take minutes.
    strips = [n for n in STRIPS if length <= MOST_STEPS * n * unit]
    strips = strips or [-(-length // (MOST_STEPS * unit))]
    for step in sorted({min(strip * unit, length) for strip in strips}):
        walked = walk.run(step)
        streams = [Stream(stages[0].inputs[0], walk.source, walk.lengths[walk.source])]
        for stage, root in zip(stages, walk.writes, strict=True):
            whole = walk.lengths[root] if root == walk.writes[-1] else walked.most[root]
            passing = root in walked.passing and not stage.fixed_bytes
            streams.append(Stream(stage.output, root, whole, passing, stage.fixed_bytes))
        pixels = [[n * _across(s, axis) for n in walked.counts[i]] for i, s in enumerate(stages)]
        least = Pipeline(
            stages, axis, step, (GROUP,) * len(stages), tuple(streams), numbers, walk.turns(step)
        )
        for room in ROOM:
            limit = int(least.live_bytes * room)
            blocks = tuple(_block(least, i, max(counts), limit) for i, counts in enumerate(pixels))
            pipeline = replace(least, blocks=blocks)
            cost = sum(map(_cost, stages, blocks, pixels))
            memory = pipeline.live_bytes + held * pipeline.stream_bytes(pipeline.source)
            found.append(Candidate(cost, memory, pipeline))
    found.sort(key=lambda c: (c.memory, c.cost))
    return [c for i, c in enumerate(found) if all(c.cost < other.cost for other in found[:i])]


def _across(stage: Stage, axis: int) -> int:
    """Output pixels of one position."""
    return stage.output.shape[2 - axis]


def _block(pipeline: Pipeline, i: int, most: int, limit: int) -> int:
    """Pixels to gather at once: whole groups, as many as there are or as `limit` bytes allow."""
    stage = pipeline.stages[i]
    if not stage.words:
        return 0
    free = limit - pipeline.live_at(i) + stage.scratch_bytes(GROUP)
    block = -(-most // GROUP) * GROUP
    while block > GROUP and stage.scratch_bytes(block) > free:
        block -= GROUP
    return block


def _cost(stage: Stage, block: int, pixels: Sequence[int]) -> float:
    """Instructions of the DSP kernels, roughly, for so many pixels in each step."""
    channels = stage.output.shape[3]
    total, steps = sum(pixels), 170.0 * len(pixels)
    if isinstance(stage.op, g.DepthwiseConv2D) and not stage.words:
        taps = prod(stage.op.window.kernel)
        return steps + total * (60 + channels * (15 + 2.5 * taps))
    if not stage.words:
        return steps + total * channels * 15
    passes = sum(-(-n // block) for n in pixels)
    groups = sum(-(-(n % block) // GROUP) + n // block * (block // GROUP) for n in pixels)
    if stage.fields["direct"]:
        return (
            steps
            + total * (45 + 1.3 * stage.window_bytes)
            + passes * (channels / 2) * 35
            + groups * (channels / 2) * (65 + 10.25 * stage.words)
        )
    return (
        steps
        + total * (45 + 1.3 * stage.window_bytes)
        + passes * (channels / 2) * (70 + 2 * stage.window_bytes)
        + groups * (channels / 2) * (65 + 8.5 * stage.words)
    )


def runs(ops: Sequence[g.Op], roots: dict[int, int], output_root: int) -> list[list[g.Op]]:
    """The layers in lists: those of one pipeline together, every other layer alone.

    A pipeline has one input tensor and one output tensor.
    """
    found: list[list[g.Op]] = []
    start = 0
    while start < len(ops):
        length = 1
        for end in range(len(ops), start + 1, -1):
            if _closed(ops, start, end, roots, output_root):
                length = end - start
                break
        found.append(list(ops[start : start + length]))
        start += length
    return found


def _closed(
    ops: Sequence[g.Op], start: int, end: int, roots: dict[int, int], output_root: int
) -> bool:
    part = ops[start:end]
    if not all(can_be_stage(op) for op in part):
        return False
    made = {roots[op.output.index] for op in part}
    result = roots[part[-1].output.index]
    sources = {roots[t.index] for op in part for t in op.inputs} - made
    elsewhere = [*ops[:start], *ops[end:]]
    read_elsewhere = {roots[t.index] for op in elsewhere for t in op.inputs if t.index in roots} | {
        output_root
    }
    return len(sources) == 1 and not (made - {result}) & read_elsewhere
