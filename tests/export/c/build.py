"""A .tflite file with one operator, for comparing the generated C with the reference kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_TYPES = {"int8": 9, "int16": 7, "int64": 4, "int32": 2, "float32": 0}


@dataclass
class T:
    """A tensor: activations if `data` is None; `scale` may have one entry per channel."""

    shape: tuple[int, ...]
    scale: Any = None
    zero_point: Any = 0
    data: np.ndarray | None = None
    axis: int = 0
    dtype: str = "int8"


def constant(data: np.ndarray, scale: Any = None, zero_point: Any = 0, axis: int = 0) -> T:
    return T(data.shape, scale, zero_point, data, axis, data.dtype.name)


def options(kind: str, **values: Any) -> Any:
    """``options("Conv2D", strideW=2)`` with the schema's defaults for the rest."""
    table = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        assert hasattr(table, name), name
        setattr(table, name, value)
    return table


def build(op: str, inputs: list[T | None], output: T, table: Any = None) -> bytes:
    """The model: inputs without data are the model's, `output` is its output."""
    model, graph, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = {"FULLY_CONNECTED": 4, "ELU": 1}.get(op, 3)
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    graph.tensors, graph.operators = [], [node]
    node.inputs = [-1 if t is None else _add(model, graph, t) for t in inputs]
    node.outputs = [_add(model, graph, output)]
    ends = zip(node.inputs, inputs, strict=True)
    graph.inputs = list(dict.fromkeys(i for i, t in ends if t is not None and t.data is None))
    graph.outputs = node.outputs
    if table is not None:
        name = type(table).__name__[:-1]
        node.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        node.builtinOptions = table
    return pack(model)


def pack(model: Any) -> bytes:
    """The file of an unpacked model."""
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _add(model: Any, graph: Any, t: T) -> int:
    for index, known in enumerate(graph.tensors):  # the same T twice is the same tensor
        if getattr(known, "origin", None) is t:
            return index
    tensor = schema.TensorT()
    tensor.origin = t
    tensor.shape, tensor.type, tensor.name = (
        list(t.shape),
        _TYPES[t.dtype],
        f"t{len(graph.tensors)}",
    )
    if t.data is not None:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(t.data.tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    if t.scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        scales = np.atleast_1d(np.asarray(t.scale, np.float32))
        tensor.quantization.scale = scales.tolist()
        tensor.quantization.zeroPoint = np.broadcast_to(t.zero_point, scales.shape).tolist()
        tensor.quantization.quantizedDimension = t.axis
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
