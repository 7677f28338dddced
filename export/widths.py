"""Which activations have 16 bits: Requantise operators go where 8 and 16 bits meet.

A 16-bit operator has 16-bit activations on all sides and int8 weights, TFLite's "int16x8".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from export import ir
from targets.errors import InputError

ALL = "all"


@dataclass(frozen=True, eq=False)
class Widened:
    """A graph with Requantise operators; `bits` and `origin` hold every activation by name.

    `origin` is the tensor of the graph before whose real values it carries.
    """

    graph: ir.Graph
    bits: Mapping[str, int]
    origin: Mapping[str, str]


def widen(graph: ir.Graph, wide: Collection[str] | str = ()) -> Widened:
    """Give the operators `wide` 16-bit activations.

    Parameters
    ----------
    wide : collection of str, or "all"
        Names of operators. Input and output stay 8-bit, except with "all".

    Raises
    ------
    InputError
        An operator that the graph has not, or one that no target has in 16 bits.
    """
    names = _checked(graph, wide)
    # Zeros are added in the width of what reads them, lest a map be narrowed and widened again.
    names |= {
        op.name
        for op in graph.ops
        if isinstance(op, ir.Pad)
        and any(other.name in names for other in graph.ops if op.output in other.inputs)
    }
    joints = _Joints(graph, 16 if wide == ALL else 8)
    for op in graph.ops:
        joints.append(op, 16 if op.name in names else 8)
    return Widened(joints.finish(), joints.bits, joints.origin)


def _copy(name: str, bits: int) -> str:
    return f"{name}/int{bits}"


def _checked(graph: ir.Graph, wide: Collection[str] | str) -> frozenset[str]:
    known = {op.name: op for op in graph.ops}
    if isinstance(wide, str) and wide != ALL:
        wide = (wide,)
    names = frozenset(known if wide == ALL else wide)
    absent = sorted(names - set(known))
    if absent:
        raise InputError(
            "the graph has no such operator",
            where="operators in 16 bits",
            value=", ".join(absent),
            limit=", ".join(known),
            todo='Name operators of the graph, or "all".',
        )
    for name in (op.name for op in graph.ops if op.name in names):
        if isinstance(known[name], ir.Elu):
            raise InputError(
                "ELU does not exist in 16 bits: TFLite and TensorFlow Lite Micro have it in int8 "
                "only, as a table of 256 values",
                where=f"operator {name}",
                todo="Leave it in 8 bits, or train with ReLU.",
            )
    return names


class _Joints:
    """Operators so far; the copy of a tensor in the other width is made once, at its first use."""

    def __init__(self, graph: ir.Graph, ends: int) -> None:
        self.graph, self.ends = graph, ends
        self.tensors = dict(graph.tensors)
        self.ops: list[ir.Op] = []
        self.bits = {graph.input: ends}
        self.origin = {graph.input: graph.input}

    def append(self, op: ir.Op, bits: int) -> None:
        """Add `op`, whose activations all have `bits`."""
        changes = {"input": self._in_width(op.input, bits)}
        if isinstance(op, ir.Add):
            changes["other"] = self._in_width(op.other, bits)
        self.bits[op.output], self.origin[op.output] = bits, op.output
        self.ops.append(replace(op, **changes))

    def _in_width(self, name: str, bits: int) -> str:
        if self.bits[name] == bits:
            return name
        copy = _copy(name, bits)
        if copy not in self.bits:
            self._requantise(name, copy, bits)
        return copy

    def _requantise(self, source: str, target: str, bits: int) -> None:
        self.tensors[target] = replace(self.tensors[source], name=target)
        self.bits[target], self.origin[target] = bits, self.origin[source]
        self.ops.append(ir.Requantise(f"{source}/to_int{bits}", source, target))

    def finish(self) -> ir.Graph:
        """The graph; its output keeps its name and has the width of the ends."""
        output = self.graph.output
        if self.bits[output] != self.ends:
            inner = _copy(output, self.bits[output])
            self._rename(output, inner)
            self._requantise(inner, output, self.ends)
        return ir.Graph(self.tensors, tuple(self.ops), self.graph.input, output).validate()

    def _rename(self, old: str, new: str) -> None:
        self.tensors[new] = replace(self.tensors[old], name=new)
        self.bits[new], self.origin[new] = self.bits[old], old
        for i, op in enumerate(self.ops):
            fields = ("input", "output", "other")
            self.ops[i] = replace(op, **{f: new for f in fields if getattr(op, f, None) == old})
