"""Levels that a model could have: tensors that are alike in all windows, but for their edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from export.c import choose
from export.c import graph as g
from export.c import pipeline as p
from export.c.plan import aliases
from export.c.stages import can_be_stage, lower_stage
from export.c.stream_flow import Extent
from targets.errors import InputError


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


def layers_of(graph: g.Graph) -> list[g.Op]:
    """The layers that compute something."""
    return [op for op in graph.ops if not isinstance(op, g.Reshape)]


def find_nodes(graph: g.Graph) -> list[Node]:
    """The input and every tensor that can be a level, in order.

    Raises
    ------
    InputError
        If there is none but the input: nothing slides.
    """
    layers, roots = layers_of(graph), aliases(graph)
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
        if choose.closed(layers, 0, count, roots, roots[graph.output.index]):
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


def windows_of(
    samples: NDArray[np.int8], shape: tuple[int, ...], times: int, hop: int
) -> NDArray[np.int8]:
    """Every window of a stream as the model's input, flat.

    Parameters
    ----------
    samples : (N, values of one) int8
    shape : of the model's input, ``(1, height, width, ...)``; time is the longer of the two.
    times, hop : samples of a window, and from one to the next.
    """
    starts = range(0, len(samples) - times + 1, hop)
    windows = np.stack([samples[start : start + times] for start in starts])
    if shape[1] > 1 and shape[1] < shape[2] == times:
        windows = windows.reshape(len(windows), times, shape[1], -1).swapaxes(1, 2)
    return np.ascontiguousarray(windows).reshape(len(windows), -1)
