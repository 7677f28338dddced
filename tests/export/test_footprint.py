"""Footprint of hand-made graphs whose figures can be counted on paper."""

import numpy as np
import onnx
from onnx import TensorProto, helper

from export.footprint import footprint


def model(nodes, inputs, outputs, weights=()):
    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes, "g", [info(*i) for i in inputs], [info(*o) for o in outputs],
        [onnx.numpy_helper.from_array(np.zeros(shape, np.float32), n) for n, shape in weights],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_a_chain_keeps_two_neighbours():
    chain = model(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("MatMul", ["b", "v"], ["y"]),
        ],
        [("x", [1, 10])], [("y", [1, 5])], [("w", (10, 100)), ("v", (100, 5))],
    )  # fmt: skip
    found = footprint(chain)
    assert found.weights_int8_bytes == 1000 + 500
    assert found.activation_peak_int8_bytes == 200  # a and b


def test_a_branch_stays_alive_until_it_is_read():
    branch = model(
        [
            helper.make_node("Relu", ["x"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Relu", ["b"], ["c"]),
            helper.make_node("Add", ["a", "c"], ["y"]),
        ],
        [("x", [1, 8])], [("y", [1, 8])],
    )  # fmt: skip
    assert footprint(branch).activation_peak_int8_bytes == 24
