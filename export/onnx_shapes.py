"""ONNX pooling, means and changes of shape -> IR, one function an operator."""

from __future__ import annotations

import math

import numpy as np
import onnx

from export import ir
from export.onnx_reader import Reader, View, attributes, label, refuse
from export.onnx_windows import pool_window


def pool(reader: Reader, node: onnx.NodeProto) -> None:
    """AveragePool and MaxPool without padding."""
    source = reader.image(node)
    window = pool_window(node, source.shape[1:3])
    kind = ir.AveragePool2D if node.op_type == "AveragePool" else ir.MaxPool2D
    reader.add(kind(label(node), source.name, node.output[0], window))


def global_pool(reader: Reader, node: onnx.NodeProto) -> None:
    """GlobalAveragePool: one window over everything."""
    source = reader.image(node)
    _mean(reader, node, source, (source.shape[1], source.shape[2]))


def reduce_mean(reader: Reader, node: onnx.NodeProto) -> None:
    """ReduceMean over time (and height), whichever axes were squeezed before."""
    view, options = reader.view(node), attributes(node)
    given = reader.constant(node, 1)
    axes = options.get("axes") if given is None else given.tolist()
    rank = len(view.shape)
    reduced = {axis % rank for axis in axes} if axes else set(range(rank))
    source = reader.tensors.get(view.tensor)
    if source is None or source.layout is not ir.Layout.NHWC:
        raise refuse(node, "does not follow a convolution", todo="Average after the last one.")
    names = _names(view, source)
    if names is None:
        raise refuse(node, "reads a tensor whose axes were reinterpreted", value=view.shape)
    over = {names[axis] for axis in reduced} - {""}
    if "c" in over:
        raise refuse(node, "averages over the channels", todo="Use a 1x1 convolution instead.")
    shape = [1 if axis in reduced else n for axis, n in enumerate(view.shape)]
    if not options.get("keepdims", 1):
        shape = [n for axis, n in enumerate(shape) if axis not in reduced]
    if not over:
        reader.see(node, tuple(shape))
        return
    _, h, w, _ = source.shape
    _mean(reader, node, source, (h if "h" in over else 1, w if "w" in over else 1))
    reader.views[node.output[0]] = View(node.output[0], tuple(shape))


def _names(view: View, source: ir.Tensor) -> list[str] | None:
    """Which of c, h, w each axis of a view is; "" for axes of length 1; None if none fits.

    Axes of length 1 come and go by squeezing, so the longer ones, in order, tell which is which.
    """
    _, h, w, c = source.shape
    longer = [(name, n) for name, n in (("c", c), ("h", h), ("w", w)) if n > 1]
    if [n for n in view.shape if n > 1] != [n for _, n in longer]:
        return None
    remaining = iter(longer)
    return [next(remaining)[0] if n > 1 else "" for n in view.shape]


def _mean(reader: Reader, node: onnx.NodeProto, source: ir.Tensor, kernel: tuple[int, int]) -> None:
    window = ir.Window(kernel, kernel)
    reader.add(ir.AveragePool2D(label(node), source.name, node.output[0], window))


def reshape(reader: Reader, node: onnx.NodeProto) -> None:
    """Any change of shape is a view; whether it means anything, its reader decides."""
    shape = reader.view(node).shape
    new = _new_shape(reader, node, shape)
    if math.prod(new) != math.prod(shape):
        raise refuse(node, "changes the number of elements", value=f"{shape} to {new}")
    reader.see(node, new)


def _new_shape(
    reader: Reader, node: onnx.NodeProto, shape: tuple[int, ...]
) -> tuple[int, ...]:  # fmt: skip
    kind, options = node.op_type, attributes(node)
    if kind == "Flatten":
        axis = options.get("axis", 1) % (len(shape) + 1)
        return math.prod(shape[:axis]), math.prod(shape[axis:])
    if kind in ("Identity", "Dropout"):
        return shape
    given = reader.constant(node, 1)
    wanted = [] if given is None else [int(n) for n in np.atleast_1d(given)]
    if kind == "Unsqueeze":
        rank = len(shape) + len(wanted)
        old, new_axes = iter(shape), {axis % rank for axis in wanted}
        return tuple(1 if axis in new_axes else next(old) for axis in range(rank))
    if kind == "Squeeze":
        gone = {axis % len(shape) for axis in wanted}
        gone = gone or {axis for axis, n in enumerate(shape) if n == 1}
        return tuple(n for axis, n in enumerate(shape) if axis not in gone)
    if not options.get("allowzero", 0):
        wanted = [shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    known = math.prod(n for n in wanted if n != -1)
    return tuple(math.prod(shape) // known if n == -1 else n for n in wanted)
