"""An int8 .tflite file becomes a :class:`Graph`; whatever is not as it should be is refused."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.c.graph import Graph, Op, Tensor
from export.c.operators import READERS, Node, RawTensor, supported
from targets.errors import InputError

# What the flatbuffer classes raise on bytes that are not what they should be.
_MALFORMED = (
    struct.error,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if k.isupper()}
_REWRITE = "Export the model again; the file was damaged or is no TensorFlow Lite model."


def read(model: bytes | Path) -> Graph:
    """Read and check a model.

    Parameters
    ----------
    model : bytes or Path
        The .tflite file or its content.

    Raises
    ------
    InputError
        If it cannot be read, is malformed, is not int8, or has an operator outside the set.
    """
    source = model.name if isinstance(model, Path) else "model"
    if isinstance(model, Path):
        try:
            model = model.read_bytes()
        except OSError as err:
            raise InputError(
                "model cannot be read",
                where=source,
                value=err.strerror or err,
                todo="Check the path of the .tflite file.",
            ) from None
    parsed = _parse(model, source)
    try:
        subgraphs, codes, buffers = parsed.subgraphs, parsed.operatorCodes, parsed.buffers
        if len(subgraphs) != 1:
            raise InputError(
                "model must have one subgraph",
                where=source,
                value=len(subgraphs),
                todo="Export it without control flow and with one signature.",
            )
        graph = subgraphs[0]
        tensors = [_tensor(i, raw, buffers) for i, raw in enumerate(graph.tensors)]
        nodes = [
            _node(i, raw, codes, tensors, source) for i, raw in enumerate(graph.operators or [])
        ]
        ends = [
            _ends(source, what, getattr(graph, what), tensors) for what in ("inputs", "outputs")
        ]
    except _MALFORMED as err:
        raise _damaged(source, err) from None
    ops = tuple(_typed(node) for node in nodes)
    first, last = (end.int8(f"{source}: model") for end in ends)
    _check_order(ops, first, last, source)
    return Graph(source, hashlib.sha256(model).hexdigest(), ops, first, last)


def _damaged(source: str, err: BaseException) -> InputError:
    return InputError(
        f"not a readable .tflite file ({type(err).__name__}: {err})", where=source, todo=_REWRITE
    )


def _parse(model: bytes, source: str) -> Any:
    """Unpack the flatbuffer with the schema classes of LiteRT."""
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise InputError(
            "not a .tflite file (no TFL3 identifier)",
            where=source,
            value=f"{len(model)} bytes",
            todo=_REWRITE,
        )
    try:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    except _MALFORMED as err:
        raise _damaged(source, err) from None


def _tensor(index: int, raw: Any, buffers: Any) -> RawTensor:
    quantization = raw.quantization
    scale = getattr(quantization, "scale", None)
    zero_point = getattr(quantization, "zeroPoint", None)
    scales = np.array([] if scale is None else scale, dtype=np.float32)
    zero_points = np.array([] if zero_point is None else zero_point, dtype=np.int64)
    data = _at(buffers, raw.buffer).data
    return RawTensor(
        index=index,
        shape=tuple(int(n) for n in ([] if raw.shape is None else raw.shape)),
        type=int(raw.type),
        scales=scales,
        zero_points=zero_points if zero_points.size else np.zeros(scales.size, np.int64),
        axis=int(getattr(quantization, "quantizedDimension", 0) or 0),
        sparse=raw.sparsity is not None,
        data=None if data is None or len(data) == 0 else bytes(bytearray(data)),
    )


def _at(items: Any, index: int) -> Any:
    """``items[index]`` without Python's meaning of a negative index."""
    if not 0 <= index < len(items):
        raise IndexError(f"index {index} outside 0..{len(items) - 1}")
    return items[index]


def _node(index: int, raw: Any, codes: Any, tensors: list[RawTensor], source: str) -> Node:
    code = _at(codes, raw.opcodeIndex)
    number = max(int(code.builtinCode), int(code.deprecatedBuiltinCode))
    name = _NAMES.get(number, f"operator {number}")
    if name == "CUSTOM" and code.customCode:
        name = "custom " + bytes(code.customCode).decode("ascii", "replace")
    inputs = [None if i == -1 else _at(tensors, int(i)) for i in raw.inputs]
    outputs = [_at(tensors, int(i)) for i in raw.outputs]
    return Node(
        index, name, f"{source}: node {index} ({name})", inputs, outputs, raw.builtinOptions
    )


def _typed(node: Node) -> Op:
    if node.kind not in READERS:
        raise InputError(
            "operator is not supported by the C generator",
            where=node.where,
            limit=", ".join(supported()),
            todo="Rewrite the layer with these operators and export the model again.",
        )
    return READERS[node.kind](node)


def _ends(source: str, what: str, indices: Any, tensors: list[RawTensor]) -> RawTensor:
    if indices is None or len(indices) != 1:
        raise InputError(
            f"model must have one of its {what}",
            where=source,
            value=0 if indices is None else len(indices),
            todo="Export a model with one input and one output tensor.",
        )
    tensor: RawTensor = _at(tensors, int(indices[0]))
    return tensor


def _check_order(ops: tuple[Op, ...], first: Tensor, last: Tensor, source: str) -> None:
    """Each tensor is written once, and before it is read."""
    known = {first.index}
    for op in ops:
        for tensor in op.inputs:
            if tensor.data is None and tensor.index not in known:
                raise InputError(
                    f"tensor {tensor.index} is read before it is computed",
                    where=op.where,
                    todo=_REWRITE,
                )
        if op.output.index in known or op.output.data is not None:
            raise InputError(
                f"tensor {op.output.index} is written twice", where=op.where, todo=_REWRITE
            )
        known.add(op.output.index)
    if first.data is not None or last.data is not None or last.index not in known:
        raise InputError(
            "the model's output is not computed from its input", where=source, todo=_REWRITE
        )
