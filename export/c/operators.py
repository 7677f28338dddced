"""One short reader for each operator: flatbuffer node -> typed, checked :class:`Op`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.c import graph as g
from targets.errors import InputError

_INT32_MAX = 2**31 - 1
_SAME, _VALID = 0, 1
_ACTIVATIONS = {0: "NONE", 1: "RELU", 3: "RELU6"}
_TYPES = {0: "FLOAT32", 1: "FLOAT16", 2: "INT32", 3: "UINT8", 4: "INT64", 7: "INT16", 9: "INT8"}
_INT32, _INT64, _INT8 = 2, 4, 9
_SOFTMAX_DEPTH = 4095  # sums of exp() have 12 integer bits


@dataclass(frozen=True, eq=False)
class RawTensor:
    """A tensor as the file has it; `type` is the schema's number."""

    index: int
    shape: tuple[int, ...]
    type: int
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    sparse: bool
    data: NDArray[np.uint8] | None

    def int8(self, where: str) -> g.Tensor:
        """As a tensor of activations: int8, static shape, one scale, one zero point."""
        self._check(where, _INT8)
        if self.scales.size != 1 or self.zero_points.size != 1:
            raise InputError(
                f"tensor {self.index} must have one scale and one zero point",
                where=where,
                value=f"{self.scales.size} scales, {self.zero_points.size} zero points",
                todo="Quantise activations per tensor.",
            )
        data = None if self.data is None else self.constant(where, _INT8)
        return g.Tensor(self.index, self.shape, self.scales[0], int(self.zero_points[0]), data)

    def constant(self, where: str, *types: int) -> NDArray[Any]:
        """The content, shaped; refused if the tensor is computed at run time."""
        self._check(where, *types)
        dtype = np.dtype({_INT8: "<i1", _INT32: "<i4", _INT64: "<i8"}[self.type])
        if self.data is None or self.data.size != prod(self.shape) * dtype.itemsize:
            raise InputError(
                f"tensor {self.index} must be a constant of {prod(self.shape)} elements",
                where=where,
                value="no data" if self.data is None else f"{self.data.size} bytes",
                todo="Export the model again with constant weights, axes and paddings.",
            )
        return np.frombuffer(self.data.tobytes(), dtype).reshape(self.shape)

    def _check(self, where: str, *types: int) -> None:
        if self.type not in types or self.sparse:
            raise InputError(
                f"tensor {self.index} has the wrong type",
                where=where,
                value=("sparse " if self.sparse else "") + _TYPES.get(self.type, str(self.type)),
                limit=" or ".join(_TYPES[t] for t in types),
                todo="Quantise the whole model to int8 (weights, activations, input and output).",
            )
        if any(n < 1 for n in self.shape) or prod(self.shape) > _INT32_MAX:
            raise InputError(
                f"tensor {self.index} has an unusable shape",
                where=where,
                value=self.shape,
                limit="fixed axes of 1 and more, below 2^31 elements",
                todo="Export the model with a static shape.",
            )
        bad = ~np.isfinite(self.scales) | (self.scales <= 0)
        if bad.any() or (np.abs(self.zero_points) > 128).any() or (self.zero_points > 127).any():
            raise InputError(
                f"tensor {self.index} has an unusable scale or zero point",
                where=where,
                limit="scales above 0, zero points -128..127",
                todo="Calibrate and quantise the model again.",
            )


@dataclass(frozen=True, eq=False)
class Node:
    """An operator as the file has it; an absent optional input is None."""

    index: int
    kind: str
    where: str
    inputs: list[RawTensor | None]
    outputs: list[RawTensor]
    options: Any

    def fail(self, what: str, todo: str, value: object = None, limit: object = None) -> InputError:
        """The error to raise about this node."""
        return InputError(what, where=self.where, value=value, limit=limit, todo=todo)

    def raw(self, position: int) -> RawTensor:
        """Input `position`, which must be there."""
        tensor = self.inputs[position] if position < len(self.inputs) else None
        if tensor is None:
            raise self.fail(f"input {position} is missing", "Export the model again.")
        return tensor

    def input(self, position: int = 0) -> g.Tensor:
        """Input `position` as activations."""
        return self.raw(position).int8(self.where)

    def image(self) -> g.Tensor:
        """Input 0 as (1, height, width, channels)."""
        tensor = self.input()
        if len(tensor.shape) != 4 or tensor.shape[0] != 1:
            raise self.fail(
                "input must be one image",
                "Export the model with batch size 1 and four axes.",
                tensor.dims,
                "1xHxWxC",
            )
        return tensor

    def output(self, shape: tuple[int, ...] | None = None) -> g.Tensor:
        """The only output as activations, of this shape."""
        if len(self.outputs) != 1:
            raise self.fail("must have one output", "Export it again.", len(self.outputs))
        tensor = self.outputs[0].int8(self.where)
        if shape is not None and tensor.shape != shape:
            raise self.fail(
                "output has not the shape that follows from the input",
                "Export the model again with a static shape.",
                tensor.dims,
                "x".join(map(str, shape)),
            )
        return tensor

    def option(self, name: str, default: int | None = None) -> int:
        """An integer field of the options; a missing table counts as damaged."""
        value = getattr(self.options, name, default)
        if value is None:
            raise self.fail(f"option {name} is missing", "Export the model again.")
        return int(value)

    def activation(self) -> str:
        """The fused activation's name."""
        number = self.option("fusedActivationFunction")
        if number not in _ACTIVATIONS:
            raise self.fail(
                "fused activation is not supported",
                "Use ReLU or ReLU6, or none.",
                number,
                ", ".join(_ACTIVATIONS.values()),
            )
        return _ACTIVATIONS[number]

    def parts(
        self, output: g.Tensor, *inputs: g.Tensor, activation: str = "NONE"
    ) -> dict[str, Any]:
        """The fields that every :class:`graph.Op` has."""
        return {
            "index": self.index,
            "kind": self.kind,
            "where": self.where,
            "inputs": inputs,
            "output": output,
            "activation": activation,
        }


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
    weights = raw.constant(node.where, _INT8)
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
    if (zero_points != 0).any() and (node.kind != "FULLY_CONNECTED" or scales.size > 1):
        raise node.fail("weights must have zero point 0", "Quantise them symmetrically.")
    bias = np.zeros(channels, np.int32)
    given = node.inputs[2] if len(node.inputs) > 2 else None
    if given is not None:
        bias = given.constant(node.where, _INT32).reshape(-1)
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
    if image.zero_point != output.zero_point or abs(image.scale - output.scale) > 1e-6:
        raise node.fail(
            "input and output of a pooling layer must have one scale and zero point",
            "Quantise them together.",
        )
    return g.Pool2D(**node.parts(output, image, activation=node.activation()), window=window)


def _mean(node: Node) -> g.Op:
    x, output = node.input(), node.output()
    rank = len(x.shape)
    given = node.raw(1).constant(node.where, _INT32).reshape(-1).tolist()
    axes = sorted({a + rank if a < 0 else a for a in given})
    inside = bool(axes) and axes[0] >= 0 and axes[-1] < rank
    if not inside or axes != list(range(axes[0], axes[-1] + 1)):
        raise node.fail(
            "mean is supported over neighbouring axes only",
            "Average over height and width.",
            given,
            f"within 0..{rank - 1}",
        )
    keep = 1 if node.option("keepDims") else 0
    node.output(x.shape[: axes[0]] + (1,) * (len(axes) * keep) + x.shape[axes[-1] + 1 :])
    count = prod(x.shape[axes[0] : axes[-1] + 1])
    outer, inner = prod(x.shape[: axes[0]]), prod(x.shape[axes[-1] + 1 :])
    return g.Mean(**node.parts(output, x), outer=outer, count=count, inner=inner)


def _add(node: Node) -> g.Op:
    a, b = node.input(0), node.input(1)
    if a.shape != b.shape:
        raise node.fail(
            "ADD of different shapes (broadcast) is not supported",
            "Give both operands the same shape, or fold the constant into the layer before.",
            f"{a.dims} and {b.dims}",
        )
    return g.Add(**node.parts(node.output(a.shape), a, b, activation=node.activation()))


def _pad(node: Node) -> g.Op:
    x = node.input()
    rank = len(x.shape)
    paddings = node.raw(1).constant(node.where, _INT32, _INT64)
    if paddings.shape != (rank, 2) or rank > 4 or (paddings < 0).any() or (paddings > 2**20).any():
        raise node.fail("paddings are invalid", "Pad at most four axes, by 0 and more.")
    lead = (1,) * (4 - rank)
    shape = tuple(n + int(p[0]) + int(p[1]) for n, p in zip(x.shape, paddings, strict=True))
    output = node.output(shape)
    if x.zero_point != output.zero_point or x.scale != output.scale:
        raise node.fail(
            "input and output of PAD must have one scale and zero point", "Quantise them together."
        )
    before = (0,) * (4 - rank) + tuple(int(p[0]) for p in paddings)
    return g.Pad(
        **node.parts(output, x), in_shape=lead + x.shape, before=before, out_shape=lead + shape
    )


def _relu(node: Node) -> g.Op:
    x = node.input()
    return g.Relu(**node.parts(node.output(x.shape), x, activation=node.kind))


def _softmax(node: Node) -> g.Op:
    x = node.input()
    output = node.output(x.shape)
    beta = float(getattr(node.options, "beta", 0.0))
    if output.zero_point != -128 or abs(output.scale * 256 - 1) > 1e-3:
        raise node.fail("output must have scale 1/256 and zero point -128", "Quantise it again.")
    if not x.shape or x.shape[-1] > _SOFTMAX_DEPTH or not 0 < beta < 2**20:
        raise node.fail("softmax is too wide, or beta is not above 0", "", limit=_SOFTMAX_DEPTH)
    return g.Softmax(**node.parts(output, x), beta=beta)


def _reshape(node: Node) -> g.Op:
    x, output = node.input(), node.output()
    if x.size != output.size or x.data is not None:
        raise node.fail("output has another size", "Export it again.", output.dims, x.dims)
    return g.Reshape(**node.parts(output, x))


READERS: dict[str, Callable[[Node], g.Op]] = {
    "ADD": _add,
    "AVERAGE_POOL_2D": _pool,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _pool,
    "MEAN": _mean,
    "PAD": _pad,
    "RELU": _relu,
    "RELU6": _relu,
    "RESHAPE": _reshape,
    "SOFTMAX": _softmax,
}
