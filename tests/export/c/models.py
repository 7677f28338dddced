"""The reference models, if this machine has them, and small models made here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from build import T, build, constant, options, pack

REFERENCE = Path(os.environ.get("DLINK_REFERENCE", "../shared/reference"))
NAMES = ("eeg_student.int8", "eeg_spatial_first.int8", "kws", "ad", "ic")
NAMES_S16 = ("eeg_student.int16x8",)


def reference_model(name: str) -> Path:
    path = REFERENCE / f"{name}.tflite"
    if not path.is_file():
        pytest.skip("no data: set DLINK_REFERENCE to the folder of reference models")
    return path


def conv_model(seed: int = 0) -> bytes:
    """1x1x20x3 -> CONV_2D 1x5 SAME, RELU6 -> 1x1x10x4."""
    rng = np.random.default_rng(seed)
    x, y = T((1, 1, 20, 3), 0.05, -7), T((1, 1, 10, 4), 0.03, -128)
    weights = constant(rng.integers(-127, 128, (4, 1, 5, 3), dtype=np.int8), [0.01] * 4)
    bias = constant(rng.integers(-500, 500, 4, dtype=np.int32), [0.0005] * 4)
    table = options("Conv2D", padding=0, strideH=1, strideW=2, fusedActivationFunction=3)
    return build("CONV_2D", [x, weights, bias], y, table)


def chain_model_s16() -> bytes:
    """int16: 1x1x20x3 -> CONV_2D 1x5 SAME, RELU6 -> MAX_POOL_2D -> 1x1x5x4."""
    rng = np.random.default_rng(3)
    x, y = T((1, 1, 20, 3), 2**-11, dtype="int16"), T((1, 1, 10, 4), 2**-12, dtype="int16")
    weights = constant(rng.integers(-127, 128, (4, 1, 5, 3), dtype=np.int8), [0.01] * 4)
    bias = constant(rng.integers(-500, 500, 4, dtype=np.int64), [0.01 * 2**-11] * 4)
    table = options("Conv2D", padding=0, strideH=1, strideW=2, fusedActivationFunction=3)
    model = _unpack(build("CONV_2D", [x, weights, bias], y, table))
    pooled = _tensor(model, [1, 1, 5, 4], 2**-12, 0, 7)
    table = options("Pool2D", padding=1, strideH=1, strideW=2, filterHeight=1, filterWidth=2)
    _node(model, "MAX_POOL_2D", int(model.subgraphs[0].outputs[0]), pooled, table)
    model.subgraphs[0].outputs = [pooled]
    return pack(model)


def branches_model() -> bytes:
    """RELU and RELU6 of one input, and their sum: two tensors meet that no window made."""
    model = _unpack(build("RELU", [T((1, 6, 8, 3), 0.05, 3)], T((1, 6, 8, 3), 0.04, -90)))
    graph = model.subgraphs[0]
    other, total = (_tensor(model, [1, 6, 8, 3], scale, -100) for scale in (0.03, 0.08))
    _node(model, "RELU6", 0, other)
    _node(model, "ADD", 1, total, options("Add"))
    graph.operators[-1].inputs = [1, other]
    graph.outputs = [total]
    return pack(model)


def residual_model() -> bytes:
    """Two 3x3 convolutions and the sum of their result and the input."""
    rng = np.random.default_rng(4)
    x, y = T((1, 6, 8, 3), 0.05, 3), T((1, 6, 8, 3), 0.1, -4)
    weights = constant(rng.integers(-127, 128, (3, 3, 3, 3), dtype=np.int8), 0.01)
    bias = constant(rng.integers(-500, 500, 3, dtype=np.int32), 0.0005)
    table = options("Conv2D", padding=0, strideH=1, strideW=1)
    model = _unpack(build("CONV_2D", [x, weights, bias], y, table))
    graph = model.subgraphs[0]
    made = int(graph.outputs[0])
    again, total = (_tensor(model, [1, 6, 8, 3], scale, 5) for scale in (0.2, 0.15))
    _node(model, "CONV_2D", made, again, table)
    graph.operators[-1].inputs = [made, *graph.operators[0].inputs[1:]]
    _node(model, "ADD", again, total, options("Add"))
    graph.operators[-1].inputs = [again, int(graph.inputs[0])]
    graph.outputs = [total]
    return pack(model)


def constant_branch_model() -> bytes:
    """A sum of the input and of a convolution of a constant."""
    rng = np.random.default_rng(5)
    source = constant(rng.integers(-128, 128, (1, 6, 8, 3), dtype=np.int8), 0.05, 3)
    weights = constant(rng.integers(-127, 128, (3, 1, 1, 3), dtype=np.int8), 0.01)
    bias = constant(rng.integers(-500, 500, 3, dtype=np.int32), 0.0005)
    table = options("Conv2D", padding=1, strideH=1, strideW=1)
    model = _unpack(build("CONV_2D", [source, weights, bias], T((1, 6, 8, 3), 0.05, 0), table))
    graph = model.subgraphs[0]
    first, total = (_tensor(model, [1, 6, 8, 3], scale, -10) for scale in (0.03, 0.08))
    _node(model, "ADD", first, total, options("Add"))
    graph.operators[-1].inputs = [first, int(graph.outputs[0])]
    graph.inputs, graph.outputs = [first], [total]
    return pack(model)


def _unpack(model: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def _tensor(model: Any, shape: list[int], scale: float, zero_point: int, kind: int = 9) -> int:
    """A new tensor's index; `kind` is 9 for int8, 7 for int16."""
    graph, new = model.subgraphs[0], schema.TensorT()
    new.shape, new.type, new.quantization = shape, kind, schema.QuantizationParametersT()
    new.quantization.scale, new.quantization.zeroPoint = [scale], [zero_point]
    graph.tensors.append(new)
    return len(graph.tensors) - 1


def _node(model: Any, op: str, source: int, target: int, table: object = None) -> None:
    """Append an operator with one input."""
    code, new = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, op)
    code.version = 3 if op == "MAX_POOL_2D" else 1
    model.operatorCodes.append(code)
    new.opcodeIndex, new.inputs, new.outputs = len(model.operatorCodes) - 1, [source], [target]
    if table is not None:
        new.builtinOptions = table
        new.builtinOptionsType = getattr(schema.BuiltinOptions, type(table).__name__[:-1])
    model.subgraphs[0].operators.append(new)


def chain_model() -> bytes:
    """Add to itself, max pool, reshape, softmax: aliases, one tensor read twice, no weights."""
    model = _unpack(_add_model())
    added = int(model.subgraphs[0].outputs[0])
    pooled = _tensor(model, [1, 1, 6, 3], 0.1, 4)
    flat = _tensor(model, [1, 18], 0.1, 4)
    out = _tensor(model, [1, 18], 1 / 256, -128)
    table = options("Pool2D", padding=1, strideH=1, strideW=2, filterHeight=1, filterWidth=2)
    _node(model, "MAX_POOL_2D", added, pooled, table)
    _node(model, "RESHAPE", pooled, flat, options("Reshape", newShape=[1, 18]))
    _node(model, "SOFTMAX", flat, out, options("Softmax", beta=1.0))
    model.subgraphs[0].outputs = [out]
    return pack(model)


def float_ends_model() -> bytes:
    """float32 -> QUANTIZE -> the convolution of `conv_model` -> DEQUANTIZE -> float32."""
    model = _unpack(conv_model())
    graph = model.subgraphs[0]
    ends = [(int(graph.inputs[0]), "QUANTIZE"), (int(graph.outputs[0]), "DEQUANTIZE")]
    for inner, kind in ends:
        code, node, tensor = schema.OperatorCodeT(), schema.OperatorT(), schema.TensorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 2
        model.operatorCodes.append(code)
        tensor.shape, tensor.type = graph.tensors[inner].shape, 0
        graph.tensors.append(tensor)
        outer, node.opcodeIndex = len(graph.tensors) - 1, len(model.operatorCodes) - 1
        if kind == "QUANTIZE":
            node.inputs, node.outputs, graph.inputs = [outer], [inner], [outer]
            graph.operators.insert(0, node)
        else:
            node.inputs, node.outputs, graph.outputs = [inner], [outer], [outer]
            graph.operators.append(node)
    return pack(model)


def _add_model() -> bytes:
    x = T((1, 1, 12, 3), 0.07, -3)
    return build("ADD", [x, x], T((1, 1, 12, 3), 0.1, 4), options("Add"))
