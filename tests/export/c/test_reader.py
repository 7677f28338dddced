"""What the reader refuses, in which words; and that no damaged file brings another error."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from build import T, build, constant, options, pack
from models import chain_model, conv_model

from export.c.generate import generate
from export.c.graph import Add, Broadcast, BroadcastAdd, Conv2D, Softmax
from export.c.reader import read
from targets.errors import InputError

INT8 = T((1, 4, 4, 2), 0.1, 0)


def refused(model: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(model)
    return str(caught.value)


def changed(model: bytes, change) -> bytes:
    """The model after `change(model_t, subgraph_t)`."""
    unpacked = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    change(unpacked, unpacked.subgraphs[0])
    return pack(unpacked)


def test_a_good_model():
    graph = read(conv_model())
    [conv] = graph.ops
    assert isinstance(conv, Conv2D)
    assert (conv.window.kernel, conv.window.stride, conv.window.padding) == ((1, 5), (1, 2), (0, 1))
    assert (conv.activation, conv.macs) == ("RELU6", 10 * 4 * 5 * 3)
    assert conv.where == "model: node 0 (CONV_2D)"
    assert [op.kind for op in read(chain_model()).ops] == [
        "ADD",
        "MAX_POOL_2D",
        "RESHAPE",
        "SOFTMAX",
    ]
    assert isinstance(read(chain_model()).ops[-1], Softmax)


def test_file_name_stands_in_front(tmp_path):
    path = tmp_path / "student.tflite"
    with pytest.raises(InputError, match=r"student\.tflite: model cannot be read"):
        read(path)
    path.write_bytes(b"PK\x03\x04 no model at all")
    with pytest.raises(InputError, match=r"student\.tflite: not a \.tflite file"):
        read(path)


def test_unknown_operator_names_node_operator_and_way_out():
    text = refused(build("TANH", [INT8], T((1, 4, 4, 2), 1 / 128, 0)))
    assert text.startswith("model: node 0 (TANH): operator is not supported")
    assert "CONV_2D" in text
    assert "Rewrite the layer" in text


def test_custom_operator_is_named():
    def change(model, graph):
        code = model.operatorCodes[0]
        code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, 32
        code.customCode = "MyOp"

    assert "node 0 (custom MyOp)" in refused(changed(conv_model(), change))


def test_float_model():
    text = refused(build("RELU", [T((1, 3), dtype="float32")], T((1, 3), dtype="float32")))
    assert "node 0 (RELU): tensor 0 has the wrong type (found FLOAT32, allowed INT8" in text
    assert "Quantise the whole model to int8" in text


@pytest.mark.parametrize("kind", ["ADD", "MUL"])
def test_operands_that_do_not_fit(kind):
    other = constant(np.zeros((1, 1, 1, 3), np.int8), 0.1)
    text = refused(build(kind, [INT8, other], INT8, options(kind.capitalize())))
    assert f"operands of {kind} cannot be broadcast to each other (found 1x4x4x2 and 1x1" in text


def test_broadcast_over_too_many_axes():
    x, other = T((2, 2, 2, 2, 2), 0.1), constant(np.zeros((2, 1, 2, 1, 2), np.int8), 0.1)
    assert "cannot be broadcast" in refused(build("MUL", [x, other], x, options("Mul")))


def test_neighbouring_axes_are_broadcast_as_one():
    other = constant(np.zeros(2, np.int8), 0.1)
    [op] = read(build("ADD", [INT8, other], T(INT8.shape, 0.1), options("Add"))).ops
    assert isinstance(op, BroadcastAdd)
    assert op.layout == Broadcast((16, 2), (2, 1), (0, 1))
    [op] = read(build("ADD", [INT8, INT8], T(INT8.shape, 0.1), options("Add"))).ops
    assert isinstance(op, Add)


@pytest.mark.parametrize("axes", [[1, 4], [-5], [2**31 - 1, 1]])
def test_mean_over_axes_that_are_not_there(axes):
    table = options("Reducer", keepDims=True)
    model = build("MEAN", [INT8, constant(np.array(axes, np.int32))], INT8, table)
    assert "node 0 (MEAN): axes of MEAN are missing or not those of its input" in refused(model)


def test_mean_over_scattered_axes():
    x, y = T((2,) * 6, 0.1), T((2,) * 3, 0.1)
    axes = constant(np.array([1, 3, 5], np.int32))
    text = refused(build("MEAN", [x, axes], y, options("Reducer", keepDims=False)))
    assert "too scattered" in text


@pytest.mark.parametrize(
    ("other", "change", "text"),
    [
        (T((1, 4, 4, 2), 0.2, 0), {}, "must have one scale and zero point"),
        (T((1, 4, 4, 2), 0.1, 1), {}, "must have one scale and zero point"),
        (T((1, 4, 3, 2), 0.1, 0), {}, "inputs do not fit each other along the axis"),
        (T((4, 4, 2), 0.1, 0), {}, "inputs do not fit each other along the axis"),
        (T((1, 4, 4, 2), 0.1, 0), {"axis": 4}, "along axis 4"),
        (T((1, 4, 4, 2), 0.1, 0), {"fusedActivationFunction": 1}, "or an activation is fused"),
        (T((1, 4, 4, 5), 0.1, 0), {}, "output has not the shape"),
    ],
)
def test_concatenation_refusals(other, change, text):
    values = constant(np.zeros(other.shape, np.int8), other.scale, other.zero_point)
    table = options("Concatenation", **{"axis": 3, **change})
    model = build("CONCATENATION", [INT8, values], T((1, 4, 4, 4), 0.1, 0), table)
    assert text in refused(model)


def test_logistic_has_one_output_quantisation():
    assert "scale 1/256" in refused(build("LOGISTIC", [INT8], T(INT8.shape, 1 / 255, -128)))


@pytest.mark.parametrize("kind", ["LOGISTIC", "SOFTMAX"])
def test_int16_outputs_that_are_refused(kind):
    x = T((1, 8), 0.01, dtype="int16")
    table = options("Softmax", beta=1.0) if kind == "SOFTMAX" else None
    text = refused(build(kind, [x], T((1, 8), 1 / 256, dtype="int16"), table))
    assert f"node 0 ({kind}): " in text


def test_int16_refusals():
    x, powers = T((1, 8), 0.01, dtype="int16"), T((1, 8), 0.25, dtype="int16")
    crooked = T((1, 8), 0.01, 3, dtype="int16")
    assert "is int16 and has a zero point (found 3, allowed 0)" in refused(
        build("RELU", [crooked], x)
    )
    assert "of different types (found int16 and int8)" in refused(
        build("RELU", [x], T((1, 8), 0.01))
    )
    out = T((1, 8), 0.5, dtype="int16")
    assert "scales that are powers of two" in refused(
        build("ADD", [powers, powers], out, options("Add"))
    )
    weights = constant(np.ones((4, 8), np.int8), 0.1, 5)
    table = options("FullyConnected")
    out = T((1, 4), 0.5, dtype="int16")
    assert "weights must have zero point 0" in refused(
        build("FULLY_CONNECTED", [x, weights, None], out, table)
    )
    bias = constant(np.zeros(4, np.int32), 0.1)
    assert "tensor 2 has the wrong type (found INT32, allowed INT64)" in refused(
        build("FULLY_CONNECTED", [x, constant(np.ones((4, 8), np.int8), 0.1), bias], out, table)
    )


def test_int16_sums_beyond_the_reference_are_refused(tmp_path):
    x, out = T((1, 8), 0.01, dtype="int16"), T((1, 4), 0.5, dtype="int16")
    weights = constant(np.ones((4, 8), np.int8), 0.1)
    for least in (-(2**47), -(2**63)):
        bias = constant(np.full(4, least, np.int64), 0.001)
        model = build("FULLY_CONNECTED", [x, weights, bias], out, options("FullyConnected"))
        with pytest.raises(InputError, match="a sum may reach"):
            generate(model, tmp_path / "c")


def test_dequantize_inside():
    out = T(INT8.shape, dtype="float32")
    model = build("DEQUANTIZE", [INT8], out, options("Dequantize"))

    def more(model_t, graph):
        graph.operators.append(graph.operators[0])

    assert read(model).float_output
    assert "DEQUANTIZE is supported only as the model's last" in refused(changed(model, more))


def _conv_with(change) -> str:
    return refused(changed(conv_model(), change))


def _set(tensor: int, field: str, value: object):
    return lambda model, graph: setattr(graph.tensors[tensor], field, value)


def _quantization(tensor: int, field: str, value: object):
    return lambda model, graph: setattr(graph.tensors[tensor].quantization, field, value)


def _option(field: str, value: int):
    return lambda model, graph: setattr(graph.operators[0].builtinOptions, field, value)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            _set(0, "shape", [2, 1, 20, 3]),
            "input must be one image (found 2x1x20x3, allowed 1xHxWxC",
        ),
        (_set(0, "shape", [1, 1, 20, 6]), "grouped convolutions are not supported"),
        (_set(0, "shape", [1, 1, 0, 3]), "tensor 0 has an unusable shape"),
        (_set(0, "shape", [1, 1, -1, 3]), "tensor 0 has an unusable shape"),
        (_set(3, "shape", [1, 1, 11, 4]), "output has not the shape that follows"),
        (_quantization(0, "scale", [float("nan")]), "tensor 0 has an unusable scale or zero point"),
        (_quantization(0, "scale", [0.0]), "tensor 0 has an unusable scale or zero point"),
        (_quantization(0, "zeroPoint", [128]), "tensor 0 has an unusable scale or zero point"),
        (_quantization(0, "scale", [0.1, 0.1]), "tensor 0 must have one scale and one zero point"),
        (_quantization(1, "quantizedDimension", 3), "weights must have one scale, or one for each"),
        (_quantization(1, "zeroPoint", [0, 0, 1, 0]), "weights must have zero point 0"),
        (_set(1, "buffer", 0), "tensor 1 must be a constant of 60 elements (found no data)"),
        (_set(2, "shape", [3]), "tensor 2 must be a constant of 3 elements (found 16 bytes)"),
        (_set(1, "buffer", 99), "not a readable .tflite file (index 99 is outside 0..2)"),
        (_option("dilationHFactor", 2**15 + 1), "stride, kernel or dilation is too large"),
        (_set(0, "shape", [1, 2**14, 2**14, 3]), "tensor 0 has an unusable shape"),
        (
            lambda m, g: setattr(g.operators[0], "inputs", [0] * 257),
            "operator has too many inputs or outputs (found 257, allowed 256)",
        ),
        (
            lambda m, g: setattr(g.operators[0], "builtinOptionsType", 5),
            "option dilationHFactor is missing",
        ),
        (
            lambda m, g: setattr(g, "operators", g.operators * 4097),
            "model has too many nodes (found 4097, allowed 4096)",
        ),
        (_option("strideW", 0), "stride, kernel, dilation or padding is invalid"),
        (_option("fusedActivationFunction", 4), "fused activation is not supported (found 4"),
        (lambda m, g: setattr(g.operators[0], "inputs", [0]), "input 1 is missing"),
        (
            lambda m, g: setattr(g, "outputs", [0, 3]),
            "model must have one of its outputs (found 2)",
        ),
        (lambda m, g: setattr(g, "operators", []), "output is not computed from its input"),
        (lambda m, g: g.operators.append(g.operators[0]), "tensor 3 is written twice"),
        (lambda m, g: setattr(g, "inputs", [3]), "tensor 0 is read before it is computed"),
    ],
)
def test_refusals(change, text):
    message = _conv_with(change)
    assert text in message
    assert message.endswith(".")


def test_pooling_sums_beyond_32_bits():
    x, table = T((1, 4096, 4096, 1), 0.1, 0), options("Pool2D", strideH=1, strideW=1)
    table.filterHeight = table.filterWidth = 4096
    text = refused(build("AVERAGE_POOL_2D", [x], x, table))
    assert "pooling window is too large (found 16777216)" in text


def test_arena_beyond_any_address(tmp_path):
    """Each tensor is small enough, but ten wait for one another; nothing is allocated for it."""
    x = T((2**28,), 0.1, 0)
    model = build("ADD", [x, x], T(x.shape, 0.2, 0), options("Add"))

    def longer(_model, graph):
        def append(inputs: list[int]) -> int:
            graph.tensors.append(copy.copy(graph.tensors[1]))
            node = copy.copy(graph.operators[0])
            node.inputs, node.outputs = inputs, [len(graph.tensors) - 1]
            graph.operators.append(node)
            return len(graph.tensors) - 1

        waiting = [append([0, 0]) for _ in range(10)]
        total = 1
        for index in waiting:
            total = append([total, index])
        graph.outputs = [total]

    with pytest.raises(InputError, match="model needs too much memory"):
        generate(changed(model, longer), tmp_path / "c")


def test_sums_beyond_32_bits_are_refused(tmp_path):
    def change(model, graph):
        most = np.full(4, 2**31 - 1, np.int32)
        model.buffers[graph.tensors[2].buffer].data = most.view(np.uint8)

    with pytest.raises(InputError, match=r"node 0 \(CONV_2D\): layer cannot be computed in"):
        generate(changed(conv_model(), change), tmp_path / "c")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("make", [conv_model, chain_model])
def test_every_truncation_is_an_input_error(make, tmp_path):
    model = make()
    for length in range(0, len(model), 7):
        with pytest.raises(InputError):
            generate(model[:length], tmp_path / "c")


@pytest.mark.parametrize("make", [conv_model, chain_model])
def test_mutations_bring_no_other_error(make, tmp_path):
    """Random bytes and words overwritten: generated, or refused with InputError."""
    rng, model, refusals = random.Random(2024), make(), 0
    for _ in range(400):
        damaged = bytearray(model)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(damaged) - 4)
            if rng.random() < 0.5:
                damaged[at] = rng.randrange(256)
            else:
                word = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, rng.getrandbits(32)])
                damaged[at : at + 4] = word.to_bytes(4, "little")
        try:
            generate(bytes(damaged), tmp_path / "c")
        except InputError:
            refusals += 1
    assert 50 < refusals < 400
