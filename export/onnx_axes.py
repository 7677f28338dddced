"""ONNX axes that move and zeros that are added -> IR, one function an operator."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx

from export import ir
from export.onnx_reader import Reader, View, attributes, label, refuse

KEEP_ONE_LAYOUT = "Keep one layout: Conv2d on (batch, n_chans, 1, n_times) throughout."


def transpose(reader: Reader, node: onnx.NodeProto) -> None:
    """Transpose of axes of length 1, or of the model's input to (1, n_times, n_chans)."""
    view = reader.view(node)
    rank = len(view.shape)
    order = attributes(node).get("perm", list(range(rank))[::-1])
    shape = tuple(view.shape[axis] for axis in order)
    longer = [axis for axis in order if view.shape[axis] > 1]
    if longer == sorted(longer):
        reader.see(node, shape)
        return
    untouched = view.tensor == reader.input and not view.time_major
    if untouched and len(longer) == 2 and reader.input not in reader.tensors:
        reader.see(node, shape)
        reader.views[node.output[0]] = View(view.tensor, shape, time_major=True)
        return
    raise refuse(
        node,
        "swaps axes",
        value=f"{tuple(view.shape)} to {shape}",
        todo=KEEP_ONE_LAYOUT,
    )


def convolved(
    reader: Reader, node: onnx.NodeProto, weight: npt.NDArray[np.floating]
) -> tuple[ir.Tensor, npt.NDArray[np.floating]]:
    """What a Conv reads, and its weights.

    Of time-major samples, an image (1, 1, n_times, n_chans), a kernel must cover all channels: it
    is one over (1, n_times, 1, n_chans), the same numbers in the same order.
    """
    view = reader.view(node)
    if not view.time_major:
        return reader.image(node), weight
    n_chans = view.shape[-1]
    options = attributes(node)
    beside = any(options.get("pads", (0, 0, 0, 0))[1::2]) or b"SAME" in options.get("auto_pad", b"")
    covers = weight.ndim == 4 and weight.shape[1::2] == (1, n_chans) and not beside
    if len(view.shape) != 4 or view.shape[:2] != (1, 1) or not covers:
        raise refuse(
            node,
            "slides over samples (n_times, n_chans) without covering all channels",
            value=f"weights {weight.shape}, {n_chans} channels",
            todo="Do not transpose the input: keep it (batch, n_chans, n_times).",
        )
    if reader.input not in reader.tensors:
        shape = (1, view.shape[2], 1, n_chans)
        reader.tensors[reader.input] = ir.Tensor(reader.input, shape, ir.Layout.NHWC)
    return reader.tensors[reader.input], weight.transpose(0, 3, 2, 1)


def pad(reader: Reader, node: onnx.NodeProto) -> None:
    """Pad by zeros along height and width."""
    options = attributes(node)
    amounts, value = reader.required(node, 1), reader.constant(node, 2)
    axes = reader.constant(node, 3)
    source = reader.image(node)
    mode = options.get("mode", b"constant").decode()
    whole = np.zeros((2, 4), np.int64)
    whole[:, range(4) if axes is None else axes] = amounts.reshape(2, -1)
    zero = value is None or float(value) == 0.0
    if mode != "constant" or not zero or whole[:, :2].any() or whole.min() < 0:
        raise refuse(
            node,
            "is not by zeros along height and width",
            value=f"{mode}, {whole.T.tolist()}",
            todo="Pad inside the convolution, or by ZeroPad2d.",
        )
    zeros(reader, label(node), source.name, node.output[0], whole[:, 2:].T.tolist())


def zeros(reader: Reader, name: str, source: str, output: str, pads: list[list[int]]) -> None:
    """Append an :class:`ir.Pad`; `pads` are (before, after) along height and width."""
    (top, bottom), (left, right) = pads
    reader.add(ir.Pad(name, source, output, ((top, bottom), (left, right))))


def unpadded(
    reader: Reader, node: onnx.NodeProto, source: ir.Tensor
) -> tuple[ir.Tensor, tuple[int, int, int, int]]:
    """The map before a Pad that only `node` reads, and its zeros (top, left, bottom, right).

    The Pad is taken out of the graph: the caller puts it back, alone or with zeros of its own.
    """
    producer = reader.sole_producer(node)
    if not isinstance(producer, ir.Pad):
        return source, (0, 0, 0, 0)
    reader.ops.remove(producer)
    del reader.tensors[producer.output]
    (top, bottom), (left, right) = producer.pads
    return reader.tensors[producer.input], (top, left, bottom, right)
