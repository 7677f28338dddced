"""Rewrites of the graph that change no result: padding goes into the convolution behind it."""

from __future__ import annotations

from dataclasses import replace

from export.c import graph as g


def fold(graph: g.Graph) -> g.Graph:
    """The graph without PAD layers whose only reader is a convolution that can pad itself.

    A convolution's own padding holds its input's zero point, as PAD's does.
    """
    readers: dict[int, int] = {}
    for op in graph.ops:
        for tensor in op.inputs:
            readers[tensor.index] = readers.get(tensor.index, 0) + 1
    pads = {op.output.index: op for op in graph.ops if isinstance(op, g.Pad)}
    ops: list[g.Op] = []
    gone: set[int] = set()
    for op in graph.ops:
        pad = pads.get(op.inputs[0].index) if op.inputs else None
        if (
            isinstance(op, g.Conv2D | g.DepthwiseConv2D)
            and pad is not None
            and readers[pad.output.index] == 1
            and pad.output.index != graph.output.index
            and _only_spatial(pad)
        ):
            before = (op.window.padding[0] + pad.before[1], op.window.padding[1] + pad.before[2])
            op = replace(op, inputs=pad.inputs, window=replace(op.window, padding=before))  # noqa: PLW2901
            gone.add(pad.index)
        ops.append(op)
    return replace(graph, ops=tuple(op for op in ops if op.index not in gone))


def _only_spatial(pad: g.Pad) -> bool:
    """Whether batch and channels stay as they are, and the input is an image already."""
    same = pad.before[0] == pad.before[3] == 0
    same = same and pad.in_shape[0] == pad.out_shape[0] == 1
    return same and pad.in_shape[3] == pad.out_shape[3] and len(pad.inputs[0].shape) == 4
