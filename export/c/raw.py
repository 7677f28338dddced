"""Tensors and nodes as the file has them, and the checks that every operator shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.c import graph as g
from targets.errors import InputError

_MOST_ELEMENTS = 2**28  # far beyond any device here, and sums of sizes stay in 32 bits
_ACTIVATIONS = {0: "NONE", 1: "RELU", 3: "RELU6"}
_TYPES = {0: "FLOAT32", 1: "FLOAT16", 2: "INT32", 3: "UINT8", 4: "INT64", 7: "INT16", 9: "INT8"}
FLOAT32, INT32, INT64, INT16, INT8 = 0, 2, 4, 7, 9
_DTYPES = {INT8: "<i1", INT16: "<i2", INT32: "<i4", INT64: "<i8"}


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

    def activations(self, where: str) -> g.Tensor:
        """As a tensor of activations: int8 or int16, static shape, one scale, one zero point."""
        self._check(where, INT8, INT16)
        if self.scales.size != 1 or self.zero_points.size != 1:
            raise InputError(
                f"tensor {self.index} must have one scale and one zero point",
                where=where,
                value=f"{self.scales.size} scales, {self.zero_points.size} zero points",
                todo="Quantise activations per tensor.",
            )
        zero_point = int(self.zero_points[0])
        if self.type == INT16 and zero_point != 0:
            raise InputError(
                f"tensor {self.index} is int16 and has a zero point",
                where=where,
                value=zero_point,
                limit=0,
                todo="Quantise 16-bit activations symmetrically.",
            )
        data = None if self.data is None else self.constant(where, INT8, INT16)
        dtype = "int16" if self.type == INT16 else "int8"
        return g.Tensor(self.index, self.shape, self.scales[0], zero_point, data, dtype)

    def constant(self, where: str, *types: int) -> NDArray[Any]:
        """The content, shaped; refused if the tensor is computed at run time."""
        self._check(where, *types)
        dtype = np.dtype(_DTYPES[self.type])
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
                todo="Quantise the whole model to int8 (weights, activations, input and output), or"
                " its activations to int16.",
            )
        if any(n < 1 for n in self.shape) or prod(self.shape) > _MOST_ELEMENTS:
            raise InputError(
                f"tensor {self.index} has an unusable shape",
                where=where,
                value=self.shape,
                limit="fixed axes of 1 and more, at most 2^28 elements",
                todo="Export the model with a static shape.",
            )
        bad = ~np.isfinite(self.scales) | (self.scales <= 0)
        outside = (self.zero_points < -128) | (self.zero_points > 127)
        if bad.any() or outside.any():
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
    options: Mapping[str, float] | None

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
        return self.raw(position).activations(self.where)

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
        tensor = self.outputs[0].activations(self.where)
        if shape is not None and tensor.shape != shape:
            raise self.fail(
                "output has not the shape that follows from the input",
                "Export the model again with a static shape.",
                tensor.dims,
                "x".join(map(str, shape)),
            )
        return tensor

    def option(self, name: str) -> int:
        """An integer field of the options, which must be there."""
        return int(self.real_option(name))

    def real_option(self, name: str) -> float:
        """As `option`, of a float."""
        if self.options is None:
            raise self.fail(f"option {name} is missing", "Export the model again.")
        return self.options[name]

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
        self, output: g.Tensor, *inputs: g.Tensor, activation: str = "NONE", mixed: bool = False
    ) -> dict[str, Any]:
        """The fields that every :class:`graph.Op` has; types may differ only if `mixed`."""
        types = {tensor.dtype for tensor in (*inputs, output)}
        if len(types) > 1 and not mixed:
            raise self.fail(
                "activations of different types",
                "Put a QUANTIZE between them, or quantise the whole model to one type.",
                " and ".join(sorted(types)),
            )
        return {
            "index": self.index,
            "kind": self.kind,
            "where": self.where,
            "inputs": inputs,
            "output": output,
            "activation": activation,
        }
