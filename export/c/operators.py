"""One short reader for each operator: flatbuffer node -> typed, checked :class:`Op`.

Here those that slide a window or have weights; :mod:`export.c.operators_elementwise` has the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from export.c import graph as g
from export.c import operators_elementwise as elementwise
from export.c.raw import INT8, INT16, INT32, INT64, Node

_SAME, _VALID = 0, 1
_INT32_MAX = 2**31 - 1


def _window(
    node: Node, kernel: tuple[int, int], dilation: tuple[int, int]
) -> tuple[g.Window, tuple[int, int]]:
    """The window and the output's height and width (padding.h, ComputePaddingHeightWidth)."""
    stride = (node.option("strideH"), node.option("strideW"))
    padding = node.option("padding")
    size = node.image().shape[1:3]
    if min(*stride, *kernel, *dilation) < 1 or padding not in (_SAME, _VALID):
        raise node.fail("stride, kernel, dilation or padding is invalid", "Export it again.")
    if max(*stride, *kernel, *dilation) > 2**15:
        raise node.fail("stride, kernel or dilation is too large", "Make it smaller.", limit=2**15)
    if dilation[0] * node.image().size > _INT32_MAX:
        raise node.fail("dilation is too large for the image", "Make it smaller.", dilation)
    before, out = [0, 0], [0, 0]
    for axis in (0, 1):
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        span = size[axis] if padding == _SAME else size[axis] - extent + 1
        out[axis] = -(-span // stride[axis])
        total = (out[axis] - 1) * stride[axis] + extent - size[axis]
        before[axis] = max(total, 0) // 2
    if min(out) < 1:
        raise node.fail(
            "kernel is larger than its unpadded input",
            "Use a smaller kernel or SAME padding.",
            kernel,
            size,
        )
    return g.Window(kernel, stride, dilation, (before[0], before[1])), (out[0], out[1])


def _weights(node: Node, rank: int, axis: int) -> dict[str, Any]:
    """The fields of :class:`graph.Weighted`; `axis` is that of the outputs."""
    raw = node.raw(1)
    weights = raw.constant(node.where, INT8)
    if weights.ndim != rank:
        raise node.fail(f"weights must have {rank} axes", "Export it again.", weights.ndim)
    channels = weights.shape[axis]
    scales, zero_points = raw.scales, raw.zero_points
    fits = scales.size == 1 or (scales.size == channels and raw.axis == axis)
    if not fits or zero_points.size != scales.size:
        raise node.fail(
            "weights must have one scale, or one for each output channel",
            "Quantise them per tensor, or per channel along the outputs.",
            f"{scales.size} scales along axis {raw.axis}",
            f"1, or {channels} along axis {axis}",
        )
    zero_point = int(zero_points[0])
    if (zero_points != 0).any() and (
        node.kind != "FULLY_CONNECTED" or scales.size > 1 or node.raw(0).type == INT16
    ):
        raise node.fail("weights must have zero point 0", "Quantise them symmetrically.")
    wide = node.raw(0).type == INT16
    bias = np.zeros(channels, np.int64 if wide else np.int32)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None:
        bias = given.constant(node.where, INT64 if wide else INT32).reshape(-1)
    if bias.size != channels:
        raise node.fail("bias has the wrong length", "Export it again.", bias.size, channels)
    return {
        "weights": weights,
        "weight_scales": scales,
        "weight_zero_point": zero_point,
        "bias": bias,
    }


def _conv(node: Node) -> g.Op:
    image = node.image()
    weighted = _weights(node, 4, 0)
    out, height, width, depth = weighted["weights"].shape
    if depth != image.shape[3]:
        raise node.fail(
            "grouped convolutions are not supported",
            "Use a depthwise and a pointwise convolution instead.",
            f"{depth} input channels in the weights",
            image.shape[3],
        )
    dilation = (node.option("dilationHFactor"), node.option("dilationWFactor"))
    window, size = _window(node, (height, width), dilation)
    output = node.output((1, *size, out))
    parts = node.parts(output, image, activation=node.activation())
    return g.Conv2D(**parts, **weighted, window=window)


def _depthwise(node: Node) -> g.Op:
    image = node.image()
    weighted = _weights(node, 4, 3)
    first, height, width, out = weighted["weights"].shape
    if first != 1 or out != image.shape[3] * node.option("depthMultiplier"):
        raise node.fail(
            "weights do not fit the input and the depth multiplier",
            "Export the model again.",
            f"{first}x{height}x{width}x{out}",
        )
    dilation = (node.option("dilationHFactor"), node.option("dilationWFactor"))
    window, size = _window(node, (height, width), dilation)
    output = node.output((1, *size, out))
    parts = node.parts(output, image, activation=node.activation())
    return g.DepthwiseConv2D(**parts, **weighted, window=window)


def _fully_connected(node: Node) -> g.Op:
    x, output = node.input(), node.output()
    weighted = _weights(node, 2, 0)
    out, features = weighted["weights"].shape
    if node.option("weightsFormat") != 0:
        raise node.fail("shuffled weights are not supported", "Export it with default weights.")
    if x.size % features or output.size != x.size // features * out or output.shape[-1:] != (out,):
        raise node.fail(
            "weights do not fit the input and the output",
            "Export the model again.",
            f"{x.dims} to {output.dims} by {features}x{out}",
        )
    return g.FullyConnected(**node.parts(output, x, activation=node.activation()), **weighted)


def _pool(node: Node) -> g.Op:
    image = node.image()
    window, size = _window(node, (node.option("filterHeight"), node.option("filterWidth")), (1, 1))
    output = node.output((1, *size, image.shape[3]))
    taps = min(window.kernel[0], image.shape[1]) * min(window.kernel[1], image.shape[2])
    if taps * 2 ** (8 * image.value_bytes - 1) > _INT32_MAX // 2:
        raise node.fail("pooling window is too large", "Pool in two steps.", taps)
    if image.zero_point != output.zero_point or abs(image.scale - output.scale) > 1e-6:
        raise node.fail(
            "input and output of a pooling layer must have one scale and zero point",
            "Quantise them together.",
        )
    return g.Pool2D(**node.parts(output, image, activation=node.activation()), window=window)


READERS: dict[str, Callable[[Node], g.Op]] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": _pool,
    "CONCATENATION": elementwise.concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "DEQUANTIZE": elementwise.dequantize,
    "ELU": elementwise.elu,
    "FULLY_CONNECTED": _fully_connected,
    "LOGISTIC": elementwise.logistic,
    "MAX_POOL_2D": _pool,
    "MEAN": elementwise.mean,
    "MUL": elementwise.mul,
    "PAD": elementwise.pad,
    "QUANTIZE": elementwise.quantize,
    "RELU": elementwise.relu,
    "RELU6": elementwise.relu,
    "RESHAPE": elementwise.reshape,
    "SOFTMAX": elementwise.softmax,
}
