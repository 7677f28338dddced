from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from chains import Chain
from onnx_models import Maker

from export import from_onnx, ir, parity, quantize, runtimes, tflite
from export.calibration import calibrate

NAMES = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}


def codes(content: bytes) -> list[tuple[str, int]]:
    """Operators in order of execution, each with its version."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    used = [model.operatorCodes[op.opcodeIndex] for op in model.subgraphs[0].operators]
    assert all(code.builtinCode == code.deprecatedBuiltinCode for code in used)
    return [(NAMES[code.builtinCode], code.version) for code in used]


def test_operators_of_the_student(mic: Chain) -> None:
    assert [name for name, _ in codes(mic.int8)] == [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D",
        "ADD",
        "AVERAGE_POOL_2D",
        "CONV_2D",
        "AVERAGE_POOL_2D",
        "CONV_2D",
    ]


def test_only_operators_and_versions_that_tflite_micro_has(chain: Chain) -> None:
    int8 = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "AVERAGE_POOL_2D": 2, "MAX_POOL_2D": 2}
    assert set(codes(chain.int8)) <= set(int8.items())
    assert {version for _, version in codes(chain.fp32)} == {1}


def test_constants_lie_at_multiples_of_16_and_are_not_repeated(chain: Chain) -> None:
    for content in (chain.fp32, chain.int8):
        model = schema.Model.GetRootAsModel(content, 0)
        base = np.frombuffer(content, np.uint8).ctypes.data
        places = []
        for i in range(model.BuffersLength()):
            data = model.Buffers(i).DataAsNumpy()
            if not isinstance(data, int):
                places.append(data.ctypes.data - base)
        assert len(places) == 2 * sum(hasattr(op, "weight") for op in chain.graph.ops)
        assert all(place % tflite.ALIGNMENT == 0 for place in places)


def test_file_is_small(mic: Chain) -> None:
    parameters = mic.graph.n_parameters()
    assert len(mic.fp32) < 4 * parameters + 4000
    # Per channel: weight, bias and their scales and zero points take 28 bytes.
    assert len(mic.int8) < parameters + 28 * 16 * 16 + 4000


def test_names_types_and_scales_are_kept(chain: Chain) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(chain.int8, 0))
    main = model.subgraphs[0]
    for tensor, ours in zip(main.tensors, chain.graph.tensors.values(), strict=True):
        quant = chain.qgraph.quants[ours.name]
        assert tensor.name.decode() == ours.name
        assert tuple(tensor.shape) == ours.shape
        np.testing.assert_array_equal(tensor.quantization.scale, quant.scale)
        assert set(tensor.quantization.zeroPoint) == {quant.zero_point}
        assert (tensor.type == schema.TensorType.INT32) == (len(ours.shape) == 1)
    assert main.tensors[main.inputs[0]].name == b"eeg"
    assert main.tensors[main.outputs[0]].name == b"logits"


@pytest.mark.parametrize("reference", [False, True])
def test_fp32_equals_torch(chain: Chain, reference: bool) -> None:
    got = runtimes.TfliteModel(chain.fp32, reference=reference).run(chain.windows)
    result = parity.check("tflite.fp32", parity.compare(chain.logits, got))
    assert result.passed, result.failed


def test_int8_follows_torch(chain: Chain) -> None:
    got = runtimes.TfliteModel(chain.int8).run(chain.windows)
    compared = parity.compare(chain.logits, got)
    assert parity.check("tflite.int8", compared).passed
    assert compared.cosine > 0.999


def test_optimised_kernels_are_within_two_steps_of_the_reference(chain: Chain) -> None:
    reference = runtimes.TfliteModel(chain.int8, reference=True)
    inputs = reference.quantise_input(chain.windows)
    got = runtimes.TfliteModel(chain.int8).run_int8(inputs)
    compared = parity.compare(reference.run_int8(inputs), got)
    assert parity.check("int8.runtimes", compared).passed


def test_tflite_micro_equals_the_reference_kernels_to_the_byte(chain: Chain) -> None:
    pytest.importorskip("tflite_micro")
    reference = runtimes.TfliteModel(chain.int8, reference=True)
    rng = np.random.default_rng(3)
    noise = rng.integers(-128, 128, (200, int(np.prod(reference.input_shape))), np.int8)
    inputs = np.concatenate([reference.quantise_input(chain.windows), noise])
    got = runtimes.MicroModel(chain.int8).run_int8(inputs)
    assert parity.lsb_histogram(reference.run_int8(inputs), got) == {0: got.size}


def test_dilation_and_relu6_survive() -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), 4, 8, (1, 5), group=4, dilations=[1, 3], pads=[0, 6, 0, 6])
    x = m.node("Clip", x, m.const(np.float32(0)), m.const(np.float32(6)))
    x = m.conv(x, 8, 6, (1, 3), dilations=[1, 2], strides=[1, 1])
    model = m.model(m.head(x, 6 * 36))
    graph = from_onnx.read(model)
    windows = (10 * m.rng.normal(size=(40, 4, 40))).astype(np.float32)
    ranges = calibrate(graph, windows)
    assert ranges[graph.ops[0].output] == (0.0, 6.0)
    content = tflite.write_int8(quantize.quantize(graph, ranges))
    want = runtimes.OnnxModel(model.SerializeToString()).run(windows)
    reference = runtimes.TfliteModel(content, reference=True)
    assert parity.compare(want, reference.run(windows)).cosine > 0.999
    inputs = reference.quantise_input(windows)
    got = runtimes.MicroModel(content).run_int8(inputs)
    np.testing.assert_array_equal(got, reference.run_int8(inputs))


def test_16_bit_operators_have_their_own_versions_and_options(mic: Chain) -> None:
    ranges = calibrate(mic.graph, mic.calibration)
    content = tflite.write_int8(quantize.quantize(mic.graph, ranges, wide="all"))
    wide = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "ADD": 3, "AVERAGE_POOL_2D": 3}
    assert set(codes(content)) == set(wide.items())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    main = model.subgraphs[0]
    types = {t.name.decode(): t.type for t in main.tensors}
    for op in mic.graph.ops:
        if isinstance(op, ir.Weighted):
            assert types[op.weight] == schema.TensorType.INT8
            assert types[op.bias] == schema.TensorType.INT64
    assert types["eeg"] == types["logits"] == schema.TensorType.INT16
    add = next(
        o for o in main.operators if o.builtinOptionsType == schema.BuiltinOptions.AddOptions
    )
    assert not add.builtinOptions.potScaleInt16


def test_a_mixed_model_has_both_versions_of_an_operator(mic: Chain) -> None:
    ranges = calibrate(mic.graph, mic.calibration)
    last = mic.graph.ops[-1].name
    found = codes(tflite.write_int8(quantize.quantize(mic.graph, ranges, wide=[last])))
    assert found[-3:] == [("QUANTIZE", 2), ("CONV_2D", 1), ("QUANTIZE", 1)]
    assert found[0] == ("CONV_2D", 3)


def test_int16_is_closer_to_torch_than_int8(chain: Chain) -> None:
    ranges = calibrate(chain.graph, chain.calibration)
    content = tflite.write_int8(quantize.quantize(chain.graph, ranges, wide="all"))
    wide = parity.compare(
        chain.logits, runtimes.TfliteModel(content, reference=True).run(chain.windows)
    )
    narrow = parity.compare(
        chain.logits, runtimes.TfliteModel(chain.int8, reference=True).run(chain.windows)
    )
    assert wide.rmse < narrow.rmse
    assert wide.cosine > 0.9999


@pytest.mark.parametrize("reference", [False, True])
def test_dynamic_range_has_int8_weights_and_float_ends(chain: Chain, reference: bool) -> None:
    content = tflite.write_dynamic(chain.graph)
    weights = sum(
        chain.graph.tensors[op.weight].size for op in chain.graph.ops if isinstance(op, ir.Weighted)
    )
    assert len(content) < len(chain.fp32) - 1.5 * weights
    versions = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "ADD": 1, "AVERAGE_POOL_2D": 1}
    assert set(codes(content)) <= {*versions.items(), ("MAX_POOL_2D", 1)}
    model = runtimes.TfliteModel(content, reference=reference)
    assert model.input_quant is None
    compared = parity.compare(chain.logits, model.run(chain.windows))
    assert compared.cosine > 0.999
    assert compared.rmse > 1e-6  # it is not the float model under another name
