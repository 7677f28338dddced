"""Every offset, index and size of a .tflite file, checked before a runtime follows one of them."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from export.c.flat import Damaged, Table
from export.untrusted import Limits
from targets.errors import InputError

_IDENTIFIER = b"TFL3"
# TensorType of the schema -> bits of an element; strings, resources and variants are not read.
_BITS = {
    0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128, 12: 64, 15: 32,
    16: 16, 17: 4,
}  # fmt: skip
# These call other graphs or keep state beyond one inference.
_CONTROL = ("CALL", "CALL_ONCE", "IF", "WHILE", "CUSTOM", "DELEGATE", "VAR_HANDLE", "READ_VARIABLE",
            "ASSIGN_VARIABLE", "PLACEHOLDER_FOR_GREATER_OP_CODES")  # fmt: skip
_AGAIN = "Export the model again; the file is damaged or hostile."


def check_tflite(data: bytes, where: Path, limits: Limits) -> None:
    """Refuse a file that leads out of itself, lies about sizes, or is no sound graph.

    Raises
    ------
    InputError
        The first fault, with file, node or tensor, value, limit and remedy.
    """
    if data[4:8] != _IDENTIFIER:
        raise InputError("file is not a TFLite model", where=where, value=repr(data[4:8]),
                         limit=_IDENTIFIER.decode())  # fmt: skip
    try:
        _Model(data, where, limits).check()
    except Damaged as err:
        raise InputError(f"file is damaged: {err}", where=where, todo=_AGAIN) from None


class _Model:
    """One file; fields are numbered as schema.fbs of TensorFlow Lite declares them."""

    def __init__(self, data: bytes, where: Path, limits: Limits) -> None:
        self.where, self.limits = where, limits
        self.root = Table.root(data)
        self.codes = self._some(self.root, 1, "operator codes", limits.nodes)
        self.graphs = self._some(self.root, 2, "graphs", 1)
        self.buffers = self._some(self.root, 4, "buffers", 5 * limits.nodes)
        if len(self.graphs) != 1:
            raise InputError("model must have one graph", where=where, value=0)
        graph = self.graphs[0]
        self.tensors = self._some(graph, 0, "tensors", 5 * limits.nodes)
        self.operators = self._some(graph, 3, "operators", limits.nodes)
        self.names = _operator_names()

    def check(self) -> None:
        """Everything in the file."""
        sizes = [self._buffer(i) for i in range(len(self.buffers))]
        constant, total = set(), 0
        for index in range(len(self.tensors)):
            has_data, elements = self._tensor(index, sizes)
            total += 0 if has_data else elements
            if has_data:
                constant.add(index)
        most = 4 * self.limits.elements
        if total > most:
            raise InputError("tensors take more memory than a model may", where=self.where,
                             value=f"{total} elements", limit=most, todo=_AGAIN)  # fmt: skip
        graph = self.graphs[0]
        inputs = self._indices(graph, 1, "graph inputs", str(self.where))
        outputs = self._indices(graph, 2, "graph outputs", str(self.where))
        if len(set(inputs)) < len(inputs) or constant & set(inputs):
            raise InputError("graph inputs stand there twice or hold data", where=self.where,
                             value=inputs[:8], todo=_AGAIN)  # fmt: skip
        known = self._order(constant | set(inputs))
        missing = sorted(set(outputs) - known)
        if missing or not outputs:
            raise InputError("output is made by no node", where=self.where,
                             value=missing[:8] or "no output", todo=_AGAIN)  # fmt: skip
        self._extras()

    def _order(self, known: set[int]) -> set[int]:
        """Each operator reads what is known before it; returns all tensors that are made."""
        fixed = set(known)
        made_by_any = {i for k in range(len(self.operators)) for i in self._ends(k)[1]}
        for k in range(len(self.operators)):
            where = f"{self.where}: node {k} ({self._kind(k)})"
            inputs, outputs = self._ends(k)
            for index in inputs:
                variable = index >= 0 and self.tensors[index].integer(5, "?")
                if index >= 0 and index not in known and not variable:
                    maker = "itself or a later node" if index in made_by_any else "nothing"
                    raise InputError(f"reads tensor {index}, which {maker} makes", where=where,
                                     todo=_AGAIN)  # fmt: skip
            for index in outputs:
                if index in known:
                    what = "overwrites input or constant" if index in fixed else "makes again"
                    raise InputError(f"{what} tensor {index}", where=where, todo=_AGAIN)
                known.add(index)
        return known

    def _kind(self, k: int) -> str:
        """The operator's name; refuses an unknown one, a custom one, and control flow."""
        number = self.operators[k].integer(0, "I")
        where = f"{self.where}: node {k}"
        if number >= len(self.codes):
            raise InputError("operator's code is outside the table", where=where, value=number,
                             limit=f"0 to {len(self.codes) - 1}", todo=_AGAIN)  # fmt: skip
        code = self.codes[number]
        builtin = max(code.integer(3, "i"), code.integer(0, "b"))
        name = self.names.get(builtin, f"number {builtin}")
        if builtin not in self.names or name in _CONTROL:
            raise InputError(
                "operator is not one that a model of one graph may have", where=where,
                value=f"{name} {code.text(1)[:60]!r}" if name == "CUSTOM" else name,
                todo="Export the model without custom operators and control flow.",
            )  # fmt: skip
        operator = self.operators[k]
        if operator.integer(9, "Q") or operator.integer(10, "Q"):
            raise InputError("operator's options lie outside the file", where=where, todo=_AGAIN)
        for options in (4, 12):
            operator.table(options)  # in bounds, or Damaged
        operator.vector(5, "u1")
        return name

    def _ends(self, k: int) -> tuple[list[int], list[int]]:
        where = f"{self.where}: node {k}"
        self._indices(self.operators[k], 8, "intermediates", where)
        inputs = self._indices(self.operators[k], 1, "inputs", where, least=-1)
        return inputs, self._indices(self.operators[k], 2, "outputs", where)

    def _buffer(self, index: int) -> int:
        """Bytes of a buffer, which lie inside the flatbuffer."""
        raw = self.buffers[index]
        if raw.integer(1, "Q") > 1 or raw.integer(2, "Q") > 1:
            raise InputError(
                "buffer's data lie outside the flatbuffer", where=f"{self.where}: buffer {index}",
                value=f"offset {raw.integer(1, 'Q')}, {raw.integer(2, 'Q')} bytes",
                todo="Export a model below 2 GiB.",
            )  # fmt: skip
        return int(raw.vector(0, "u1").size)

    def _tensor(self, index: int, sizes: list[int]) -> tuple[bool, int]:
        """Whether a tensor has data, which are as long as its shape says; its elements."""
        raw, where = self.tensors[index], f"{self.where}: tensor {index}"
        raw.text(3)
        if raw.vector(0, "<i4").size > self.limits.axes:
            raise Damaged(f"tensor {index} has {raw.vector(0, '<i4').size} axes")
        shape: list[int] = raw.vector(0, "<i4").tolist()
        count, limits = prod(shape), self.limits
        if any(n < 0 for n in shape) or count > limits.elements:
            raise InputError(
                "tensor has an unusable shape", where=where, value=shape,
                limit=f"no axis negative, {limits.elements} elements",
                todo="Export the model again, with static shapes.",
            )  # fmt: skip
        kind = raw.integer(1, "b")
        if kind not in _BITS or raw.has(6) or len(raw.tables(9)):
            found = "sparse" if raw.has(6) else f"type {kind}"
            raise InputError("tensor has a type that is not read", where=where, value=found,
                             todo=_AGAIN)  # fmt: skip
        number = raw.integer(2, "I")
        if number >= len(sizes):
            raise InputError("tensor's buffer is outside the table", where=where, value=number,
                             limit=f"0 to {len(sizes) - 1}", todo=_AGAIN)  # fmt: skip
        expected = -(-count * _BITS[kind] // 8)
        if sizes[number] not in (0, expected):
            raise InputError("tensor's shape disagrees with its data", where=where,
                             value=f"{sizes[number]} bytes", limit=f"{expected} for {shape}",
                             todo=_AGAIN)  # fmt: skip
        self._quantisation(raw, shape, where)
        return sizes[number] > 0, count

    def _quantisation(self, raw: Table, shape: list[int], where: str) -> None:
        found = raw.table(4)
        if found is None:
            return
        scales, zeros = found.vector(2, "<f4"), found.vector(3, "<i8")
        axis = found.integer(6, "i")
        per_axis = shape[axis] if 0 <= axis < len(shape) else -1
        usable = scales.size in (0, 1, per_axis) and zeros.size in (0, 1, scales.size)
        finite = bool(np.isfinite(np.asarray(scales, np.float32)).all())
        if not usable or not finite or found.integer(4, "B"):
            raise InputError(
                "tensor's quantisation is unusable", where=where,
                value=f"{scales.size} scales, {zeros.size} zero points, axis {axis}",
                limit=f"1 or one a channel of {shape}, finite", todo=_AGAIN,
            )  # fmt: skip

    def _extras(self) -> None:
        """Signatures and metadata, whose indices the runtimes follow."""
        for signature in self._some(self.root, 7, "signatures", 16):
            if signature.integer(4, "I"):
                raise InputError("signature is of another graph", where=self.where,
                                 value=signature.integer(4, "I"), limit=0)  # fmt: skip
            for field in (0, 1):
                for entry in self._some(signature, field, "signature entries", self.limits.nodes):
                    entry.text(0)
                    self._in_range(entry.integer(1, "I"), len(self.tensors), "signature's tensor")
        for entry in self._some(self.root, 6, "metadata", 1024):
            entry.text(0)
            self._in_range(entry.integer(1, "I"), len(self.buffers), "metadata's buffer")

    def _in_range(self, index: int, count: int, what: str) -> None:
        if index >= count:
            raise InputError(f"{what} is outside the table", where=self.where, value=index,
                             limit=f"0 to {count - 1}", todo=_AGAIN)  # fmt: skip

    def _indices(
        self, table: Table, field: int, what: str, where: str, least: int = 0
    ) -> list[int]:
        found: Any = table.vector(field, "<i4")
        if found.size > self.limits.nodes:
            raise InputError(f"too many {what}", where=where, value=found.size,
                             limit=self.limits.nodes)  # fmt: skip
        indices: list[int] = found.tolist()
        wrong = [i for i in indices if not least <= i < len(self.tensors)]
        if wrong:
            raise InputError(f"{what}: tensor is outside the table", where=where, value=wrong[0],
                             limit=f"0 to {len(self.tensors) - 1}", todo=_AGAIN)  # fmt: skip
        return indices

    def _some(self, table: Table, field: int, what: str, most: int) -> list[Table]:
        found = table.tables(field)
        if len(found) > most:
            raise InputError(f"too many {what}", where=self.where, value=len(found), limit=most,
                             todo="Export a smaller model, of one graph.")  # fmt: skip
        return [found[i] for i in range(len(found))]


def _operator_names() -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {v: k for k, v in vars(schema.BuiltinOperator).items() if k.isupper()}
