"""IR -> TFLite flatbuffer, fp32 or full int8: builtin operators of TensorFlow Lite Micro only.

No transpose, no pad, no reshape: layout and padding are settled in the IR, activations are fused.
Schema: tensorflow/lite/schema/schema.fbs (version 3), by the classes that LiteRT ships.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from export import ir

# Alignment of constants, from the schema (force_align: 16): the device reads them in place.
ALIGNMENT = 16

_Code = schema.BuiltinOperator
_Options = schema.BuiltinOptions
# Operator, version in fp32, version in int8 (tensorflow/lite/tools/versioning/op_version.cc).
_OPERATORS: dict[type[ir.Op], tuple[int, int, int]] = {
    ir.Conv2D: (_Code.CONV_2D, 1, 3),
    ir.DepthwiseConv2D: (_Code.DEPTHWISE_CONV_2D, 1, 3),
    ir.Add: (_Code.ADD, 1, 2),
    ir.AveragePool2D: (_Code.AVERAGE_POOL_2D, 1, 2),
    ir.MaxPool2D: (_Code.MAX_POOL_2D, 1, 2),
}
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
}
_Encoding = tuple[np.dtype[Any], npt.NDArray[Any] | None, ir.Quant | None]


def write_fp32(graph: ir.Graph) -> bytes:
    """Serialise with float32 weights; input NHWC, for windows see :mod:`export.runtimes`."""

    def encode(tensor: ir.Tensor) -> _Encoding:
        return np.dtype(np.float32), tensor.data, None

    return _write(graph, encode, quantised=False)


def write_int8(qgraph: ir.QuantizedGraph) -> bytes:
    """Serialise with int8 weights, int32 biases, int8 input and output."""

    def encode(tensor: ir.Tensor) -> _Encoding:
        data = qgraph.constants.get(tensor.name)
        dtype = np.dtype(np.int8) if data is None else data.dtype
        return dtype, data, qgraph.quants[tensor.name]

    return _write(qgraph.graph, encode, quantised=True)


def _write(graph: ir.Graph, encode: Callable[[ir.Tensor], _Encoding], *, quantised: bool) -> bytes:
    index = {name: i for i, name in enumerate(graph.tensors)}
    buffers: list[schema.BufferT] = [schema.BufferT()]  # buffer 0 is the empty one, by convention
    tensors = []
    for tensor in graph.tensors.values():
        dtype, data, quant = encode(tensor)
        number = 0
        if data is not None:
            number = len(buffers)
            buffers.append(_AlignedBuffer(np.ascontiguousarray(data).tobytes()))
        tensors.append(_tensor(tensor, dtype, number, quant))
    kinds = sorted({type(op) for op in graph.ops}, key=lambda kind: _OPERATORS[kind][0])
    model = schema.ModelT(
        version=3,
        description="dlink",
        operatorCodes=[_operator_code(kind, quantised) for kind in kinds],
        buffers=buffers,
        subgraphs=[
            schema.SubGraphT(
                name="main",
                tensors=tensors,
                inputs=[index[graph.input]],
                outputs=[index[graph.output]],
                operators=[_operator(op, kinds.index(type(op)), index) for op in graph.ops],
            )
        ],
    )
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


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


def _tensor(
    tensor: ir.Tensor, dtype: np.dtype[Any], buffer: int, quant: ir.Quant | None
) -> schema.TensorT:
    quantization = None
    if quant is not None:
        quantization = schema.QuantizationParametersT(
            scale=quant.scale.astype(np.float32),
            zeroPoint=np.full(quant.scale.size, quant.zero_point, np.int64),
            quantizedDimension=quant.axis or 0,
        )
    return schema.TensorT(
        name=tensor.name,
        shape=list(tensor.shape),
        type=_TYPES[dtype],
        buffer=buffer,
        quantization=quantization,
    )


def _operator_code(kind: type[ir.Op], quantised: bool) -> schema.OperatorCodeT:
    code, fp32, int8 = _OPERATORS[kind]
    # The deprecated field is what older runtimes read; both say the same below 127.
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=code, builtinCode=code, version=int8 if quantised else fp32
    )


def _operator(op: ir.Op, code_index: int, index: dict[str, int]) -> schema.OperatorT:
    kind, options = _options(op)
    return schema.OperatorT(
        opcodeIndex=code_index,
        inputs=[index[name] for name in op.inputs],
        outputs=[index[op.output]],
        builtinOptionsType=kind,
        builtinOptions=options,
    )


def _options(op: ir.Op) -> tuple[int, Any]:
    """TFLite's options of an operator, and their tag in the union."""
    if isinstance(op, ir.Add):
        add = schema.AddOptionsT(fusedActivationFunction=_activation(op.activation))
        return _Options.AddOptions, add
    if isinstance(op, ir.Pool):
        pool = schema.Pool2DOptionsT(
            filterHeight=op.window.kernel[0], filterWidth=op.window.kernel[1]
        )
        return _Options.Pool2DOptions, _slide(pool, op.window)
    if isinstance(op, ir.DepthwiseConv2D):
        depthwise = schema.DepthwiseConv2DOptionsT(
            depthMultiplier=op.multiplier, fusedActivationFunction=_activation(op.activation)
        )
        return _Options.DepthwiseConv2DOptions, _slide(depthwise, op.window, dilated=True)
    assert isinstance(op, ir.Conv2D)
    conv = schema.Conv2DOptionsT(fusedActivationFunction=_activation(op.activation))
    return _Options.Conv2DOptions, _slide(conv, op.window, dilated=True)


def _slide(options: Any, window: ir.Window, *, dilated: bool = False) -> Any:
    """Fill in stride, padding and dilation."""
    options.padding = getattr(schema.Padding, window.padding.value)
    options.strideH, options.strideW = window.stride
    if dilated:
        options.dilationHFactor, options.dilationWFactor = window.dilation
    return options


def _activation(activation: ir.Activation) -> int:
    return int(getattr(schema.ActivationFunctionType, activation.value))
