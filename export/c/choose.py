"""Which layers make a pipeline, where it is cut, how much it takes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import prod
from typing import Literal

from export.c import graph as g
from export.c.pipeline import COLUMNS, GROUP, ROWS, Pipeline, Stream, Walk
from export.c.stages import Stage, can_be_stage, lower_stage

STRIPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48)
MOST_CUTS = 4  # places tried
ROOM = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0)  # of the least arena that a pipeline can have
MOST_STEPS = 2048
Preference = Literal["speed", "balanced", "memory"]
#: What a library is generated for: the power of memory in the product to be least.
PREFERENCES: dict[Preference, float] = {"speed": 0.02, "balanced": 0.25, "memory": 1.0}
MEMORY_POWER = PREFERENCES["balanced"]  # half of the memory may cost a fifth more instructions


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
        if closed(ops, 0, i, roots, -1) and closed(ops, i, len(ops), roots, -1)
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
        pixels = [[n * across(s, axis) for n in walked.counts[i]] for i, s in enumerate(stages)]
        least = Pipeline(
            stages, axis, step, (GROUP,) * len(stages), tuple(streams), numbers, walk.turns(step)
        )
        for room in ROOM:
            limit = int(least.live_bytes * room)
            blocks = tuple(
                most_at_once(least, i, max(counts), limit) for i, counts in enumerate(pixels)
            )
            pipeline = replace(least, blocks=blocks)
            total = sum(map(cost, stages, blocks, pixels))
            memory = pipeline.live_bytes + held * pipeline.stream_bytes(pipeline.source)
            found.append(Candidate(total, memory, pipeline))
    found.sort(key=lambda c: (c.memory, c.cost))
    return [c for i, c in enumerate(found) if all(c.cost < other.cost for other in found[:i])]


def across(stage: Stage, axis: int) -> int:
    """Output pixels of one position."""
    return stage.output.shape[2 - axis]


def most_at_once(pipeline: Pipeline, i: int, most: int, limit: int) -> int:
    """Pixels to gather at once: whole groups, as many as there are or as `limit` bytes allow."""
    stage = pipeline.stages[i]
    if not stage.words:
        return 0
    free = limit - pipeline.live_at(i) + stage.scratch_bytes(GROUP)
    block = -(-most // GROUP) * GROUP
    while block > GROUP and stage.scratch_bytes(block) > free:
        block -= GROUP
    return block


def cost(stage: Stage, block: int, pixels: Sequence[int]) -> float:
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
            if closed(ops, start, end, roots, output_root):
                length = end - start
                break
        found.append(list(ops[start : start + length]))
        start += length
    return found


def closed(
    ops: Sequence[g.Op], start: int, end: int, roots: dict[int, int], output_root: int
) -> bool:
    """Whether layers start..end-1 can be one pipeline: one tensor goes in and one comes out."""
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
    shapes = {roots[op.output.index]: {op.output.shape} for op in part}
    for op in part:
        for tensor in op.inputs:
            shapes.setdefault(roots[tensor.index], set()).add(tensor.shape)
    # A tensor that is read under another shape, behind a RESHAPE, is whole before that.
    whole = any(len(found) > 1 for found in shapes.values())
    return len(sources) == 1 and not whole and not (made - {result}) & read_elsewhere
