"""Streaming: which tensors of a model are carried on from window to window, and how they grow.

Position p of a tensor does not depend on where the window lies, unless padding at one of the
window's ends reaches it. So a few tensors, the levels, are carried on from hop to hop; each window
only adds its own edges. Between two levels runs a pipeline, on the few positions that are new;
behind the last level, the rest of the model runs whole.

Found by shortest paths through the graph of possible levels, for several prices of memory; the
best few are sized exactly, by a run of the flow (:mod:`export.c.stream_flow`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from export.c import choose
from export.c import graph as g
from export.c import pipeline as p
from export.c.plan import ALIGNMENT, Buffer, aliases, live_bytes, peak, search
from export.c.schedule import Schedule, schedule
from export.c.stages import can_be_stage, lower_stage
from export.c.stream_flow import Extent, Flow
from export.c.stream_nodes import Node, find_nodes, layers_of
from export.c.stream_segments import Segment, resized, segments
from targets.errors import InputError

SCRATCH_LIMITS = (1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 1 << 30)
PRICES = (0.0, 10.0, 40.0, 100.0, 200.0, 400.0, 1000.0)  # instructions that a byte is worth
MEMORY_POWER = 0.5  # streaming is for small memories: they count for more than in one inference
TAIL_POWERS = (choose.MEMORY_POWER, 1.0)
TAIL_BYTES = 2500  # a guess, to tell which last levels are worth a closer look
MOST_TAILS = 3
MOST_TRIED = 16
STATE_BYTES, HELD_BYTES = 8, 16  # dlink_stream_state_t, dlink_held_t

Tail = tuple[g.Graph, Schedule, float]


@dataclass(frozen=True, eq=False)
class Streaming:
    """A plan: levels, the segments between them, the rest of the model, and the caller's block.

    Attributes
    ----------
    batch : samples taken before anything is computed.
    extents, capacities, slots : for each level; its buffer holds `capacities` positions and
        `slots` left edges of windows that have begun.
    offsets : of each level's buffer in the block.
    scratch : offset in the block of the memory that pipelines and the rest of the model share.
    inner : for each segment, the offsets of the pipeline's own memory in the scratch memory.
    cost : instructions per hop, roughly.
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
        return _row(self.nodes[level], self.capacities[level], self.slots[level])

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
    _check_hop(graph, nodes, hop)
    nodes = [node for node in nodes if hop % node.stride == 0]
    lowered = [lower_stage(op) for op in layers_of(graph)[: nodes[-1].ops]]
    roots = aliases(graph)
    options = list(segments(nodes, lowered, roots, hop))
    paths = [
        found
        for limit in SCRATCH_LIMITS
        for price in PRICES
        for found in _paths(nodes, options, limit, price, hop)
    ]
    tails = _tails(graph, nodes, paths, fc_rounding)
    scored: dict[tuple[int, ...], tuple[float, list[Segment], Tail]] = {}
    for path, cost, size in paths:
        for tail in tails.get(path[-1].target.ops, []):
            memory = size + max(tail[1].plan.peak, *(segment.live for segment in path))
            key = (id(tail[1]), *map(id, path))
            scored[key] = (cost + tail[2]) * memory**MEMORY_POWER, path, tail
    if not scored:
        raise InputError(
            "model cannot be streamed: each tensor depends on where the window lies",
            where=graph.source,
            todo="Generate the library without streaming.",
        )
    best = sorted(scored.values(), key=lambda entry: entry[0])[:MOST_TRIED]
    plans = [_finish(hop, path, tail, roots) for _, path, tail in best]
    return min(plans, key=lambda plan: plan.cost * plan.block_bytes**MEMORY_POWER)


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


def _paths(
    nodes: Sequence[Node], options: Sequence[Segment], limit: int, price: float, hop: int
) -> Iterator[tuple[list[Segment], float, int]]:
    """To each node the cheapest path where a byte costs `price`, with its cost and bytes."""
    best: dict[int, tuple[float, list[Segment], float, int]] = {0: (0.0, [], 0.0, 0)}
    for segment in options:  # in the order of their sources
        begin = best.get(segment.source.ops)
        if begin is None or segment.live > limit:
            continue
        cost, size = begin[2] + segment.cost, begin[3] + _history_bytes(segment)
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


def _tails(
    graph: g.Graph,
    nodes: Sequence[Node],
    paths: Sequence[tuple[list[Segment], float, int]],
    fc_rounding: str,
) -> dict[int, list[Tail]]:
    """For the most promising last levels, the layers behind, scheduled in two ways."""
    rough = {node.ops: _rough_cost(graph, node) for node in nodes}
    score: dict[int, float] = {}
    for path, cost, size in paths:
        at = path[-1].target.ops
        memory = size + max(TAIL_BYTES, *(segment.live for segment in path))
        score[at] = min(score.get(at, float("inf")), (cost + rough[at]) * memory**MEMORY_POWER)
    found: dict[int, list[Tail]] = {}
    for node in sorted(nodes[1:], key=lambda node: score.get(node.ops, float("inf"))):
        last = layers_of(graph)[node.ops - 1]
        rest = replace(graph, ops=graph.ops[graph.ops.index(last) + 1 :], input=node.tensor)
        orders = [schedule(rest, fc_rounding, power) for power in TAIL_POWERS]
        if _readable(node, rest, orders[0]):
            found[node.ops] = [(rest, order, _cost(order)) for order in orders]
        if len(found) == MOST_TAILS:
            break
    return found


def _readable(node: Node, rest: g.Graph, order: Schedule) -> bool:
    """Whether all that read the last level can do with further bytes between its rows."""
    roots = order.plan.roots
    readers = [t for layer in order.layers for t in layer.op.inputs] + [rest.output]
    return node.rows == 1 or all(roots.get(t.index) != node.tensor.index for t in readers)


def _rough_cost(graph: g.Graph, node: Node) -> float:
    """Instructions of the layers behind a node, each run at once."""
    cost = 0.0
    for op in layers_of(graph)[node.ops :]:
        if can_be_stage(op):
            for stage in lower_stage(op):
                pixels = stage.output.shape[1] * stage.output.shape[2]
                cost += choose.cost(stage, 4 * p.GROUP, [pixels])
        else:
            cost += 2.0 * op.macs
    return cost


def _cost(order: Schedule) -> float:
    """Instructions of a schedule, roughly."""
    cost = 2.0 * sum(layer.op.macs for layer in order.layers)
    for pipeline in order.pipelines:
        made = [stage.output.index for stage in pipeline.stages]
        roots = {**{index: index for index in made}, **order.plan.roots}
        counts = p.Walk(pipeline.stages, roots, pipeline.axis).run(pipeline.step).counts
        for i, stage in enumerate(pipeline.stages):
            pixels = [n * choose.across(stage, pipeline.axis) for n in counts[i]]
            cost += choose.cost(stage, pipeline.blocks[i], pixels)
    return cost


def _finish(hop: int, path: Sequence[Segment], tail: Tail, roots: dict[int, int]) -> Streaming:
    """Exact sizes, from a run of the flow."""
    nodes = (path[0].source, *(segment.target for segment in path))
    extents = tuple(node.extent(hop) for node in nodes)
    reaches = [segment.reach for segment in path]
    batch = reaches[0].batch * reaches[0].stride
    flow = Flow(extents, reaches, batch)
    flow.run(2 + -(-extents[0].length // hop))
    parts = tuple(
        resized(segment, sorted(counts), roots)
        for segment, counts in zip(path, flow.counts, strict=True)
    )
    inner = [_place(segment.pipeline) for segment in parts]
    at = STATE_BYTES + HELD_BYTES * len(nodes)
    offsets = []
    for node, most, slots in zip(nodes, flow.most, flow.slots, strict=True):
        offsets.append(at)
        at += node.rows * _row(node, most, slots)
    scratch = max(tail[1].plan.peak, *(size for _, size in inner))
    return Streaming(
        hop=hop,
        batch=batch,
        nodes=nodes,
        extents=extents,
        segments=parts,
        capacities=tuple(flow.most),
        slots=tuple(flow.slots),
        offsets=tuple(offsets),
        scratch=at,
        inner=tuple(places for places, _ in inner),
        tail_graph=tail[0],
        tail=tail[1],
        block_bytes=at + -(-scratch // ALIGNMENT) * ALIGNMENT,
        cost=sum(segment.cost for segment in path) + tail[2],
    )


def _row(node: Node, capacity: int, slots: int) -> int:
    return -(-(capacity + slots * node.left) * node.position // ALIGNMENT) * ALIGNMENT


def _place(pipeline: p.Pipeline) -> tuple[dict[str, int], int]:
    """Offsets of a pipeline's own memory, and its bytes."""
    inner = pipeline.inner()
    wanted = [Buffer(i, b.size, b.first, b.last) for i, b in enumerate(inner)]
    placed = search(wanted, live_bytes(wanted))
    return {b.name: placed[i] for i, b in enumerate(inner)}, peak(wanted, placed)
