"""IR -> TFLite flatbuffer, float, with int8 weights, or integer: builtin operators only.

Integer models have operators of TensorFlow Lite Micro only. No transpose, no reshape: layout is
settled in the IR, activations are fused.
Schema: tensorflow/lite/schema/schema.fbs (version 3), by the classes that LiteRT ships.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export import ir
from export.weights import WMAX, round_constant, weight_quant

# Alignment of constants, from the schema (force_align: 16): the device reads them in place.
ALIGNMENT = 16

_Code = schema.BuiltinOperator
_Options = schema.BuiltinOptions
Kind = Literal["fp32", "dynamic", "int8", "int16"]
# Operator, and its versions (tensorflow/lite/tools/versioning/op_version.cc); a convolution of
# 16-bit activations and 8-bit weights has no version of its own there.
_OPERATORS: dict[type[ir.Op], tuple[int, Mapping[Kind, int]]] = {
    ir.Conv2D: (_Code.CONV_2D, {"fp32": 1, "dynamic": 5, "int8": 3, "int16": 1}),
    ir.DepthwiseConv2D: (
        _Code.DEPTHWISE_CONV_2D,
        {"fp32": 1, "dynamic": 6, "int8": 3, "int16": 1},
    ),
    ir.Add: (_Code.ADD, {"fp32": 1, "int8": 2, "int16": 3}),
    ir.AveragePool2D: (_Code.AVERAGE_POOL_2D, {"fp32": 1, "int8": 2, "int16": 3}),
    ir.MaxPool2D: (_Code.MAX_POOL_2D, {"fp32": 1, "int8": 2, "int16": 3}),
    ir.Pad: (_Code.PAD, {"fp32": 1, "int8": 2, "int16": 3}),
    ir.Elu: (_Code.ELU, {"fp32": 1, "int8": 1}),
    ir.Requantise: (_Code.QUANTIZE, {"int8": 1, "int16": 2}),  # by the output's width
}
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int64): schema.TensorType.INT64,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int8): schema.TensorType.INT8,
}
_Encoding = tuple[np.dtype[Any], npt.NDArray[Any] | None, ir.Quant | None]


def write_fp32(graph: ir.Graph) -> bytes:
    """Serialise with float32 weights; input NHWC, for windows see :mod:`export.runtimes`."""

    def encode(tensor: ir.Tensor) -> _Encoding:
        return np.dtype(np.float32), tensor.data, None

    return _Writer(graph, encode, lambda op: "fp32").content()


def write_dynamic(graph: ir.Graph) -> bytes:
    """Serialise with int8 weights, one scale an output channel; everything else is float32.

    TFLite's "dynamic range" form: LiteRT quantises the input of each convolution as it runs.
    TensorFlow Lite Micro does not have it.
    """

    def encode(tensor: ir.Tensor) -> _Encoding:
        if tensor.data is None or tensor.layout is ir.Layout.O:
            return np.dtype(np.float32), tensor.data, None
        quant = weight_quant(tensor)
        return np.dtype(np.int8), round_constant(tensor, quant, np.int8, WMAX), quant

    def kind(op: ir.Op) -> Kind:
        return "dynamic" if isinstance(op, ir.Weighted) else "fp32"

    return _Writer(graph, encode, kind).content()


def write_int8(qgraph: ir.QuantizedGraph) -> bytes:
    """Serialise in integers: int8 weights, activations and ends in the widths of `qgraph`.

    Biases are int32, those of operators with int16 activations int64.
    """

    def encode(tensor: ir.Tensor) -> _Encoding:
        data = qgraph.constants.get(tensor.name)
        quant = qgraph.quants[tensor.name]
        return quant.dtype if data is None else data.dtype, data, quant

    def kind(op: ir.Op) -> Kind:
        return "int16" if qgraph.quants[op.output].bits == 16 else "int8"

    return _Writer(qgraph.graph, encode, kind).content()


@dataclass
class _Writer:
    """Collects tensors and buffers of one model; `kind` says in which form an operator runs."""

    graph: ir.Graph
    encode: Callable[[ir.Tensor], _Encoding]
    kind: Callable[[ir.Op], Kind]
    tensors: list[schema.TensorT] = field(default_factory=list)
    # Buffer 0 is the empty one, by convention.
    buffers: list[schema.BufferT] = field(default_factory=lambda: [schema.BufferT()])

    def content(self) -> bytes:
        """The file."""
        index = {name: i for i, name in enumerate(self.graph.tensors)}
        for tensor in self.graph.tensors.values():
            dtype, data, quant = self.encode(tensor)
            self._add(tensor.name, tensor.shape, dtype, data, quant)
        codes = sorted({self._code(op) for op in self.graph.ops})
        operators = [
            self._operator(op, codes.index(self._code(op)), index) for op in self.graph.ops
        ]
        model = schema.ModelT(
            version=3,
            description="dlink",
            # The deprecated field is what older runtimes read; both say the same below 127.
            operatorCodes=[
                schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version)
                for code, version in codes
            ],
            buffers=self.buffers,
            subgraphs=[
                schema.SubGraphT(
                    name="main",
                    tensors=self.tensors,
                    inputs=[index[self.graph.input]],
                    outputs=[index[self.graph.output]],
                    operators=operators,
                )
            ],
        )
        builder = flatbuffers.Builder(4096)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    def _code(self, op: ir.Op) -> tuple[int, int]:
        code, versions = _OPERATORS[type(op)]
        return code, versions[self.kind(op)]

    def _add(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        data: npt.NDArray[Any] | None,
        quant: ir.Quant | None = None,
    ) -> int:
        """Number of a new tensor."""
        buffer = 0
        if data is not None:
            buffer = len(self.buffers)
            self.buffers.append(_AlignedBuffer(np.ascontiguousarray(data).tobytes()))
        self.tensors.append(
            schema.TensorT(
                name=name,
                shape=list(shape),
                type=_TYPES[np.dtype(dtype)],
                buffer=buffer,
                quantization=None if quant is None else _quantization(quant),
            )
        )
        return len(self.tensors) - 1

    def _operator(self, op: ir.Op, code: int, index: dict[str, int]) -> schema.OperatorT:
        kind, options = _options(op, wide=self.kind(op) == "int16")
        inputs = [index[name] for name in op.inputs]
        if isinstance(op, ir.Pad):
            paddings = np.array([(0, 0), *op.pads, (0, 0)], np.int32)
            inputs.append(self._add(f"{op.name}/paddings", (4, 2), paddings.dtype, paddings))
        return schema.OperatorT(
            opcodeIndex=code,
            inputs=inputs,
            outputs=[index[op.output]],
            builtinOptionsType=kind,
            builtinOptions=options,
        )


def _quantization(quant: ir.Quant) -> schema.QuantizationParametersT:
    return schema.QuantizationParametersT(
        scale=quant.scale.astype(np.float32),
        zeroPoint=np.full(quant.scale.size, quant.zero_point, np.int64),
        quantizedDimension=quant.axis or 0,
    )


class _AlignedBuffer(schema.BufferT):
    """A buffer whose bytes start at a multiple of 16: Python's generated code forgets that."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content = content

    def Pack(self, builder: flatbuffers.Builder) -> int:
        n = len(self.content)
        builder.StartVector(1, n, ALIGNMENT)
        builder.head = builder.Head() - n
        builder.Bytes[builder.Head() : builder.Head() + n] = self.content
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


def _options(op: ir.Op, *, wide: bool) -> tuple[int, Any]:
    """TFLite's options of an operator, and their tag in the union; `wide`: in 16 bits."""
    options: Any = None
    if isinstance(op, ir.Add):
        options = schema.AddOptionsT(fusedActivationFunction=_activation(op.activation))
        options.potScaleInt16 = not wide  # 16-bit scales here are any, not powers of two
    elif isinstance(op, ir.Pool):
        height, width = op.window.kernel
        options = schema.Pool2DOptionsT(filterHeight=height, filterWidth=width)
        _slide(options, op.window)
    elif isinstance(op, ir.Weighted):
        if isinstance(op, ir.DepthwiseConv2D):
            options = schema.DepthwiseConv2DOptionsT(depthMultiplier=op.multiplier)
        else:
            options = schema.Conv2DOptionsT()
        options.fusedActivationFunction = _activation(op.activation)
        _slide(options, op.window, dilated=True)
    elif isinstance(op, ir.Pad):
        options = schema.PadOptionsT()
    elif isinstance(op, ir.Requantise):
        options = schema.QuantizeOptionsT()
    if options is None:  # Elu
        return _Options.NONE, None
    return getattr(_Options, type(options).__name__.removesuffix("T")), options


def _slide(options: Any, window: ir.Window, *, dilated: bool = False) -> None:
    """Fill in stride, padding and dilation."""
    options.padding = getattr(schema.Padding, window.padding.value)
    options.strideH, options.strideW = window.stride
    if dilated:
        options.dilationHFactor, options.dilationWFactor = window.dilation


def _activation(activation: ir.Activation) -> int:
    return int(getattr(schema.ActivationFunctionType, activation.value))
