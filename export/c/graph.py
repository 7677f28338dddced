"""What the generator knows of a model: tensors and typed operators, nothing of files or of C."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int8 = NDArray[np.int8]
Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor with one scale and one zero point; `data` only if it is a constant.

    `dtype` is ``int8``, or ``int16`` with zero point 0.
    """

    index: int
    shape: tuple[int, ...]
    scale: np.float32
    zero_point: int
    data: Integers | None = None
    dtype: str = "int8"

    @property
    def size(self) -> int:
        """Elements."""
        return prod(self.shape)

    @property
    def value_bytes(self) -> int:
        """Bytes of one element."""
        return 2 if self.dtype == "int16" else 1

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.size * self.value_bytes

    @property
    def dims(self) -> str:
        """The shape as people write it: ``1x1x160x32``."""
        return "x".join(map(str, self.shape)) or "1"

    def quantized_as(self, other: Tensor) -> bool:
        """Whether both have one scale and one zero point."""
        return bool(self.scale == other.scale) and self.zero_point == other.zero_point


@dataclass(frozen=True)
class Window:
    """A sliding window; pairs are (height, width), padding is before the first pixel."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Op:
    """One node. `where` names it in errors: ``kws.tflite: node 3 (CONV_2D)``."""

    index: int
    kind: str
    where: str
    inputs: tuple[Tensor, ...]
    output: Tensor
    activation: str  # NONE, RELU or RELU6

    @property
    def macs(self) -> int:
        """Multiply-accumulates: of convolutions and dense layers only."""
        return 0


@dataclass(frozen=True, eq=False)
class Weighted(Op):
    """An operator with constant int8 weights and a bias (zeros where the model has none).

    The bias is int32, with int16 activations int64.
    """

    weights: Int8
    weight_scales: NDArray[np.float32]  # one, or one for each output channel
    weight_zero_point: int
    bias: Integers


@dataclass(frozen=True, eq=False)
class Conv2D(Weighted):
    """Weights (out, kernel height, kernel width, in)."""

    window: Window

    @property
    def macs(self) -> int:
        """Output elements times filter size, padding included."""
        return self.output.size * prod(self.weights.shape[1:])


@dataclass(frozen=True, eq=False)
class DepthwiseConv2D(Weighted):
    """Weights (1, kernel height, kernel width, out)."""

    window: Window

    @property
    def macs(self) -> int:
        """Output elements times kernel size, padding included."""
        return self.output.size * prod(self.window.kernel)


@dataclass(frozen=True, eq=False)
class FullyConnected(Weighted):
    """Weights (out, in)."""

    @property
    def macs(self) -> int:
        """Rows times the size of the matrix."""
        return self.output.size * self.weights.shape[1]


@dataclass(frozen=True, eq=False)
class Pool2D(Op):
    """AVERAGE_POOL_2D or MAX_POOL_2D."""

    window: Window


@dataclass(frozen=True, eq=False)
class Mean(Op):
    """Mean over `count` and `count_after` of (outer, count, middle, count_after, inner).

    Axes that lie together make one run: `middle` and `count_after` are 1.
    """

    outer: int
    count: int
    inner: int
    middle: int = 1
    count_after: int = 1


@dataclass(frozen=True, eq=False)
class Add(Op):
    """Sum of two tensors of one shape."""


@dataclass(frozen=True)
class Broadcast:
    """How two operands lie to each other: at most four axes, and each one's step along them.

    A step of 0 means that the operand has one value for the whole axis.
    """

    size: tuple[int, ...]
    steps_a: tuple[int, ...]
    steps_b: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class BroadcastAdd(Op):
    """Sum of two tensors of different shapes."""

    layout: Broadcast


@dataclass(frozen=True, eq=False)
class Mul(Op):
    """Product of two tensors of the same or different shapes."""

    layout: Broadcast


@dataclass(frozen=True, eq=False)
class Concatenation(Op):
    """`outer` times a run of elements of each input in turn."""

    outer: int
    runs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """Four axes; `before` elements go in front of each."""

    in_shape: tuple[int, ...]
    before: tuple[int, ...]
    out_shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Relu(Op):
    """RELU or RELU6 that stands alone; its limits are in `activation`."""


@dataclass(frozen=True, eq=False)
class Requantize(Op):
    """QUANTIZE: from the input's scale, zero point and type to the output's."""


@dataclass(frozen=True, eq=False)
class Logistic(Op):
    """1 / (1 + exp(-x)), with scale 1/256 and zero point -128."""


@dataclass(frozen=True, eq=False)
class Elu(Op):
    """x where it is positive, exp(x) - 1 elsewhere."""


@dataclass(frozen=True, eq=False)
class Softmax(Op):
    """Over the last axis."""

    beta: float


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same bytes under another shape: no code, no copy."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A whole model: `ops` in the order of execution.

    `float_input`, `float_output`: the file's own input or output is float32, and the QUANTIZE or
    DEQUANTIZE between it and `input` or `output` was left out.
    """

    source: str
    sha256: str
    ops: tuple[Op, ...]
    input: Tensor
    output: Tensor
    float_input: bool = False
    float_output: bool = False

    @property
    def types(self) -> frozenset[str]:
        """Types of the activations."""
        tensors = [self.input, *(tensor for op in self.ops for tensor in (*op.inputs, op.output))]
        return frozenset(tensor.dtype for tensor in tensors)
