from __future__ import annotations

import numpy as np
from onnx_models import Maker

from export import from_onnx, quantize, reference, runtimes, tflite
from export.calibration import calibrate
from export.ir import QuantizedGraph


def with_elu() -> tuple[QuantizedGraph, bytes, np.ndarray]:
    m = Maker()
    x = m.node("Elu", m.conv(m.unsqueeze(), 4, 6, (1, 5)))
    x = m.node("Elu", m.node("AveragePool", x, kernel_shape=[1, 4], strides=[1, 4]))
    graph = from_onnx.read(m.model(m.head(x, 6 * 9)))
    windows = m.rng.normal(size=(40, 4, 40)).astype(np.float32)
    qgraph = quantize.quantize(graph, calibrate(graph, windows))
    return qgraph, tflite.write_fp32(graph), windows


def test_only_models_with_elu_are_rewritten() -> None:
    qgraph, fp32, _ = with_elu()
    content = tflite.write_int8(qgraph)
    assert reference.has_elu(content)
    assert reference.has_elu(fp32)
    assert not reference.has_elu(reference.with_tables(content))
    assert not reference.has_elu(b"no model at all")
    m = Maker()
    plain = from_onnx.read(m.model(m.head(m.conv(m.unsqueeze(), 4, 6), 240)))
    assert not reference.has_elu(tflite.write_fp32(plain))


def test_reference_kernels_and_micro_agree_to_the_byte() -> None:
    qgraph, fp32, windows = with_elu()
    content = tflite.write_int8(qgraph)
    lite = runtimes.TfliteModel(content, reference=True)
    inputs = lite.quantise_input(windows)
    noise = np.random.default_rng(0).integers(-128, 128, inputs.shape, dtype=np.int8)
    inputs = np.concatenate([inputs, noise])
    want = lite.run_raw(inputs)
    assert np.ptp(want.astype(int), axis=0).min() > 50
    np.testing.assert_array_equal(runtimes.MicroModel(content).run_raw(inputs), want)
    close = lite.run(windows) - runtimes.TfliteModel(fp32).run(windows)
    assert np.abs(close).max() < 8 * qgraph.output_quant.scale[0]


def test_the_table_is_elu_in_steps() -> None:
    x = tflite.schema.TensorT(
        type=tflite.schema.TensorType.INT8,
        quantization=tflite.schema.QuantizationParametersT(scale=[0.05], zeroPoint=[10]),
    )
    y = tflite.schema.TensorT(
        type=tflite.schema.TensorType.INT8,
        quantization=tflite.schema.QuantizationParametersT(scale=[0.04], zeroPoint=[-90]),
    )
    table = reference.elu_table(x, y)
    real = 0.05 * (np.arange(-128, 128) - 10)
    want = np.clip(np.where(real < 0, np.expm1(real), real) / 0.04 - 90, -128, 127)
    assert np.abs(table - want).max() <= 0.5 + 1e-4
