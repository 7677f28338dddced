"""Segments of a stream: the pipelines that lead from one level to the next, in many variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from export.c import choose
from export.c import pipeline as p
from export.c.stages import Stage
from export.c.stream_flow import Reach
from export.c.stream_nodes import Node

STEPS = (1, 2, 4, 8, 16)
SCRATCH = (256, 512, 1024, 1536, 2048, 4096)
MOST_SEGMENT = 8  # layers between two levels
CALL_COST = 1500.0  # instructions to begin a run, and to move what is held


@dataclass(frozen=True, eq=False)
class Segment:
    """The pipeline from one level to the next; `cost` is its instructions per hop, roughly."""

    source: Node
    target: Node
    pipeline: p.Pipeline
    reach: Reach
    cost: float
    live: int


def segments(
    nodes: Sequence[Node], lowered: list[list[Stage]], roots: dict[int, int], hop: int
) -> Iterator[Segment]:
    """Every segment between two of the `nodes`; `lowered` are the stages of each layer."""
    for i, source in enumerate(nodes):
        for target in nodes[i + 1 :]:
            stages = tuple(stage for some in lowered[source.ops : target.ops] for stage in some)
            if len(stages) > MOST_SEGMENT:
                break
            walk = p.Walk(stages, roots, source.axis)
            most = min(hop // target.stride, target.right - target.left)
            for batch in sorted({most, -(-most // 2), -(-most // 4), 4, 2, 1}):
                reach = _reach(walk, source, target, batch)
                if batch <= most and reach is not None:
                    yield from _variants(walk, source, target, reach, hop)


def _reach(walk: p.Walk, source: Node, target: Node, batch: int) -> Reach | None:
    """None if an edge reads more than its own edge of the level before and what lies inside."""
    one = walk.run(1, target.left, target.left + 1)
    stride = target.stride // source.stride
    pad = target.left * stride - one.read_from
    left = max(walk.run(1, 0, target.left).read_to, source.left) if target.left else 0
    right = source.length
    if target.right < target.length:
        right = walk.run(1, target.right, target.length).read_from
    if left > source.right or right < source.left:
        return None
    return Reach(stride, pad, one.read_to - one.read_from, left, min(right, source.right), batch)


def _calls(source: Node, target: Node, counts: Sequence[int]) -> list[tuple[int, int]]:
    """The runs of a segment: positions of the target, from and to, in the frame of a window."""
    calls = [(target.right - count, target.right) for count in counts]
    calls += [(0, target.left)] if target.left else []
    return calls + ([(target.right, target.length)] if target.right < target.length else [])


def _variants(
    walk: p.Walk, source: Node, target: Node, reach: Reach, hop: int
) -> Iterator[Segment]:
    """Segments that differ in speed and scratch memory; none that is beaten in both."""
    calls = _calls(source, target, [reach.batch])
    often = [hop / target.stride / reach.batch, *([1.0] * (len(calls) - 1))]
    found: dict[tuple[int, tuple[int, ...]], Segment] = {}
    unit = walk.stages[0].stride[walk.axis]
    longest = max(last - first for first, last in calls) * reach.stride
    for step in sorted({min(step * unit, longest) for step in STEPS}):
        least, pixels = _least(walk, calls, step)
        for scratch in SCRATCH:
            blocks = _blocks(least, pixels, scratch)
            if (step, blocks) not in found:
                pipeline = replace(least, blocks=blocks)
                cost = sum(
                    n * (CALL_COST + sum(map(choose.cost, walk.stages, blocks, one)))
                    for n, one in zip(often, pixels, strict=True)
                )
                live = inner_bytes(pipeline)
                found[step, blocks] = Segment(source, target, pipeline, reach, cost, live)
    best = float("inf")
    for segment in sorted(found.values(), key=lambda s: (s.live, s.cost)):
        if segment.cost < best:
            best = segment.cost
            yield segment


def inner_bytes(pipeline: p.Pipeline) -> int:
    """Most bytes of a pipeline's own in use at once."""
    return pipeline.live_bytes - pipeline.stream_bytes(pipeline.result)


def _least(
    walk: p.Walk, calls: Sequence[tuple[int, int]], step: int
) -> tuple[p.Pipeline, list[list[list[int]]]]:
    """A pipeline with room for all these runs, and the pixels by run, stage and turn.

    Convolutions gather as little at once as they can.
    """
    walked = [walk.run(step, *call) for call in calls]
    passing = set.intersection(*(w.passing for w in walked))
    stages = tuple(walk.stages)
    streams = [p.Stream(stages[0].inputs[0], walk.source, walk.lengths[walk.source])]
    for stage, root in zip(stages, walk.writes, strict=True):
        most = max(w.most[root] for w in walked)
        streams.append(p.Stream(stage.output, root, most, root in passing))
    order = [walk.source, *walk.writes]
    reads = tuple(tuple(order.index(root) for root in roots) for roots in walk.reads)
    blocks, turns = (p.GROUP,) * len(stages), walk.turns(step)
    pipeline = p.Pipeline(stages, walk.axis, step, blocks, tuple(streams), reads, turns)
    pixels = [
        [[n * choose.across(s, walk.axis) for n in w.counts[i]] for i, s in enumerate(stages)]
        for w in walked
    ]
    return pipeline, pixels


def _blocks(least: p.Pipeline, pixels: list[list[list[int]]], scratch: int) -> tuple[int, ...]:
    """Pixels that convolutions gather at once: as many as there are or `scratch` bytes allow."""
    blocks = []
    inner = least.inner()
    limit = max(inner_bytes(least), scratch)
    for i, stage in enumerate(least.stages):
        block = 0
        if stage.words:
            others = sum(b.size for b in inner if b.first <= i <= b.last)
            free = limit - others + stage.scratch_bytes(p.GROUP)
            block = -(-max(max(one[i], default=0) for one in pixels) // p.GROUP) * p.GROUP
            while block > p.GROUP and stage.scratch_bytes(block) > free:
                block -= p.GROUP
        blocks.append(block)
    return tuple(blocks)


def resized(segment: Segment, counts: Sequence[int], roots: dict[int, int]) -> Segment:
    """With room for exactly the runs that happen; the blocks and the step stay as they are."""
    known = segment.pipeline
    walk = p.Walk(known.stages, roots, known.axis)
    calls = _calls(segment.source, segment.target, counts)
    least, _ = _least(walk, calls, known.step)
    return replace(segment, pipeline=replace(least, blocks=known.blocks))
