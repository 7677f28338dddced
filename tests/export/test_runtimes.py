from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from chains import Chain

from export import quantize, runtimes, tflite
from export.calibration import calibrate
from targets.errors import InputError


def test_interleaved_and_planar_inputs() -> None:
    windows = np.arange(12, dtype=np.float32).reshape(1, 2, 6)
    interleaved = runtimes.to_nhwc(windows, (1, 1, 6, 2))
    assert interleaved.ravel().tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert runtimes.to_nhwc(windows, (1, 2, 6, 1)).ravel().tolist() == list(range(12))
    upright = runtimes.to_nhwc(windows, (1, 6, 1, 2))
    np.testing.assert_array_equal(upright.ravel(), interleaved.ravel())
    with pytest.raises(InputError, match="2 channels x 6 samples"):
        runtimes.to_nhwc(windows, (1, 1, 2, 6))


def test_input_bytes_are_the_quantised_samples_in_device_order(mic: Chain) -> None:
    model = runtimes.TfliteModel(mic.int8)
    sent = model.quantise_input(mic.windows[:2])
    assert sent.shape == (2, 800 * 19)
    assert sent.dtype == np.int8
    quant = mic.qgraph.input_quant
    sample = np.clip(np.rint(mic.windows[1, 7, 5] / quant.scale[0]) + quant.zero_point, -128, 127)
    assert sent[1].reshape(800, 19)[5, 7] == sample


def test_run_is_run_int8_between_the_scales(mic: Chain) -> None:
    model = runtimes.TfliteModel(mic.int8)
    raw = model.run_int8(model.quantise_input(mic.windows[:5]))
    assert raw.dtype == np.int8
    quant = mic.qgraph.output_quant
    want = quant.scale[0] * (raw.astype(float) - quant.zero_point)
    np.testing.assert_allclose(model.run(mic.windows[:5]), want, rtol=1e-6)


def test_float_model_has_no_bytes(mic: Chain) -> None:
    with pytest.raises(InputError, match="eeg: model has no integer input"):
        runtimes.TfliteModel(mic.fp32).quantise_input(mic.windows[:1])


def test_models_come_from_files_too(mic: Chain, tmp_path: Path) -> None:
    (tmp_path / "student.tflite").write_bytes(mic.fp32)
    from_file = runtimes.TfliteModel(tmp_path / "student.tflite").run(mic.windows[:3])
    np.testing.assert_array_equal(from_file, runtimes.TfliteModel(mic.fp32).run(mic.windows[:3]))


@pytest.mark.parametrize("runtime", [runtimes.OnnxModel, runtimes.TfliteModel])
def test_broken_and_missing_models_are_refused(runtime: type, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: model cannot be read \(found No such file"):
        runtime(tmp_path / "absent")
    (tmp_path / "broken").write_bytes(b"not a model, but long enough to look at")
    with pytest.raises(InputError, match=r"broken: .*refuses the model"):
        runtime(tmp_path / "broken")


def test_wrong_windows_are_refused(mic: Chain) -> None:
    for model in (runtimes.OnnxModel(mic.path), runtimes.TfliteModel(mic.int8)):
        with pytest.raises(InputError, match="windows do not fit the model's input"):
            model.run(mic.windows[:, :, :799])


def test_arena_of_tflite_micro_covers_the_activations(chain: Chain) -> None:
    model = runtimes.MicroModel(chain.int8)
    model.run_int8(np.zeros((1, int(np.prod(model.input_shape))), np.int8))
    lower = chain.graph.arena_bytes()
    assert lower < model.arena_bytes() < lower + 12_000


def test_absent_runtimes_are_named(monkeypatch: pytest.MonkeyPatch, mic: Chain) -> None:
    for module in ("tflite_micro", "ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match="tflite-micro wheel is not installed"):
        runtimes.MicroModel(mic.int8)
    with pytest.raises(InputError, match="Install ai-edge-litert"):
        runtimes.TfliteModel(mic.int8)


def test_16_bit_models_take_and_give_int16(mic: Chain) -> None:
    ranges = calibrate(mic.graph, mic.calibration)
    qgraph = quantize.quantize(mic.graph, ranges, wide="all")
    model = runtimes.TfliteModel(tflite.write_int8(qgraph))
    sent = model.quantise_input(mic.windows[:3])
    assert (sent.dtype, sent.shape) == (np.int16, (3, 800 * 19))
    scale = qgraph.input_quant.scale[0]
    sample = np.clip(np.rint(mic.windows[1, 7, 5] / scale), -32768, 32767)
    assert sent[1].reshape(800, 19)[5, 7] == sample
    raw = model.run_raw(sent)
    assert raw.dtype == np.int16
    want = qgraph.output_quant.scale[0] * raw.astype(float)
    np.testing.assert_allclose(model.run(mic.windows[:3]), want, rtol=1e-6)
