from __future__ import annotations

import numpy as np
import onnx
import pytest
from chains import Chain
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import Maker

from export import from_onnx, ir, parity, quantize, runtimes, tflite
from export.calibration import calibrate
from targets.errors import InputError


def test_ranges_are_the_extremes_of_each_activation(mic: Chain) -> None:
    ranges = calibrate(mic.graph, mic.calibration, percentile=100)
    assert set(ranges) == set(mic.graph.lifetimes())
    assert ranges["eeg"] == (float(mic.calibration.min()), float(mic.calibration.max()))
    logits = runtimes.OnnxModel(mic.path).run(mic.calibration)
    assert ranges["logits"] == pytest.approx((logits.min(), logits.max()), rel=1e-4)
    relus = [
        op.output for op in mic.graph.ops if getattr(op, "activation", None) is ir.Activation.RELU
    ]
    assert relus
    assert all(ranges[name][0] >= 0 for name in relus)


def test_inner_range_equals_onnxruntime_on_that_tensor(mic: Chain) -> None:
    name = next(op.output for op in mic.graph.ops if isinstance(op, ir.Add))
    opened = onnx.ModelProto()
    opened.CopyFrom(mic.proto)
    opened.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = runtimes.OnnxModel(opened.SerializeToString()).session
    found = [session.run([name], {"eeg": w[None]})[0] for w in mic.calibration]
    ranges = calibrate(mic.graph, mic.calibration, percentile=100)
    assert ranges[name] == pytest.approx((np.min(found), np.max(found)), rel=1e-4)


def test_calibration_streams_batches(mic: Chain) -> None:
    batches = (mic.calibration[i : i + 10] for i in range(0, 30, 10))
    assert calibrate(mic.graph, batches) == calibrate(mic.graph, mic.calibration[:30])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_calibration_must_be_finite(mic: Chain, bad: float) -> None:
    windows = mic.calibration[:3].copy()
    windows[2, 4, 7] = bad
    with pytest.raises(
        InputError, match=r"calibration window 2: values are not finite \(found 1 of 15200\)"
    ):
        calibrate(mic.graph, windows)


def test_calibration_must_not_be_empty_or_of_another_shape(mic: Chain) -> None:
    with pytest.raises(InputError, match="calibration set is empty"):
        calibrate(mic.graph, [])
    with pytest.raises(InputError, match=r"do not fit.*18 channels x 800 samples"):
        calibrate(mic.graph, mic.calibration[:, :18])
    with pytest.raises(InputError, match=r"is not \(N, n_chans, n_times\)"):
        calibrate(mic.graph, mic.calibration[0])


@given(st.floats(-1e3, 1e3, width=32), st.floats(0, 1e3, width=32))
def test_zero_is_exact_and_the_range_is_covered(low: float, width: float) -> None:
    quant = quantize.activation_quant(low, low + width)
    assert quant.dequantise(quant.quantise(np.zeros(1))) == 0
    ends = np.array([min(low, 0), max(low + width, 0)])
    back = quant.dequantise(quant.quantise(ends))
    assert np.abs(back - ends).max() <= quant.scale[0] * 1.001


def test_special_ranges() -> None:
    assert quantize.activation_quant(0.3, 5.1).zero_point == -128  # behind a ReLU
    assert quantize.activation_quant(-2.0, -1.0).zero_point == 127
    dead = quantize.activation_quant(0.0, 0.0)
    assert (dead.scale[0], dead.zero_point) == (quantize.DEAD_SCALE, -128)
    volts = quantize.activation_quant(-1e-4, 1e-4)  # EEG in volts is not a dead tensor
    assert volts.scale[0] == pytest.approx(2e-4 / 255)


def test_pooling_keeps_its_input_scale(chain: Chain) -> None:
    pools = [op for op in chain.graph.ops if isinstance(op, ir.AveragePool2D | ir.MaxPool2D)]
    assert len(pools) == 2
    assert all(chain.qgraph.quants[p.input] is chain.qgraph.quants[p.output] for p in pools)


def test_constants_are_rounded_to_the_nearest_step(chain: Chain) -> None:
    for op in chain.graph.ops:
        if not isinstance(op, ir.Weighted):
            continue
        weight, quant = chain.graph.tensors[op.weight], chain.qgraph.quants[op.weight]
        rounded, bias = chain.qgraph.constants[op.weight], chain.qgraph.quants[op.bias]
        shape = [1, 1, 1, 1]
        shape[quant.axis] = -1
        error = np.abs(rounded * quant.scale.reshape(shape) - weight.data)
        assert (error <= quant.scale.reshape(shape) * 0.5001).all()
        assert np.abs(rounded).max() == 127
        np.testing.assert_array_equal(bias.scale, chain.qgraph.quants[op.input].scale * quant.scale)
        error = chain.qgraph.constants[op.bias] * bias.scale - chain.graph.tensors[op.bias].data
        assert (np.abs(error) <= bias.scale * 0.51).all()


def test_dead_and_nearly_dead_channels() -> None:
    m = Maker()
    weight = m.rng.normal(size=(6, 4, 1, 1)).astype(np.float32)
    weight[1] = 0  # gives its bias, always
    weight[2] = 1e-30  # would need a bias beyond int32
    weight[3], bias = 0, np.array([0.1, 0.7, -0.4, 0.0, 0.2, 0.3], np.float32)
    x = m.node("Conv", m.unsqueeze(), m.const(weight), m.const(bias))
    graph = from_onnx.read(m.model(m.head(x, 6 * 40)))
    windows = m.rng.normal(size=(50, 4, 40)).astype(np.float32)
    qgraph = quantize.quantize(graph, calibrate(graph, windows))
    model = tflite.write_int8(qgraph)
    got = runtimes.TfliteModel(model, keep_all=True, reference=True)
    inner = graph.ops[0].output
    window = windows[0].T[None, None]
    real = qgraph.quants[inner].dequantise(got.tensors(qgraph.input_quant.quantise(window))[inner])
    step = qgraph.quants[inner].scale[0]
    assert np.abs(real[..., 1:4] - bias[1:4]).max() <= step
    want = runtimes.TfliteModel(tflite.write_fp32(graph)).run(windows)
    assert parity.compare(want, got.run(windows)).cosine > 0.99


def test_a_map_that_is_always_zero_still_runs() -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), 4, 6)
    silent = m.const(np.zeros((6, 6, 1, 1), np.float32)), m.const(np.full(6, -1, np.float32))
    x = m.node("Add", x, m.node("Relu", m.node("Conv", x, *silent)))
    graph = from_onnx.read(m.model(m.head(x, 6 * 40)))
    windows = m.rng.normal(size=(50, 4, 40)).astype(np.float32)
    qgraph = quantize.quantize(graph, calibrate(graph, windows))
    want = runtimes.TfliteModel(tflite.write_fp32(graph)).run(windows)
    got = runtimes.TfliteModel(tflite.write_int8(qgraph)).run(windows)
    assert parity.compare(want, got).cosine > 0.99


def test_a_blink_in_one_window_does_not_coarsen_every_step(mic: Chain) -> None:
    windows = np.tile(mic.calibration, (4, 1, 1))
    quiet = quantize.quantize(mic.graph, calibrate(mic.graph, windows)).input_quant
    windows[3, 2, 100:104] *= 50
    blink = quantize.quantize(mic.graph, calibrate(mic.graph, windows)).input_quant
    assert float(blink.scale[0]) < 1.1 * float(quiet.scale[0])
