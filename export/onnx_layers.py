"""ONNX operators with weights, sums and activations -> IR, one function an operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from export import ir
from export.onnx_axes import convolved, unpadded, zeros
from export.onnx_reader import Reader, View, attributes, label, refuse
from export.onnx_windows import conv_window

USE_RELU = "Use ReLU, ReLU6 or ELU instead; TensorFlow Lite Micro fuses the first two."


def conv(reader: Reader, node: onnx.NodeProto) -> None:
    """Conv with groups 1 or groups = input channels."""
    source, weight = convolved(reader, node, reader.required(node, 1))
    c_in, c_out, groups = source.shape[3], weight.shape[0], attributes(node).get("group", 1)
    if weight.ndim != 4 or weight.shape[1] * groups != c_in:
        raise refuse(
            node,
            "does not fit its input",
            value=f"weights {weight.shape}, {c_in} channels",
            todo="Use Conv2d on (batch, n_chans, 1, n_times).",
        )
    if groups not in (1, c_in):
        raise refuse(
            node,
            "is grouped but not depthwise",
            value=f"groups {groups} of {c_in} channels",
            todo="Use groups=1 or groups=in_channels.",
        )
    source, window = _padded(reader, node, source, weight.shape[2:])
    given = reader.constant(node, 2)
    bias_name = node.input[2] if given is not None else f"{node.input[1]}_bias"
    bias = reader.keep(bias_name, np.zeros(c_out) if given is None else given, ir.Layout.O)
    name, out, none = label(node), node.output[0], ir.Activation.NONE
    if groups == 1:
        kernel = reader.keep(node.input[1], weight.transpose(0, 2, 3, 1), ir.Layout.OHWI)
        reader.add(ir.Conv2D(name, source.name, out, kernel, bias, none, window))
    else:
        kernel = reader.keep(node.input[1], weight.transpose(1, 2, 3, 0), ir.Layout.IHWO)
        many = c_out // c_in
        reader.add(ir.DepthwiseConv2D(name, source.name, out, kernel, bias, none, window, many))


def _padded(
    reader: Reader, node: onnx.NodeProto, source: ir.Tensor, kernel: tuple[int, ...]
) -> tuple[ir.Tensor, ir.Window]:
    """What the convolution slides over, and its window: zeros that are not SAME go in front."""
    source, before = unpadded(reader, node, source)
    window, rest = conv_window(node, kernel, source.shape[1:3], before)
    if not any(rest):
        return source, window
    top, left, bottom, right = rest
    output = f"{node.output[0]}/padded"
    zeros(reader, f"{label(node)}/pad", source.name, output, [[top, bottom], [left, right]])
    return reader.tensors[output], window


def dense(reader: Reader, node: onnx.NodeProto) -> None:
    """Gemm, or MatMul with constant weights, on a flat input: a convolution over the whole map."""
    view, options = reader.view(node), attributes(node)
    weight, bias = reader.required(node, 1), reader.constant(node, 2)
    if node.op_type == "MatMul" or not options.get("transB", 0):
        weight = weight.T
    if weight.ndim != 2 or options.get("transA", 0) or options.get("beta", 1.0) != 1.0:
        raise refuse(node, "is not a dense layer", todo="Use torch.nn.Linear.")
    source = reader.tensors.get(view.tensor)
    if source is None or view.shape != (1, weight.shape[1]):
        raise refuse(
            node,
            "needs a flat input computed by a convolution",
            value=view.shape,
            todo="Call flatten(1) before the linear head.",
        )
    n_out = weight.shape[0]
    weight = weight * options.get("alpha", 1.0)
    # ONNX flattens (C, H, W); the device reads the same tensor as (H, W, C).
    _, h, w, c = source.shape
    weight = weight.reshape(n_out, c, h, w).transpose(0, 2, 3, 1)
    kernel = reader.keep(node.input[1], weight, ir.Layout.OHWI)
    flat = np.zeros(n_out) if bias is None else np.broadcast_to(bias.ravel(), (n_out,))
    offset = reader.keep(node.input[2] if bias is not None else f"{kernel}_bias", flat, ir.Layout.O)
    name, out, none = label(node), node.output[0], ir.Activation.NONE
    reader.add(ir.Conv2D(name, source.name, out, kernel, offset, none, ir.Window((h, w))))
    reader.views[out] = View(out, (1, n_out))


def batch_norm(reader: Reader, node: onnx.NodeProto) -> None:
    """Fold a BatchNormalization into the layer that stands before it, or make it one of its own.

    Alone it is a depthwise 1x1 convolution.
    """
    gamma, beta, mean, var = (reader.required(node, i) for i in range(1, 5))
    factor = gamma / np.sqrt(var + attributes(node).get("epsilon", 1e-5))
    offset = beta - mean * factor
    producer = reader.sole_producer(node)
    if isinstance(producer, ir.Weighted) and producer.activation is ir.Activation.NONE:
        _rescale(reader, producer, factor, offset)
        reader.absorb(node, 0, producer, producer)
        return
    source, out = reader.image(node), node.output[0]
    kernel = reader.keep(f"{out}/weight", factor.reshape(1, 1, 1, -1), ir.Layout.IHWO)
    bias = reader.keep(f"{out}/bias", offset, ir.Layout.O)
    one, none = ir.Window((1, 1)), ir.Activation.NONE
    reader.add(ir.DepthwiseConv2D(label(node), source.name, out, kernel, bias, none, one, 1))


def _rescale(reader: Reader, op: ir.Weighted, factor: np.ndarray, offset: np.ndarray) -> None:
    """Make `op` compute factor * y + offset per output channel."""
    weight, bias = reader.tensors[op.weight], reader.tensors[op.bias]
    assert weight.data is not None
    assert bias.data is not None
    last = weight.layout is ir.Layout.IHWO
    along = factor if last else factor.reshape(-1, *(1,) * (weight.data.ndim - 1))
    reader.keep(weight.name, weight.data * along, weight.layout, fresh=False)
    reader.keep(bias.name, bias.data * factor + offset, bias.layout, fresh=False)


def add(reader: Reader, node: onnx.NodeProto) -> None:
    """Add of two activations, or of a bias."""
    if any(name in reader.constants for name in node.input):
        _add_bias(reader, node)
        return
    left, right = reader.image(node, 0), reader.image(node, 1)
    if left.shape != right.shape:
        raise refuse(
            node,
            "has operands of two shapes",
            value=f"NHWC {left.shape} and {right.shape}",
            todo="Give both branches one shape.",
        )
    none = ir.Activation.NONE
    reader.add(ir.Add(label(node), left.name, node.output[0], right.name, none))


def _add_bias(reader: Reader, node: onnx.NodeProto) -> None:
    at = 1 if node.input[0] in reader.constants else 0
    producer, value = reader.sole_producer(node, at), reader.constants[node.input[1 - at]]
    shape = reader.view(node, at).shape
    padded = (1,) * (len(shape) - value.ndim) + value.shape
    # Channels are axis 1 of an ONNX value, flat or not.
    per_channel = padded in ((1,) * len(shape), (1, shape[1]) + (1,) * (len(shape) - 2))
    if (
        not isinstance(producer, ir.Weighted)
        or producer.activation is not ir.Activation.NONE
        or not per_channel
    ):
        raise refuse(
            node,
            "adds a constant that is no bias",
            value=f"shape {value.shape}",
            todo="Use the bias of the layer before it.",
        )
    channels = reader.tensors[producer.bias].size
    offset = np.broadcast_to(value.ravel(), (channels,))
    _rescale(reader, producer, np.ones(channels), offset)
    reader.absorb(node, at, producer, producer)


def relu(reader: Reader, node: onnx.NodeProto) -> None:
    """Relu, fused."""
    _fuse(reader, node, ir.Activation.RELU)


def clip(reader: Reader, node: onnx.NodeProto) -> None:
    """Clip with the bounds of ReLU6 or ReLU, fused."""
    low, high = (reader.constant(node, i) for i in (1, 2))
    bounds = None if low is None else float(low), None if high is None else float(high)
    if bounds not in ((0.0, 6.0), (0.0, None)):
        raise refuse(node, "has other bounds than ReLU or ReLU6", value=bounds, todo=USE_RELU)
    _fuse(reader, node, ir.Activation.RELU if high is None else ir.Activation.RELU6)


def elu(reader: Reader, node: onnx.NodeProto) -> None:
    """Elu with alpha 1, an operator of its own."""
    view, alpha = reader.view(node), attributes(node).get("alpha", 1.0)
    if alpha != 1.0:
        raise refuse(node, "has another alpha than 1", value=alpha, todo=USE_RELU)
    if view.tensor not in reader.tensors:  # the model's input, which has no layout yet
        reader.image(node)
    reader.add(ir.Elu(label(node), view.tensor, node.output[0]))
    reader.views[node.output[0]] = View(node.output[0], view.shape)


def _fuse(reader: Reader, node: onnx.NodeProto, activation: ir.Activation) -> None:
    producer = reader.sole_producer(node)
    if (
        not isinstance(producer, ir.Weighted | ir.Add)
        or producer.activation is not ir.Activation.NONE
    ):
        raise refuse(
            node,
            "stands alone and cannot be fused",
            value=f"{type(producer).__name__} before it" if producer else "an input others read",
            todo="Put it right behind a convolution, dense layer or addition whose result nothing "
            "else reads: a stand-alone int8 activation is wrong in TensorFlow Lite Micro.",
        )
    reader.absorb(node, 0, producer, replace(producer, activation=activation))
