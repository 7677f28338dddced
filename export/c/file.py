"""The .tflite file: its nodes, tensors and options, by the numbers of the schema's fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from export.c.flat import Damaged, Table
from export.c.operators import READERS
from export.c.raw import Node, RawTensor
from targets.errors import InputError

_NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if k.isupper()}
_MOST_NODES, _MOST_TENSORS, _MOST_AXES = 4096, 256, 8

# Options by operator: the union's number, then name -> (field, kind, default).
_ACTIVATION = "fusedActivationFunction"
_WINDOW = {"padding": (0, "b", 0), "strideW": (1, "i", 0), "strideH": (2, "i", 0)}
_POOL = {
    **_WINDOW,
    "filterWidth": (3, "i", 0),
    "filterHeight": (4, "i", 0),
    _ACTIVATION: (5, "b", 0),
}
_OPTIONS: dict[str, tuple[int, dict[str, tuple[int, str, int]]]] = {
    "ADD": (11, {_ACTIVATION: (0, "b", 0), "potScaleInt16": (1, "?", 1)}),
    "AVERAGE_POOL_2D": (5, _POOL),
    "CONCATENATION": (10, {"axis": (0, "i", 0), _ACTIVATION: (1, "b", 0)}),
    "CONV_2D": (
        1,
        {
            **_WINDOW,
            _ACTIVATION: (3, "b", 0),
            "dilationWFactor": (4, "i", 1),
            "dilationHFactor": (5, "i", 1),
        },
    ),
    "DEPTHWISE_CONV_2D": (
        2,
        {
            **_WINDOW,
            "depthMultiplier": (3, "i", 0),
            _ACTIVATION: (4, "b", 0),
            "dilationWFactor": (5, "i", 1),
            "dilationHFactor": (6, "i", 1),
        },
    ),
    "FULLY_CONNECTED": (8, {_ACTIVATION: (0, "b", 0), "weightsFormat": (1, "b", 0)}),
    "MAX_POOL_2D": (5, _POOL),
    "MEAN": (27, {"keepDims": (0, "?", 0)}),
    "MUL": (21, {_ACTIVATION: (0, "b", 0)}),
    "SOFTMAX": (9, {"beta": (0, "f", 0)}),
}


class ModelFile:
    """A model's one subgraph.

    Raises
    ------
    Damaged
        Here and in :meth:`parts`, if the bytes are not those of a model.
    InputError
        If the model is whole but not one that the generator can read.
    """

    def __init__(self, model: bytes, source: str) -> None:
        self.source = source
        root = Table.root(model)
        self.codes, subgraphs, self.buffers = root.tables(1), root.tables(2), root.tables(4)
        if len(subgraphs) != 1:
            raise InputError(
                "model must have one subgraph",
                where=source,
                value=len(subgraphs),
                todo="Export it without control flow and with one signature.",
            )
        self.graph = subgraphs[0]
        self.tensors, self.operators = self.graph.tables(0), self.graph.tables(3)
        self._known: dict[int, RawTensor] = {}

    def parts(self) -> tuple[list[Node], list[RawTensor]]:
        """The nodes, and the model's input and output."""
        if len(self.operators) > _MOST_NODES:
            raise InputError(
                "model has too many nodes",
                where=self.source,
                value=len(self.operators),
                limit=_MOST_NODES,
                todo="Export a smaller model.",
            )
        nodes = [self._node(i) for i in range(len(self.operators))]
        return nodes, [self._end("inputs", 1), self._end("outputs", 2)]

    def _end(self, what: str, field: int) -> RawTensor:
        indices = self.graph.vector(field, "<i4")
        if indices.size != 1:
            raise InputError(
                f"model must have one of its {what}",
                where=self.source,
                value=indices.size,
                todo="Export a model with one input and one output tensor.",
            )
        return self._tensor(int(indices[0]))

    def _node(self, index: int) -> Node:
        raw = self.operators[index]
        code = self.codes[raw.integer(0, "I")]
        number = max(code.integer(3, "i"), code.integer(0, "b"))
        name = _NAMES.get(number, f"operator {number}")
        if name == "CUSTOM":
            name = f"custom {code.text(1)}"
        where = f"{self.source}: node {index} ({name})"
        inputs, outputs = raw.vector(1, "<i4"), raw.vector(2, "<i4")
        if name not in READERS:
            raise InputError(
                "operator is not supported by the C generator",
                where=where,
                limit=", ".join(READERS),
                todo="Rewrite the layer with these operators and export the model again.",
            )
        if max(inputs.size, outputs.size) > _MOST_TENSORS:
            raise InputError(
                "operator has too many inputs or outputs",
                where=where,
                value=max(inputs.size, outputs.size),
                limit=_MOST_TENSORS,
                todo="Do it in several steps.",
            )
        return Node(
            index,
            name,
            where,
            [None if i == -1 else self._tensor(int(i)) for i in inputs],
            [self._tensor(int(i)) for i in outputs],
            _options(raw, name),
        )

    def _tensor(self, index: int) -> RawTensor:
        if index not in self._known:
            self._known[index] = self._read_tensor(index)
        return self._known[index]

    def _read_tensor(self, index: int) -> RawTensor:
        raw = self.tensors[index]
        data = self.buffers[raw.integer(2, "I")].vector(0, "u1")
        shape, quantization = raw.vector(0, "<i4"), raw.table(4)
        scales: NDArray[Any] = np.zeros(0, np.float32)
        zero_points: NDArray[Any] = np.zeros(0, np.int64)
        axis = 0
        if quantization is not None:
            scales = quantization.vector(2, "<f4")
            zero_points = quantization.vector(3, "<i8")
            axis = quantization.integer(6, "i")
        if shape.size > _MOST_AXES:
            raise Damaged(f"tensor {index} has {shape.size} axes")
        return RawTensor(
            index=index,
            shape=tuple(int(n) for n in shape),
            type=raw.integer(1, "b"),
            scales=scales,
            zero_points=zero_points if zero_points.size else np.zeros(scales.size, np.int64),
            axis=axis,
            sparse=raw.has(6),
            data=data if data.size else None,  # type: ignore[arg-type]
        )


def _options(raw: Table, name: str) -> dict[str, float] | None:
    """The operator's options by name; None if it has none, or another operator's."""
    number, fields = _OPTIONS.get(name, (0, {}))
    table = raw.table(4) if raw.integer(3, "B") == number else None
    if table is None:
        return None
    return {
        option: table.real(field, default) if kind == "f" else table.integer(field, kind, default)
        for option, (field, kind, default) in fields.items()
    }
