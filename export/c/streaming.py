"""Streaming: which tensors of a model are kept from window to window, and how they grow.

Position p of a tensor does not depend on where the window lies, unless padding at one of the
window's ends reaches it. So a few tensors, the levels, are carried on from hop to hop; each window
only adds its own edges. Between two levels runs a pipeline, on the few positions that are new;
behind the last level, the rest of the model runs whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from export.c import graph as g
from export.c import pipeline as p
from export.c.plan import Buffer, aliases, live_bytes, peak, search
from export.c.schedule import Schedule, schedule
from export.c.stages import Stage, can_be_stage, lower_stage
from export.c.stream_flow import Extent, Flow, Reach
from targets.errors import InputError

STEPS = (1, 2, 4, 8, 16)
SCRATCH = (256, 512, 1024, 1536, 2048, 4096)
SCRATCH_LIMITS = (1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 1 << 30)
PRICES = (0.0, 10.0, 40.0, 100.0, 200.0, 400.0, 1000.0)  # instructions that a byte is worth
TAIL_POWERS = (p.MEMORY_POWER, 1.0)
MEMORY_POWER = 0.6  # streaming is for small memories: here it counts for more
MOST_SEGMENT = 8  # layers between two levels
MOST_TRIED = 24
CALL_COST = 500.0  # instructions to begin a run
STATE_BYTES, HELD_BYTES = 8, 16  # dlink_stream_state_t, dlink_held_t


@dataclass(frozen=True, eq=False)
class Node:
    """A tensor that could be a level; made by the first `ops` layers, `stride` samples a position.

    `left` and `right` as in :class:`export.c.stream_flow.Extent`.
    """

    tensor: g.Tensor
    ops: int
    left: int
    right: int
    stride: int
    axis: int

    @property
    def length(self) -> int:
        """Positions in a window."""
        return self.tensor.shape[1 + self.axis]

    @property
    def rows(self) -> int:
        """Rows that a position is spread over."""
        return self.tensor.shape[1] if self.axis == p.COLUMNS else 1

    @property
    def position(self) -> int:
        """Bytes of one position in one row."""
        return prod(self.tensor.shape[2 + self.axis :])

    def extent(self, hop: int) -> Extent:
        """With a hop of so many samples."""
        return Extent(self.length, self.left, self.right, hop // self.stride, self.position)


@dataclass(frozen=True, eq=False)
class Segment:
    """The pipeline from one level to the next; `cost` is its instructions per hop, roughly."""

    source: Node
    target: Node
    pipeline: p.Pipeline
    reach: Reach
    cost: float
    live: int


@dataclass(frozen=True, eq=False)
class Streaming:
    """A plan: levels, the segments between them, the rest of the model, and the caller's block.

    Attributes
    ----------
    extents, capacities, slots : for each level; its buffer holds `capacities` positions and
        `slots` left edges of windows that have begun.
    offsets : of each level's buffer in the block.
    inner : for each segment, the offsets of the pipeline's own memory in the scratch memory.
    """

    hop: int
    batch: int
    nodes: tuple[Node, ...]
    extents: tuple[Extent, ...]
    segments: tuple[Segment, ...]
    capacities: tuple[int, ...]
    slots: tuple[int, ...]
    offsets: tuple[int, ...]
    scratch: int
    inner: tuple[dict[str, int], ...]
    tail_graph: g.Graph
    tail: Schedule
    block_bytes: int
    cost: float

    def row(self, level: int) -> int:
        """Bytes from one row of a level's buffer to the next."""
        node = self.nodes[level]
        return _row(node, self.capacities[level], self.slots[level])

    @property
    def sample_values(self) -> int:
        """Values of one sample: all channels."""
        return self.nodes[0].rows * self.nodes[0].position


def plan(graph: g.Graph, fc_rounding: str, hop: int) -> Streaming:
    """The best plan found for a hop of so many samples.

    Raises
    ------
    InputError
        If the model cannot be streamed, or not with this hop.
    """
    nodes = find_nodes(graph)
    lowered = [lower_stage(op) for op in _layers(graph)[: nodes[-1].ops]]
    _check_hop(graph, nodes, hop)
    usable = [node for node in nodes if hop % node.stride == 0]
    roots = aliases(graph)
    options = list(_segments(usable, lowered, roots, hop))
    tails = {
        node.ops: [tail for tail in _tails(graph, node, fc_rounding) if _readable(node, *tail)]
        for node in usable[1:]
    }
    found: dict[tuple[int, ...], tuple[float, list[Segment], tuple[g.Graph, Schedule]]] = {}
    for limit in SCRATCH_LIMITS:
        for price in PRICES:
            for path, cost, size in _paths(usable, options, limit, price, hop):
                for tail in tails[path[-1].target.ops]:
                    total = cost + _tail_cost(*tail)
                    memory = size + max(max(s.live for s in path), tail[1].plan.peak)
                    key = (id(tail[1]), *(id(segment) for segment in path))
                    found[key] = total * memory**MEMORY_POWER, path, tail
    if not found:
        raise InputError(
            "model has no tensor that can be carried on from window to window",
            where=graph.source,
            todo="Generate the library without streaming.",
        )
    best = sorted(found.values(), key=lambda entry: entry[0])[:MOST_TRIED]
    plans = [_finish(hop, path, tail, roots) for _, path, tail in best]
    return min(plans, key=lambda plan: plan.cost * plan.block_bytes**MEMORY_POWER)


def _layers(graph: g.Graph) -> list[g.Op]:
    return [op for op in graph.ops if not isinstance(op, g.Reshape)]


def _check_hop(graph: g.Graph, nodes: Sequence[Node], hop: int) -> None:
    length, stride = nodes[0].length, nodes[1].stride
    if not 0 < hop <= length or hop % stride != 0:
        raise InputError(
            "hop does not fit the model",
            where=graph.source,
            value=f"{hop} samples",
            limit=f"a multiple of {stride}, up to {length // stride * stride}",
            todo="Choose another hop.",
        )


def find_nodes(graph: g.Graph) -> list[Node]:
    """The input and every tensor that can be a level, in order.

    Raises
    ------
    InputError
        If there is none but the input: nothing slides.
    """
    layers, roots = _layers(graph), aliases(graph)
    if not layers or not can_be_stage(layers[0]):
        raise _not_streamable(graph, "its first layer does not slide over an image")
    image = layers[0].inputs[0]
    height, width = image.shape[1:3]
    if height == width:
        raise _not_streamable(graph, f"no axis of {image.dims} is the longer one, that of time")
    axis = p.COLUMNS if width > height else p.ROWS
    nodes = [Node(image, 0, 0, image.shape[1 + axis], 1, axis)]
    known = {roots[image.index]: nodes[0]}
    shapes = {roots[image.index]: image.shape}
    for count, op in enumerate(layers, 1):
        places = [known.get(roots.get(t.index, -1)) for t in op.inputs]
        same = all(shapes.get(roots.get(t.index, -1)) == t.shape for t in op.inputs)
        if not can_be_stage(op) or not same or None in places:
            break
        node = _through(op, [place for place in places if place is not None], count, axis)
        if node is None:
            break
        known[roots[op.output.index]] = node
        shapes[roots[op.output.index]] = op.output.shape
        if p._closed(layers, 0, count, roots, roots[graph.output.index]):
            nodes.append(node)
    if len(nodes) == 1:
        raise _not_streamable(graph, "no position of its first layers is free of padding")
    return nodes


def _not_streamable(graph: g.Graph, why: str) -> InputError:
    return InputError(
        f"model cannot be streamed: {why}",
        where=graph.source,
        todo="Generate the library without streaming.",
    )


def _through(op: g.Op, places: Sequence[Node], count: int, axis: int) -> Node | None:
    """The node of a layer's output; None if all of it depends on where the window lies."""
    stages = lower_stage(op)
    if len(stages) > 1:  # the mean of everything
        return None
    stage, length = stages[0], op.output.shape[1 + axis]
    size, stride, pad = stage.size[axis], stage.stride[axis], stage.pad[axis]
    left = max(-(-(place.left + pad) // stride) for place in places)
    right = min(min(length, (place.right + pad - size) // stride + 1) for place in places)
    if left >= right or pad < 0:
        return None
    return Node(op.output, count, left, right, places[0].stride * stride, axis)


def _segments(
    nodes: Sequence[Node], lowered: list[list[Stage]], roots: dict[int, int], hop: int
) -> Iterator[Segment]:
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
    found = []
    unit = walk.stages[0].stride[walk.axis]
    longest = max(last - first for first, last in calls) * reach.stride
    for step in sorted({min(step * unit, longest) for step in STEPS}):
        for scratch in SCRATCH:
            pipeline, costs = _pipeline(walk, calls, step, scratch)
            cost = sum(c * n for c, n in zip(costs, often, strict=True))
            live = pipeline.live_bytes - pipeline.stream_bytes(pipeline.result)
            found.append(Segment(source, target, pipeline, reach, cost, live))
    least = float("inf")
    for segment in sorted(found, key=lambda s: (s.live, s.cost)):
        if segment.cost < least:
            least = segment.cost
            yield segment


def _pipeline(
    walk: p.Walk, calls: Sequence[tuple[int, int]], step: int, scratch: int
) -> tuple[p.Pipeline, list[float]]:
    """A pipeline with room for all these runs, and what each costs."""
    walked = [walk.run(step, *call) for call in calls]
    passing = set.intersection(*(w.passing for w in walked))
    stages, axis = walk.stages, walk.axis
    streams = [p.Stream(stages[0].inputs[0], walk.source, walk.lengths[walk.source])]
    for stage, root in zip(stages, walk.writes, strict=True):
        most = max(w.most[root] for w in walked)
        streams.append(p.Stream(stage.output, root, most, root in passing))
    order = [walk.source, *walk.writes]
    reads = tuple(tuple(order.index(root) for root in roots) for roots in walk.reads)
    least = p.Pipeline(
        tuple(stages), axis, step, (p.GROUP,) * len(stages), tuple(streams), reads,
        walk.turns(step),
    )  # fmt: skip
    limit = max(least.live_bytes - least.stream_bytes(least.result), scratch)
    pixels = [
        p._across(s, axis) * max(max(w.counts[i], default=0) for w in walked)
        for i, s in enumerate(stages)
    ]
    blocks = tuple(_block(least, i, pixels[i], limit) for i in range(len(stages)))
    costs = [
        CALL_COST
        + sum(
            p._cost(s, blocks[i], [n * p._across(s, axis) for n in w.counts[i]])
            for i, s in enumerate(stages)
        )
        for w in walked
    ]
    return replace(least, blocks=blocks), costs


def _block(pipeline: p.Pipeline, i: int, most: int, limit: int) -> int:
    """Pixels that a convolution gathers at once: as many as there are or `limit` bytes allow."""
    stage = pipeline.stages[i]
    if not stage.words:
        return 0
    others = sum(b.size for b in pipeline.inner() if b.first <= i <= b.last)
    free = limit - others + stage.scratch_bytes(p.GROUP)
    block = -(-most // p.GROUP) * p.GROUP
    while block > p.GROUP and stage.scratch_bytes(block) > free:
        block -= p.GROUP
    return block


def _paths(
    nodes: Sequence[Node], options: Sequence[Segment], limit: int, price: float, hop: int
) -> Iterator[tuple[list[Segment], float, float]]:
    """To each node the cheapest path where a byte costs `price`, with its cost and bytes."""
    best: dict[int, tuple[float, list[Segment], float, float]] = {0: (0.0, [], 0.0, 0.0)}
    for segment in options:  # in the order of their sources
        begin = best.get(segment.source.ops)
        if begin is None or segment.live > limit:
            continue
        size = begin[3] + _history_bytes(segment)
        cost = begin[2] + segment.cost
        known = best.get(segment.target.ops)
        if known is None or cost + price * size < known[0]:
            best[segment.target.ops] = (cost + price * size, [*begin[1], segment], cost, size)
    for node in nodes[1:]:
        if node.ops in best:
            _, path, cost, size = best[node.ops]
            windows = -(-node.length * node.stride // hop)
            whole = (node.length + windows * node.left) * node.rows * node.position
            yield path, cost, size + whole


def _history_bytes(segment: Segment) -> int:
    """Roughly what a segment needs of its source held, and of its target for a batch."""
    reach, source, target = segment.reach, segment.source, segment.target
    held = max(reach.left_reads, source.length - reach.right_reads, reach.size)
    held += reach.stride * reach.batch + target.left
    return held * source.rows * source.position


def _tails(graph: g.Graph, node: Node, fc_rounding: str) -> Iterator[tuple[g.Graph, Schedule]]:
    """The layers behind a node as a model of their own, scheduled for speed and for memory."""
    last = _layers(graph)[node.ops - 1]
    ops = graph.ops[graph.ops.index(last) + 1 :]
    rest = replace(graph, ops=ops, input=node.tensor)
    for power in TAIL_POWERS:
        yield rest, schedule(rest, fc_rounding, power)


def _readable(node: Node, rest: g.Graph, order: Schedule) -> bool:
    """Whether all that read the last level can do with further bytes between its rows."""
    roots = order.plan.roots
    layers = any(
        roots.get(t.index) == node.tensor.index for la in order.layers for t in la.op.inputs
    )
    return node.rows == 1 or not (layers or roots[rest.output.index] == node.tensor.index)


def _tail_cost(rest: g.Graph, order: Schedule) -> float:
    roots = {**order.plan.roots}
    cost = 2.0 * sum(layer.op.macs for layer in order.layers)
    for pipeline in order.pipelines:
        roots.update(
            {s.output.index: roots.get(s.output.index, s.output.index) for s in pipeline.stages}
        )
        counts = p.Walk(pipeline.stages, roots, pipeline.axis).run(pipeline.step).counts
        for i, stage in enumerate(pipeline.stages):
            pixels = [n * p._across(stage, pipeline.axis) for n in counts[i]]
            cost += p._cost(stage, max(pipeline.blocks[i], 1), pixels)
    return cost


def _finish(
    hop: int, path: Sequence[Segment], tail: tuple[g.Graph, Schedule], roots: dict[int, int]
) -> Streaming:
    """Exact sizes, from a run of the flow."""
    nodes = (path[0].source, *(segment.target for segment in path))
    extents = tuple(node.extent(hop) for node in nodes)
    reaches = [segment.reach for segment in path]
    batch = reaches[0].batch * reaches[0].stride
    flow = Flow(extents, reaches, batch)
    flow.run(2 + -(-extents[0].length // hop))
    segments = tuple(
        _resized(segment, sorted(counts), roots)
        for segment, counts in zip(path, flow.counts, strict=True)
    )
    inner = [_place(segment.pipeline) for segment in segments]
    at = STATE_BYTES + HELD_BYTES * len(nodes)
    offsets = []
    for node, most, slots in zip(nodes, flow.most, flow.slots, strict=True):
        offsets.append(at)
        at += node.rows * _row(node, most, slots)
    scratch = max(tail[1].plan.peak, *(size for _, size in inner))
    return Streaming(
        hop, batch, nodes, extents, segments, tuple(flow.most), tuple(flow.slots), tuple(offsets),
        at, tuple(places for places, _ in inner), *tail, at + -(-scratch // 4) * 4,
        sum(segment.cost for segment in path) + _tail_cost(*tail),
    )  # fmt: skip


def _row(node: Node, capacity: int, slots: int) -> int:
    return -(-(capacity + slots * node.left) * node.position // 4) * 4


def _resized(segment: Segment, counts: Sequence[int], roots: dict[int, int]) -> Segment:
    """With room for exactly the runs that happen; the blocks and the step stay as they are."""
    known = segment.pipeline
    roots = {**roots, **{s.output.index: roots[s.output.index] for s in known.stages}}
    walk = p.Walk(known.stages, roots, known.axis)
    calls = _calls(segment.source, segment.target, counts)
    pipeline, _ = _pipeline(walk, calls, known.step, SCRATCH[0])
    return replace(segment, pipeline=replace(pipeline, blocks=known.blocks))


def _place(pipeline: p.Pipeline) -> tuple[dict[str, int], int]:
    """Offsets of a pipeline's own memory, and its bytes."""
    inner = pipeline.inner()
    wanted = [Buffer(i, b.size, b.first, b.last) for i, b in enumerate(inner)]
    placed = search(wanted, live_bytes(wanted))
    return {b.name: placed[i] for i, b in enumerate(inner)}, peak(wanted, placed)
