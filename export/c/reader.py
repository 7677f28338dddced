"""An int8 .tflite file becomes a :class:`Graph`; whatever is not as it should be is refused."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from export.c.graph import Graph, Op, Tensor
from export.c.operators import READERS
from export.c.raw import FLOAT32, Node, RawTensor
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
_OPTIONS = {
    getattr(schema.BuiltinOptions, name): name
    for name in (
        "AddOptions",
        "ConcatenationOptions",
        "Conv2DOptions",
        "DepthwiseConv2DOptions",
        "FullyConnectedOptions",
        "MulOptions",
        "Pool2DOptions",
        "ReducerOptions",
        "SoftmaxOptions",
    )
}
_MOST_TENSORS, _MOST_AXES = 256, 8
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
    if len(model) < 8 or model[4:8] != b"TFL3":
        raise InputError(
            "not a .tflite file (no TFL3 identifier)",
            where=source,
            value=f"{len(model)} bytes",
            todo=_REWRITE,
        )
    try:
        nodes, ends = _File(model, source).parts()
        nodes, ends, is_float = _without_float_ends(nodes, ends)
    except _MALFORMED as err:
        raise InputError(
            f"not a readable .tflite file ({type(err).__name__}: {err})",
            where=source,
            todo=_REWRITE,
        ) from None
    ops = tuple(READERS[node.kind](node) for node in nodes)
    first, last = (end.activations(f"{source}: model") for end in ends)
    _check_order(ops, first, last, source)
    digest = hashlib.sha256(model).hexdigest()
    return Graph(source, digest, ops, first, last, *is_float)


def _without_float_ends(
    nodes: list[Node], ends: list[RawTensor]
) -> tuple[list[Node], list[RawTensor], list[bool]]:
    """Leave out QUANTIZE behind a float32 input and DEQUANTIZE before a float32 output.

    The tensors between them are the library's input and output. Also returns which end was float.
    """
    first, last = ends
    behind = [n for n in nodes if any(t and t.index == first.index for t in n.inputs)]
    before = [n for n in nodes if any(t.index == last.index for t in n.outputs)]
    drop_first = first.type == FLOAT32 and [n.kind for n in behind] == ["QUANTIZE"]
    drop_last = last.type == FLOAT32 and [n.kind for n in before] == ["DEQUANTIZE"]
    if drop_first and len(behind[0].outputs) == 1:
        first = behind[0].outputs[0]
        nodes = [n for n in nodes if n is not behind[0]]
    if drop_last and before[0].inputs:
        last = before[0].raw(0)
        nodes = [n for n in nodes if n is not before[0]]
    return nodes, [first, last], [drop_first, drop_last]


class _File:
    """The flatbuffer, read field by field.

    Only what the nodes refer to is unpacked, and vectors stay views of the file, so that a damaged
    length costs an error and not all the memory.
    """

    def __init__(self, model: bytes, source: str) -> None:
        self.source = source
        self.model = schema.Model.GetRootAs(model, 0)
        if self.model.SubgraphsLength() != 1:
            raise InputError(
                "model must have one subgraph",
                where=source,
                value=self.model.SubgraphsLength(),
                todo="Export it without control flow and with one signature.",
            )
        self.graph = self.model.Subgraphs(0)

    def parts(self) -> tuple[list[Node], list[RawTensor]]:
        """The nodes, and the model's input and output."""
        graph = self.graph
        nodes = [self._node(i) for i in range(graph.OperatorsLength())]
        ends = [("inputs", graph.InputsAsNumpy()), ("outputs", graph.OutputsAsNumpy())]
        return nodes, [self._end(what, _vector(indices)) for what, indices in ends]

    def _end(self, what: str, indices: NDArray[Any]) -> RawTensor:
        if indices.size != 1:
            raise InputError(
                f"model must have one of its {what}",
                where=self.source,
                value=indices.size,
                todo="Export a model with one input and one output tensor.",
            )
        return self._tensor(int(indices[0]))

    def _node(self, index: int) -> Node:
        raw = self.graph.Operators(index)
        which = _within(raw.OpcodeIndex(), self.model.OperatorCodesLength())
        code = self.model.OperatorCodes(which)
        number = max(int(code.BuiltinCode()), int(code.DeprecatedBuiltinCode()))
        name = _NAMES.get(number, f"operator {number}")
        if name == "CUSTOM" and code.CustomCode():
            name = "custom " + code.CustomCode().decode("ascii", "replace")
        where = f"{self.source}: node {index} ({name})"
        inputs, outputs = _vector(raw.InputsAsNumpy()), _vector(raw.OutputsAsNumpy())
        if name not in READERS or max(inputs.size, outputs.size) > _MOST_TENSORS:
            raise InputError(
                "operator is not supported by the C generator",
                where=where,
                limit=", ".join(READERS),
                todo="Rewrite the layer with these operators and export the model again.",
            )
        return Node(
            index,
            name,
            where,
            [None if i == -1 else self._tensor(int(i)) for i in inputs],
            [self._tensor(int(i)) for i in outputs],
            _options(raw),
        )

    def _tensor(self, index: int) -> RawTensor:
        raw = self.graph.Tensors(_within(index, self.graph.TensorsLength()))
        buffer = self.model.Buffers(_within(raw.Buffer(), self.model.BuffersLength()))
        quantization = raw.Quantization()
        scales, zero_points, axis = _vector(0), _vector(0), 0
        if quantization is not None:
            scales = _vector(quantization.ScaleAsNumpy())
            zero_points = _vector(quantization.ZeroPointAsNumpy())
            axis = int(quantization.QuantizedDimension())
        shape, data = _vector(raw.ShapeAsNumpy()), _vector(buffer.DataAsNumpy())
        if shape.size > _MOST_AXES:
            raise ValueError(f"tensor {index} has {shape.size} axes")
        return RawTensor(
            index=index,
            shape=tuple(int(n) for n in shape),
            type=int(raw.Type()),
            scales=scales.astype(np.float32, copy=False),
            zero_points=zero_points if zero_points.size else np.zeros(scales.size, np.int64),
            axis=axis,
            sparse=raw.Sparsity() is not None,
            data=data if data.size else None,
        )


def _vector(array: Any) -> NDArray[Any]:
    """A vector of the file; the schema classes return 0 for one that is not there."""
    return array if isinstance(array, np.ndarray) else np.zeros(0, np.int64)


def _within(index: int, size: int) -> int:
    """`index`, which must lie in 0..size-1: the accessors do not check."""
    if not 0 <= index < size:
        raise IndexError(f"index {index} outside 0..{size - 1}")
    return int(index)


def _options(raw: Any) -> Any:
    """The operator's options unpacked, or None."""
    table, name = raw.BuiltinOptions(), _OPTIONS.get(raw.BuiltinOptionsType())
    if table is None or name is None:
        return None
    options = getattr(schema, name)()
    options.Init(table.Bytes, table.Pos)
    return getattr(schema, name + "T").InitFromObj(options)


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
