from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from chains import Chain
from onnx import numpy_helper

from export import ir, parity, qdq, quantize, runtimes, tflite
from export.calibration import calibrate


def test_input_and_output_are_those_of_the_float_model(chain: Chain) -> None:
    assert list(chain.qdq.graph.input) == list(chain.proto.graph.input)
    assert list(chain.qdq.graph.output) == list(chain.proto.graph.output)
    assert list(chain.qdq.opset_import) == list(chain.proto.opset_import)


def test_int8_onnx_follows_torch(chain: Chain) -> None:
    got = runtimes.OnnxModel(chain.qdq.SerializeToString()).run(chain.windows)
    result = parity.check("onnx.int8", parity.compare(chain.logits, got))
    assert result.passed, result.failed


def test_int8_onnx_is_within_two_steps_of_int8_tflite(chain: Chain) -> None:
    reference = runtimes.TfliteModel(chain.int8, reference=True)
    steps = reference.run_int8(reference.quantise_input(chain.windows))
    got = runtimes.OnnxModel(chain.qdq.SerializeToString()).run(chain.windows)
    on_grid = chain.qgraph.output_quant.quantise(got)
    np.testing.assert_allclose(chain.qgraph.output_quant.dequantise(on_grid), got, atol=1e-5)
    assert parity.check("int8.runtimes", parity.compare(steps, on_grid)).passed


def test_every_scale_is_the_one_of_the_tflite_file(chain: Chain) -> None:
    constants = {c.name: numpy_helper.to_array(c) for c in chain.qdq.graph.initializer}
    details = runtimes.TfliteModel(chain.int8, keep_all=True).interpreter.get_tensor_details()
    scales = {d["name"]: d["quantization_parameters"]["scales"] for d in details}
    for name in chain.graph.tensors:
        np.testing.assert_array_equal(constants[f"{name}/scale"].reshape(-1), scales[name])


def test_weights_are_stored_as_int8_and_biases_as_int32(chain: Chain) -> None:
    constants = {c.name: c.data_type for c in chain.qdq.graph.initializer}
    for op in chain.graph.ops:
        if isinstance(op, ir.Weighted):
            assert constants[f"{op.weight}/int8"] == onnx.TensorProto.INT8
            assert constants[f"{op.bias}/int32"] == onnx.TensorProto.INT32


def test_onnxruntime_computes_in_integers(mic: Chain, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    onnxruntime.InferenceSession(mic.qdq.SerializeToString(), options, ["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert not {"Conv", "Relu", "Add", "AveragePool"} & set(kinds)
    assert kinds.count("QLinearConv") == 8


def test_unsigned_activations_are_the_same_steps(chain: Chain) -> None:
    model = qdq.write_int8(chain.proto, chain.qgraph, unsigned=True)
    constants = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer}
    for name in chain.graph.lifetimes():
        zero = constants[f"{name}/zero_point"]
        assert zero.dtype == np.uint8
        assert zero == chain.qgraph.quants[name].zero_point + 128
        assert constants[f"{name}/scale"] == chain.qgraph.quants[name].scale[0]
    kinds = {c.name: c.data_type for c in model.graph.initializer}
    weights = [op.weight for op in chain.graph.ops if isinstance(op, ir.Weighted)]
    assert {kinds[f"{name}/int8"] for name in weights} == {onnx.TensorProto.INT8}
    signed = runtimes.OnnxModel(chain.qdq.SerializeToString()).run(chain.windows)
    unsigned = runtimes.OnnxModel(model.SerializeToString()).run(chain.windows)
    steps = np.abs(signed - unsigned) / chain.qgraph.output_quant.scale[0]
    assert steps.max() < 1.5
    assert parity.check("onnx.int8", parity.compare(chain.logits, unsigned)).passed


@pytest.mark.parametrize("choice", ["all", "head", "stem"])
def test_16_bit_tensors_follow_tflite(chain: Chain, choice: str) -> None:
    names = [op.name for op in chain.graph.ops]
    wide = {"all": "all", "head": names[-1:], "stem": names[:2]}[choice]
    qgraph = quantize.quantize(chain.graph, calibrate(chain.graph, chain.calibration), wide=wide)
    model = qdq.write_int8(chain.proto, qgraph)
    assert [o.version for o in model.opset_import if not o.domain] == [qdq.OPSET_16_BITS]
    zeros = {
        numpy_helper.to_array(c).dtype for c in model.graph.initializer if "/zero_point" in c.name
    }
    assert np.dtype(np.int16) in zeros
    lite = runtimes.TfliteModel(tflite.write_int8(qgraph), reference=True)
    want, got = (
        lite.run(chain.windows),
        runtimes.OnnxModel(model.SerializeToString()).run(chain.windows),
    )
    steps = np.abs(want - got) / qgraph.output_quant.scale[0]
    # Rounded in float here and in integers there: one step in 8 bits, a few of 65,536 in 16.
    assert steps.max() < (8 if choice == "all" else 2.5)
    assert parity.compare(want, got).cosine > 0.9999
