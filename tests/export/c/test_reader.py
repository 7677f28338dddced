"""What the reader refuses, in which words; and that no damaged file brings another error."""

from __future__ import annotations

import random

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from build import T, build, constant, options, pack
from models import chain_model, conv_model

from export.c.generate import generate
from export.c.graph import Conv2D, Softmax
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
    text = refused(build("LOGISTIC", [INT8], T((1, 4, 4, 2), 1 / 256, -128)))
    assert text.startswith("model: node 0 (LOGISTIC): operator is not supported")
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
    assert "node 0 (RELU): tensor 0 has the wrong type (found FLOAT32, allowed INT8)" in text
    assert "Quantise the whole model to int8" in text


def test_broadcast_add():
    other = constant(np.zeros((1, 1, 1, 2), np.int8), 0.1)
    text = refused(build("ADD", [INT8, other], INT8, options("Add")))
    assert (
        "ADD of different shapes (broadcast) is not supported (found 1x4x4x2 and 1x1x1x2)" in text
    )


@pytest.mark.parametrize("axes", [[0, 2], [1, 4], [-5], [2**31 - 1, 1], []])
def test_mean_over_other_axes(axes):
    table = options("Reducer", keepDims=True)
    model = build("MEAN", [INT8, constant(np.array(axes, np.int32))], INT8, table)
    assert "node 0 (MEAN): " in refused(model)


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
        (_set(1, "buffer", 99), "not a readable .tflite file (IndexError"),
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


def test_sums_beyond_32_bits_are_refused(tmp_path):
    def change(model, graph):
        most = np.full(4, 2**31 - 1, np.int32)
        model.buffers[graph.tensors[2].buffer].data = most.view(np.uint8)

    with pytest.raises(InputError, match=r"node 0 \(CONV_2D\): layer cannot be computed in 32-bit"):
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
