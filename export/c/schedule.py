"""The order of execution: pipelines and single layers, and where everything lies in the arena."""

from __future__ import annotations

from dataclasses import dataclass

from export.c import graph as g
from export.c.choose import MEMORY_POWER, build, runs
from export.c.layers import Layer, lower
from export.c.pipeline import Pipeline
from export.c.plan import Buffer, Plan, aliases, live_bytes, peak, search
from export.c.stages import COPIES, can_be_stage


@dataclass(frozen=True, eq=False)
class Schedule:
    """`steps` in order; `inner` gives each pipeline's own memory: offset by number and name."""

    steps: tuple[Layer | Pipeline, ...]
    plan: Plan
    inner: dict[tuple[int, str], int]

    @property
    def layers(self) -> list[Layer]:
        """The layers outside of pipelines."""
        return [step for step in self.steps if isinstance(step, Layer)]

    @property
    def pipelines(self) -> list[Pipeline]:
        """The pipelines, in order."""
        return [step for step in self.steps if isinstance(step, Pipeline)]

    @property
    def weight_bytes(self) -> int:
        """Flash bytes of the constant arrays; of a layer's copies of its weights, one."""
        alone = sum(layer.array_bytes for layer in self.layers)
        stages = [stage for pipeline in self.pipelines for stage in pipeline.stages]
        arrays = [array for s in stages for name, array in s.arrays.items() if name not in COPIES]
        return alone + sum(int(array.nbytes) for array in arrays)


def schedule(graph: g.Graph, fc_rounding: str, memory_power: float = MEMORY_POWER) -> Schedule:
    """Schedule a graph; `fc_rounding` as in :func:`export.c.generate.generate`.

    Speed is given up for memory: instructions times bytes to the `memory_power` become least.

    Raises
    ------
    InputError
        If a layer cannot be computed in the reference's 32-bit arithmetic.
    """
    roots = aliases(graph)
    output_root = roots[graph.output.index]
    steps: list[Layer | Pipeline] = []
    for part in runs([op for op in graph.ops if not isinstance(op, g.Reshape)], roots, output_root):
        sources = {roots.get(tensor.index) for tensor in part[0].inputs}
        if can_be_stage(part[0]) and (len(part) > 1 or len(sources) == 1):
            steps += build(part, roots, memory_power, graph.input.size + graph.output.size)
        else:
            steps.append(lower(part[0], fc_rounding))
    lives = _Lives({graph.input.index, output_root})
    for step in steps:
        if isinstance(step, Pipeline):
            lives.pipeline(step)
        else:
            lives.layer(step, roots)
    wanted = lives.buffers()
    bound = live_bytes(wanted)
    offsets = search(wanted, bound)
    plan = Plan(roots, offsets, peak(wanted, offsets), bound)
    return Schedule(tuple(steps), plan, {name: offsets[key] for name, key in lives.names.items()})


class _Lives:
    """Collects what must lie in the arena, and when; each stage and each layer is one moment."""

    def __init__(self, outside: set[int]) -> None:
        self.outside = outside
        self.now = self.count = 0
        self.names: dict[tuple[int, str], int] = {}
        self._found: dict[int, list[int]] = {}

    def _use(self, root: int, size: int, first: int, last: int) -> None:
        entry = self._found.setdefault(root, [size, first, last])
        entry[2] = max(entry[2], last)

    def layer(self, layer: Layer, roots: dict[int, int]) -> None:
        """A layer's tensors; constants have no root."""
        for tensor in (*layer.op.inputs, layer.op.output):
            root = roots.get(tensor.index)
            if root is not None and root not in self.outside:
                self._use(root, tensor.nbytes, self.now, self.now)
        self.now += 1

    def pipeline(self, pipeline: Pipeline) -> None:
        """Input and output for the whole time; what is inside as long as it says."""
        end = self.now + len(pipeline.stages) - 1
        for stream in (pipeline.source, pipeline.result):
            if stream.root not in self.outside:
                self._use(stream.root, stream.tensor.size, self.now, end)
        for inner in pipeline.inner():
            key = -1 - len(self.names)  # tensors count upwards
            self.names[self.count, inner.name] = key
            self._use(key, inner.size, self.now + inner.first, self.now + inner.last)
        self.now = end + 1
        self.count += 1

    def buffers(self) -> list[Buffer]:
        """In order of appearance."""
        return [Buffer(root, *entry) for root, entry in self._found.items()]
