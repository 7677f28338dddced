"""A small typed graph between ONNX and every format we write; layouts are explicit, batch is 1.

Activations are NHWC, ``(1, H, W, C)``: time runs along W. Operators carry TFLite's meaning
(padding, fused activation), because the reference for every exported model is TFLite's kernels.

There is no dense layer: one over a whole map is a Conv2D whose window is that map, with the same
weights in the same order. The targets then agree to the byte, which they do not on TFLite's own
FULLY_CONNECTED: LiteRT rounds its int8 result once, TensorFlow Lite Micro twice (about 1 output in
1,000 differs by one step), and tflite-runtime 2.14 on Arm crashes on its per-channel weights.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt


class Layout(enum.Enum):
    """Order of the axes of a tensor."""

    NHWC = "activation (1, H, W, C)"
    OHWI = "weights of Conv2D (C_out, kh, kw, C_in)"
    IHWO = "weights of DepthwiseConv2D (1, kh, kw, C_out), C_out = C_in * multiplier"
    O = "bias (C_out,)"  # noqa: E741 - the axis is called O


class Padding(enum.Enum):
    """SAME: out = ceil(in / stride), zeros split as TensorFlow splits them; VALID: no padding."""

    SAME = "SAME"
    VALID = "VALID"


class Activation(enum.Enum):
    """Activation fused into the operator before it."""

    NONE = "NONE"
    RELU = "RELU"
    RELU6 = "RELU6"


@dataclass(frozen=True, eq=False)
class Tensor:
    """An activation (`data` is None) or a float32 constant."""

    name: str
    shape: tuple[int, ...]
    layout: Layout
    data: npt.NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Window:
    """What slides: kernel, stride and dilation as (height, width), and the padding."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding = Padding.VALID

    def output_hw(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the window has slid over (height, width)."""
        h, w = (
            -(-n // s) if self.padding is Padding.SAME else (n - (k - 1) * d - 1) // s + 1
            for n, k, s, d in zip(
                (height, width), self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return h, w

    def pads(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros (before, after) along height and width."""
        if self.padding is Padding.VALID:
            return (0, 0), (0, 0)
        return (
            same_pads(height, self.kernel[0], self.stride[0], self.dilation[0]),
            same_pads(width, self.kernel[1], self.stride[1], self.dilation[1]),
        )


def same_pads(n: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros (before, after) of TensorFlow's SAME padding on an axis of length `n`."""
    total = max((-(-n // stride) - 1) * stride + (kernel - 1) * dilation + 1 - n, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class Op:
    """One operator: names of its input activation and its output, and the node it came from."""

    name: str
    input: str
    output: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """All input tensors, constants included, in TFLite's order."""
        return (self.input,)


@dataclass(frozen=True)
class Weighted(Op):
    """A convolution of either kind."""

    weight: str
    bias: str
    activation: Activation
    window: Window

    @property
    def inputs(self) -> tuple[str, ...]:
        """Activation, weights, bias."""
        return (self.input, self.weight, self.bias)


@dataclass(frozen=True)
class Conv2D(Weighted):
    """Dense convolution; weights OHWI."""


@dataclass(frozen=True)
class DepthwiseConv2D(Weighted):
    """Channel c makes outputs c*multiplier ... c*multiplier + multiplier - 1; weights IHWO."""

    multiplier: int


@dataclass(frozen=True)
class Add(Op):
    """Element-wise sum of two activations of one shape."""

    other: str
    activation: Activation

    @property
    def inputs(self) -> tuple[str, ...]:
        """Both summands."""
        return (self.input, self.other)


@dataclass(frozen=True)
class AveragePool2D(Op):
    """Mean over the window, VALID padding."""

    window: Window


@dataclass(frozen=True)
class MaxPool2D(Op):
    """Maximum over the window, VALID padding."""

    window: Window


Pool = AveragePool2D | MaxPool2D


@dataclass(frozen=True)
class Pad(Op):
    """Zeros around an activation: (before, after) along height and along width."""

    pads: tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Elu(Op):
    """x where it is positive, exp(x) - 1 elsewhere."""


@dataclass(frozen=True)
class Requantise(Op):
    """The same real values under another scale and width; of quantised graphs only."""


@dataclass(frozen=True, eq=False)
class Graph:
    """Operators in the order of execution, tensors by name, one input, one output."""

    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    input: str
    output: str

    def macs(self) -> int:
        """Multiply-accumulates of one inference: convolutions and dense layers, as is usual."""
        return sum(self.op_macs(op) for op in self.ops)

    def op_macs(self, op: Op) -> int:
        """Multiply-accumulates of one operator."""
        if not isinstance(op, Weighted):
            return 0
        _, height, width, _ = self.tensors[op.output].shape
        return height * width * self.tensors[op.weight].size

    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(t.size for t in self.tensors.values() if t.data is not None)

    def lifetimes(self) -> dict[str, tuple[int, int]]:
        """First and last operator (index) during which each activation must be kept.

        The graph's input lives from operator 0; its output until the last operator.
        """
        spans = {self.input: (0, 0)}
        for i, op in enumerate(self.ops):
            spans[op.output] = (i, i)
            for name in op.inputs:
                if name in spans:
                    spans[name] = (spans[name][0], i)
        spans[self.output] = (spans[self.output][0], len(self.ops) - 1)
        return spans

    def arena_bytes(self, element_bytes: int | Mapping[str, int] = 1) -> int:
        """Peak of the live activations, graph input included, in bytes.

        `element_bytes` is that of every activation (1: int8), or of each by name. No interpreter's
        arena is smaller; C code with its input outside the arena may do with less.
        """
        sizes = {
            name: self.tensors[name].size
            * (element_bytes if isinstance(element_bytes, int) else element_bytes[name])
            for name in self.lifetimes()
        }
        spans = self.lifetimes()
        return max(
            sum(sizes[t] for t, (first, last) in spans.items() if first <= i <= last)
            for i in range(len(self.ops))
        )

    def validate(self) -> Graph:
        """Check order, shapes and layouts; return self.

        Raises
        ------
        ValueError
            The graph contradicts itself. That is a defect of its maker, not of the user.
        """
        known = {self.input}
        for op in self.ops:
            for name in op.inputs:
                if self.tensors[name].data is None and name not in known:
                    raise ValueError(f"{op.name}: input {name} is not computed before it is used")
            if op.output in known:
                raise ValueError(f"{op.name}: output {op.output} is computed twice")
            shapes = _expected_shapes(op, self.tensors)
            for name, shape in shapes.items():
                if self.tensors[name].shape != shape:
                    found = self.tensors[name].shape
                    raise ValueError(f"{op.name}: {name} has shape {found}, expected {shape}")
            known.add(op.output)
        if self.output not in known:
            raise ValueError(f"output {self.output} is never computed")
        return self


def output_shape(op: Op, tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Shape of the output of `op`, from its inputs."""
    shape = tensors[op.input].shape
    if isinstance(op, Add | Elu | Requantise):
        return shape
    if isinstance(op, Pad):
        (top, bottom), (left, right) = op.pads
        return 1, shape[1] + top + bottom, shape[2] + left + right, shape[3]
    if isinstance(op, Conv2D):
        return 1, *op.window.output_hw(shape[1], shape[2]), tensors[op.weight].shape[0]
    if isinstance(op, DepthwiseConv2D):
        return 1, *op.window.output_hw(shape[1], shape[2]), tensors[op.weight].shape[3]
    if isinstance(op, Pool):
        return 1, *op.window.output_hw(shape[1], shape[2]), shape[3]
    raise TypeError(f"unknown operator {type(op).__name__}")


def _expected_shapes(op: Op, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes that the other tensors of `op` must have, given its input."""
    source = tensors[op.input]
    expected = {op.output: output_shape(op, tensors)}
    if isinstance(op, Add):
        expected[op.other] = source.shape
    if isinstance(op, Weighted):
        expected[op.bias] = (expected[op.output][-1],)
    if isinstance(op, Conv2D):
        expected[op.weight] = (expected[op.output][-1], *op.window.kernel, source.shape[3])
    elif isinstance(op, DepthwiseConv2D):
        expected[op.weight] = (1, *op.window.kernel, source.shape[3] * op.multiplier)
    return expected


@dataclass(frozen=True, eq=False)
class Quant:
    """real = scale * (q - zero_point).

    `scale` is float32 with one entry, or one entry per index of `axis`; weights and biases have
    zero point 0. `bits` is the width of activations, 8 or 16; 16 bits have zero point 0.
    """

    scale: npt.NDArray[np.float32]
    zero_point: int = 0
    axis: int | None = None
    bits: int = 8

    @property
    def dtype(self) -> np.dtype[np.signedinteger]:
        """Type of the quantised activations: int8 or int16."""
        return np.dtype(np.int16 if self.bits == 16 else np.int8)

    def quantise(self, real: npt.NDArray[np.floating]) -> npt.NDArray[np.signedinteger]:
        """Real values to integers, per tensor, rounded half away from zero as TFLite does."""
        q = np.asarray(real, np.float32) / self.scale[0]
        rounded = np.trunc(q + np.copysign(np.float32(0.5), q)) + self.zero_point
        limits = np.iinfo(self.dtype)
        return np.clip(rounded, limits.min, limits.max).astype(self.dtype)

    def dequantise(self, q: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.float32]:
        """Integers back to real values, per tensor."""
        return self.scale[0] * (q.astype(np.float32) - np.float32(self.zero_point))


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A graph with one set of scales, and its constants as integers.

    `quants` holds every tensor; `constants` the int8 weights and the biases by name, int32 or,
    of operators with 16-bit activations, int64. `wide` names the operators with such activations.
    """

    graph: Graph
    quants: Mapping[str, Quant]
    constants: Mapping[str, npt.NDArray[np.integer]] = field(repr=False)
    wide: frozenset[str] = frozenset()

    @cached_property
    def input_quant(self) -> Quant:
        """Scale and zero point of the input."""
        return self.quants[self.graph.input]

    @cached_property
    def output_quant(self) -> Quant:
        """Scale and zero point of the logits."""
        return self.quants[self.graph.output]

    def arena_bytes(self) -> int:
        """Peak of the live activations in bytes, each in its own width."""
        widths = {name: self.quants[name].bits // 8 for name in self.graph.lifetimes()}
        return self.graph.arena_bytes(widths)
