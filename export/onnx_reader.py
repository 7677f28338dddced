"""The state of reading one ONNX model: constants, views of its values, the graph so far."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from export import ir
from targets.errors import InputError


@dataclass(frozen=True)
class View:
    """An ONNX value: a tensor of the graph seen under an ONNX (NCHW or flat) shape.

    `time_major`: the model's input as (n_times, n_chans).
    """

    tensor: str
    shape: tuple[int, ...]
    time_major: bool = False


def refuse(node: onnx.NodeProto, what: str, value: object = None, todo: str = "") -> InputError:
    """Build the error for a node that cannot be converted."""
    where = f"node {label(node)}"
    return InputError(f"{node.op_type} {what}", where=where, value=value, todo=todo)


def label(node: onnx.NodeProto) -> str:
    """Name of a node, or of what it makes."""
    return str(node.name or node.output[0])


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Attributes of a node by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


class Reader:
    """Collects tensors and operators while the nodes of a model are handled in order."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        graph = proto.graph
        self.constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        inputs = [i for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InputError(
                "the model must have one input and one output",
                where=graph.name or "ONNX model",
                value=f"{len(inputs)} and {len(graph.output)}",
            )
        self.input, self.final = inputs[0].name, graph.output[0].name
        shape = tuple(d.dim_value for d in inputs[0].type.tensor_type.shape.dim)
        if len(shape) not in (3, 4) or min(shape) < 1 or shape[0] != 1:
            raise InputError(
                "the input shape must be static, (1, n_chans, n_times)",
                where=f"input {self.input}",
                value=shape,
                todo="Export with batch 1 and without dynamic axes.",
            )
        self.views = {self.input: View(self.input, shape)}
        self.tensors: dict[str, ir.Tensor] = {}
        self.ops: list[ir.Op] = []
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses[self.final] += 1
        self.reshapes: Counter[str] = Counter()

    def graph(self) -> ir.Graph:
        """Finish: check the output and return the graph."""
        if not self.ops or self.final not in self.views:
            raise InputError("the model computes nothing", where=f"output {self.final}")
        last = self.views[self.final]
        if sum(n > 1 for n in self.tensors[last.tensor].shape) > 1:
            raise InputError(
                "the output must be one row of logits",
                where=f"output {self.final}",
                value=last.shape,
                limit="(1, n_outputs)",
            )
        if last.tensor != self.final:
            self._rename(last.tensor, self.final)
        return ir.Graph(self.tensors, tuple(self.ops), self.input, self.final).validate()

    def _rename(self, old: str, new: str) -> None:
        """Give the last tensor the model's output name, which only a view of it had."""
        self.tensors[new] = replace(self.tensors.pop(old), name=new)
        for i, op in enumerate(self.ops):
            fields = ("input", "output", "other")
            self.ops[i] = replace(op, **{f: new for f in fields if getattr(op, f, None) == old})

    # What handlers ask

    def constant(self, node: onnx.NodeProto, index: int) -> npt.NDArray[Any] | None:
        """Constant input `index` of a node; None where it is left out."""
        if index >= len(node.input) or not node.input[index]:
            return None
        name = node.input[index]
        if name not in self.constants:
            raise refuse(node, f"needs a constant as input {index}", value=name)
        return self.constants[name]

    def required(self, node: onnx.NodeProto, index: int) -> npt.NDArray[Any]:
        """Constant input `index`, which the operator cannot do without."""
        value = self.constant(node, index)
        if value is None:
            raise refuse(node, f"lacks input {index}")
        return value

    def view(self, node: onnx.NodeProto, index: int = 0) -> View:
        """Input `index` of a node, computed before."""
        name = node.input[index]
        if name not in self.views:
            raise refuse(node, f"cannot take a constant as input {index}", value=name)
        return self.views[name]

    def image(self, node: onnx.NodeProto, index: int = 0) -> ir.Tensor:
        """Input `index` as an NHWC tensor; the graph's input takes its layout here."""
        view = self.view(node, index)
        if len(view.shape) == 4 and not view.time_major:
            _, c, h, w = view.shape
            if view.tensor == self.input and self.input not in self.tensors:
                self.tensors[self.input] = ir.Tensor(self.input, (1, h, w, c), ir.Layout.NHWC)
            if self.tensors[view.tensor].shape == (1, h, w, c):
                return self.tensors[view.tensor]
        raise refuse(
            node,
            "reads a tensor whose axes were reinterpreted",
            value=view.shape,
            todo="Unsqueeze the input once, use Conv2d throughout, flatten only before the head.",
        )

    def sole_producer(self, node: onnx.NodeProto, index: int = 0) -> ir.Op | None:
        """The operator that made input `index`, if nobody else reads it: it may absorb `node`."""
        view = self.views.get(node.input[index])
        if view is None:
            return None
        names = [name for name, other in self.views.items() if other.tensor == view.tensor]
        if sum(self.uses[name] for name in names) - self.reshapes[view.tensor] != 1:
            return None
        return next((op for op in self.ops if op.output == view.tensor), None)

    # What handlers add

    def keep(
        self, name: str, data: npt.NDArray[Any], layout: ir.Layout, *, fresh: bool = True
    ) -> str:
        """Store a constant as float32 and return its name, made unique if `fresh`."""
        data = np.ascontiguousarray(data, np.float32)
        if not np.isfinite(data).all():
            raise InputError("weights are not finite", where=f"constant {name}")
        while fresh and name in self.tensors:
            name += "_"
        self.tensors[name] = ir.Tensor(name, data.shape, layout, data)
        return name

    def add(self, op: ir.Op) -> None:
        """Append `op`; its output becomes a tensor and an ONNX value of that name."""
        shape = ir.output_shape(op, self.tensors)
        if min(shape) < 1:
            raise InputError("window is larger than its input", where=f"node {op.name}")
        self.tensors[op.output] = ir.Tensor(op.output, shape, ir.Layout.NHWC)
        self.ops.append(op)
        self.views[op.output] = View(op.output, (1, shape[3], shape[1], shape[2]))

    def absorb(self, node: onnx.NodeProto, index: int, old: ir.Op, new: ir.Op) -> None:
        """Put `new` in the place of `old`: it also does the work of `node`, under its output name.

        `index` is the input of `node` that `old` made.
        """
        shape, name = self.view(node, index).shape, node.output[0]
        self.ops[self.ops.index(old)] = replace(new, output=name)
        self.tensors[name] = replace(self.tensors.pop(old.output), name=name)
        self.views[name] = View(name, shape)

    def see(self, node: onnx.NodeProto, shape: tuple[int, ...]) -> None:
        """Note that `node` only changes the shape of its input."""
        view = self.view(node)
        self.reshapes[view.tensor] += 1
        self.views[node.output[0]] = replace(view, shape=shape)
