"""Where a tensor lies, as the generated C says it."""

from __future__ import annotations

from export.c.graph import Graph, Tensor
from export.c.plan import Plan

C_TYPES = {
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
}


class Places:
    """The C expression for the address of a tensor.

    `scratch` is the arena as bytes, or as int16 where all activations are; `arena`, of type
    ``void *``, serves the 16-bit tensors of a model of both types.
    """

    def __init__(self, graph: Graph, plan: Plan, arena: str = "arena") -> None:
        self.graph, self.plan, self.arena = graph, plan, arena
        self.type = "int8" if "int8" in graph.types else "int16"

    def __call__(self, tensor: Tensor) -> str:
        """That of `tensor`."""
        if tensor.data is not None:
            return f"constant{tensor.index}"
        root = self.plan.roots[tensor.index]
        if root == self.graph.input.index:
            return "input"
        if root == self.plan.roots[self.graph.output.index]:
            return "output"
        offset = self.plan.offsets[root] // tensor.value_bytes
        if tensor.dtype != self.type:
            return f"({C_TYPES[tensor.dtype]} *){self.arena} + {offset}"
        return f"scratch + {offset}"
