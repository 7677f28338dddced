"""Small temporal networks made at random: convolutions, pools, sums; mean, dense, softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from build import T, _add, constant, options, pack

SAME, VALID = 0, 1


class Net:
    """A model in the making; `x` is what the next layer reads. `axis` is time's: 1 or 2."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> None:
        self.rng, self.axis = rng, axis
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.operatorCodes = 3, []
        self.model.subgraphs, self.model.buffers = [self.graph], [schema.BufferT()]
        self.graph.tensors, self.graph.operators = [], []
        self.x = self.source = T(shape, 0.05, int(rng.integers(-20, 20)))

    def _node(self, op: str, inputs: list[T], output: T, table: Any = None) -> None:
        code, node = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, op)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = {"FULLY_CONNECTED": 4, "ELU": 1}.get(op, 3)
        self.model.operatorCodes.append(code)
        node.opcodeIndex = len(self.model.operatorCodes) - 1
        node.inputs = [_add(self.model, self.graph, t) for t in inputs]
        node.outputs = [_add(self.model, self.graph, output)]
        if table is not None:
            node.builtinOptions = table
            node.builtinOptionsType = getattr(schema.BuiltinOptions, type(table).__name__[:-1])
        self.graph.operators.append(node)
        self.x = output

    def _slid(self, along: int, across: int, stride: int, padding: int, channels: int) -> Any:
        """Output shape, and the pairs (height, width) of kernel and stride."""
        pair = (along, across) if self.axis == 1 else (across, along)
        strides = (stride, 1) if self.axis == 1 else (1, stride)
        sizes = [
            -(-size // s) if padding == SAME else (size - k) // s + 1
            for size, k, s in zip(self.x.shape[1:3], pair, strides, strict=True)
        ]
        return (1, *sizes, channels), pair, strides

    def _output(self, shape: tuple[int, ...]) -> T:
        return T(shape, 0.04, int(self.rng.integers(-30, 30)))

    def conv(self, kind: str, along: int, across: int, stride: int, padding: int, out: int) -> None:
        """CONV_2D, or DEPTHWISE_CONV_2D with `out` outputs a channel."""
        depth = self.x.shape[3]
        channels = out * depth if kind == "DepthwiseConv2D" else out
        shape, kernel, stride_pair = self._slid(along, across, stride, padding, channels)
        deep = kind == "DepthwiseConv2D"
        filters = (1, *kernel, channels) if deep else (channels, *kernel, depth)
        data = self.rng.integers(-127, 128, filters, dtype=np.int8)
        scale = 0.02 / np.sqrt(np.prod(kernel) * (1 if deep else depth))
        weights = constant(data, [scale] * channels, [0] * channels, 3 if deep else 0)
        bias = self.rng.integers(-999, 999, channels, dtype=np.int32)
        table = options(
            kind, padding=padding, strideH=stride_pair[0], strideW=stride_pair[1],
            fusedActivationFunction=int(self.rng.choice([0, 1, 3])),
        )  # fmt: skip
        if deep:
            table.depthMultiplier = out
        inputs = [self.x, weights, constant(bias, [0.05 * scale] * channels, [0] * channels)]
        op = "DEPTHWISE_CONV_2D" if deep else "CONV_2D"
        self._node(op, inputs, self._output(shape), table)

    def pool(self, kind: str, size: int, stride: int, padding: int) -> None:
        """AVERAGE_POOL_2D or MAX_POOL_2D along time."""
        shape, kernel, strides = self._slid(size, 1, stride, padding, self.x.shape[3])
        table = options(
            "Pool2D", padding=padding, strideH=strides[0], strideW=strides[1],
            filterHeight=kernel[0], filterWidth=kernel[1],
        )  # fmt: skip
        self._node(f"{kind}_POOL_2D", [self.x], T(shape, self.x.scale, self.x.zero_point), table)

    def elu(self) -> None:
        """ELU onto the range that is left of the input's."""
        real = self.x.scale * (127 - self.x.zero_point)
        scale = (max(real, 0.0) + 1.0) / 255
        self._node("ELU", [self.x], T(self.x.shape, scale, round(-128 + 1 / scale)))

    def residual(self, along: int) -> None:
        """The sum of a tensor and a convolution of it."""
        before = self.x
        self.conv("Conv2D", along, 1, 1, SAME, before.shape[3])
        self._node("ADD", [before, self.x], self._output(before.shape), options("Add"))

    def head(self, outputs: int) -> None:
        """MEAN over the image, FULLY_CONNECTED, SOFTMAX."""
        channels = self.x.shape[3]
        axes = constant(np.array([1, 2], np.int32))
        self._node("MEAN", [self.x, axes], self._output((1, channels)), options("Reducer"))
        data = self.rng.integers(-127, 128, (outputs, channels), dtype=np.int8)
        weights = constant(data, [0.01], [0])
        self._node(
            "FULLY_CONNECTED", [self.x, weights], self._output((1, outputs)),
            options("FullyConnected"),
        )  # fmt: skip
        self._node("SOFTMAX", [self.x], T((1, outputs), 1 / 256, -128), options("Softmax", beta=1))

    def pack(self) -> bytes:
        """The file; the last tensor is the output."""
        index = {id(t.origin): i for i, t in enumerate(self.graph.tensors)}
        self.graph.inputs, self.graph.outputs = [index[id(self.source)]], [index[id(self.x)]]
        return pack(self.model)


def random_net(seed: int, *, elu: bool = False) -> tuple[bytes, int, int]:
    """A model, its samples a window, and the stride of its first layer; `elu` here and there."""
    rng = np.random.default_rng(seed)
    times, channels = int(rng.integers(60, 120)), int(rng.integers(2, 6))
    layout = int(rng.integers(3))
    shape = [(1, 1, times, channels), (1, channels, times, 1), (1, times, channels, 1)][layout]
    net = Net(rng, shape, 1 if layout == 2 else 2)
    across = 1 if layout == 0 else channels
    first = int(rng.choice([1, 2, 3, 5]))
    kinds = ["Conv2D", "DepthwiseConv2D"]
    collapse = bool(rng.integers(2))
    kind = "Conv2D" if layout == 0 else "DepthwiseConv2D"
    padding = SAME if across == 1 or not collapse else VALID
    net.conv(kind, int(rng.integers(2, 9)), across if collapse else 1, first, padding, 4)
    if across > 1 and not collapse and rng.integers(2):
        net.conv("DepthwiseConv2D", 1, channels, 1, VALID, 1)
    for _ in range(int(rng.integers(1, 5))):
        what = int(rng.integers(4))
        time = net.x.shape[net.axis]
        size = int(rng.integers(1, min(6, time) + 1))
        padding, stride = int(rng.integers(2)), int(rng.choice([1, 1, 2, 3]))
        if what == 0:
            net.pool(str(rng.choice(["AVERAGE", "MAX"])), size, stride, padding)
        elif what == 1:
            net.residual(size)
        else:
            net.conv(str(rng.choice(kinds)), size, 1, stride, padding, int(rng.integers(1, 7)))
            if net.x.shape[3] > 24:
                net.conv("Conv2D", 1, 1, 1, SAME, 6)
        if elu and rng.integers(3):
            net.elu()
    if rng.integers(5):
        net.head(3)
    return net.pack(), times, first
