"""Small ONNX models by hand: faster than tracing, and able to hold what torch would not write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Maker:
    """Chains nodes; each call returns the name of its output."""

    def __init__(self, shape: Sequence[int | str] = (1, 4, 40), seed: int = 0) -> None:
        self.shape, self.rng = shape, np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def const(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def random(self, *shape: int) -> str:
        scale = 1.0 / np.sqrt(max(int(np.prod(shape[1:])), 1))
        return self.const((self.rng.normal(size=shape) * scale).astype(np.float32))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def unsqueeze(self, axis: int = 2) -> str:
        return self.node("Unsqueeze", "eeg", self.const(np.array([axis], np.int64)))

    def conv(
        self, x: str, c_in: int, c_out: int, kernel: tuple[int, int] = (1, 1), **more: Any
    ) -> str:
        weight = self.random(c_out, c_in // more.get("group", 1), *kernel)
        return self.node("Conv", x, weight, self.random(c_out), kernel_shape=kernel, **more)

    def head(self, x: str, features: int, n_out: int = 3) -> str:
        flat = self.node("Flatten", x)
        return self.node("Gemm", flat, self.random(n_out, features), self.random(n_out), transB=1)

    def model(self, output: str, n_out: Sequence[int] = (1, 3)) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "hand",
            [helper.make_tensor_value_info("eeg", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, n_out)],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
