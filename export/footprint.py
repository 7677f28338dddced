"""What a float ONNX model would need in int8: weights and the peak of its live activations."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx
from onnx import shape_inference


@dataclass(frozen=True)
class Footprint:
    """weights_int8_bytes: one byte a weight; activation_peak_int8_bytes: one byte an element."""

    weights_int8_bytes: int
    activation_peak_int8_bytes: int


def footprint(model: onnx.ModelProto) -> Footprint:
    """Bytes of weights and of activations alive at once, in the graph's own order.

    A tensor lives from the node that makes it to the last that reads it; views (Reshape,
    Unsqueeze, ...) are counted as copies only where both are alive, which real planners alias: the
    figure is an upper bound of a good planner's and a lower bound of a naive one's.
    """
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    constants = {item.name for item in graph.initializer}
    sizes = {
        value.name: prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in [*graph.value_info, *graph.input, *graph.output]
        if value.name not in constants
    }
    last: dict[str, int] = {out.name: len(graph.node) for out in graph.output}
    for step, node in enumerate(graph.node):
        for name in node.input:
            last.setdefault(name, step)
            last[name] = max(last[name], step)
    live = sum(sizes.get(i.name, 0) for i in graph.input if i.name not in constants)
    peak = live
    for step, node in enumerate(graph.node):
        live += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, live)
        dead = {n for n in [*node.input, *node.output] if last.get(n, step) == step}
        live -= sum(sizes.get(name, 0) for name in dead)
    return Footprint(sum(prod(item.dims) for item in graph.initializer), peak)
