"""The seam over the runtimes: the right layout and the right quantisation, or a refusal."""

import numpy as np
import pytest
from artefacts import N_CHANS, N_TIMES, TFLITE, golden_windows, onnx_model

from firmware_bench.device.runtimes import laid_out
from firmware_bench.runtimes import OnnxModel, TfliteModel, quantise

needs_reference = pytest.mark.skipif(not TFLITE.exists(), reason="needs DLINK_REFERENCE")


def test_onnx_gets_the_window_and_gives_the_outputs(tmp_path):
    onnx_model(tmp_path / "m.onnx", hidden=4, layers=1)
    model = OnnxModel(str(tmp_path / "m.onnx"), golden_windows(), threads=1)
    time, outputs = model.run(1)
    assert time > 0
    assert outputs[0].shape == (1, 4)
    assert not np.allclose(outputs[0], model.run(0)[1][0])
    np.testing.assert_array_equal(outputs[0], model.run(1)[1][0])
    assert model.runtime.startswith("onnxruntime 1.")


@needs_reference
def test_tflite_gets_interleaved_samples_quantised_by_its_own_scale(artefact_folder):
    model = TfliteModel(str(TFLITE), golden_windows(), threads=1)
    with np.load(artefact_folder / "golden.npz") as golden:
        for index, expected in enumerate(golden["outputs_int8"]):
            found = model.run(index)[1][0].ravel().astype(int)
            assert np.abs(found - expected).max() <= 2  # optimised against reference kernels
    assert model.runtime.split()[0] in ("litert", "tflite-runtime")


def test_quantise_rounds_half_to_even_and_saturates():
    values = np.array([0.0, 0.25, 0.75, -0.25, 1e9, -1e9], np.float32)
    assert quantise(values, np.int8, 0.5, 3).tolist() == [3, 3, 5, 3, 127, -128]
    assert quantise(values, np.float32, 0.0, 0).dtype == np.float32


@needs_reference
@pytest.mark.parametrize("shape", [(1, N_TIMES, N_CHANS), (1, N_CHANS - 1, N_TIMES)])
def test_a_window_of_another_layout_is_refused_never_reshaped(tmp_path, shape):
    onnx_model(tmp_path / "m.onnx", hidden=4, layers=1)
    windows = np.zeros(shape, np.float32)
    for path, kind in ((tmp_path / "m.onnx", OnnxModel), (TFLITE, TfliteModel)):
        with pytest.raises(ValueError, match="the model's input is"):
            kind(str(path), windows, threads=1)


@pytest.mark.parametrize(
    ("shape", "planar"),
    [((1, 3, 5, 1), True), ((1, 1, 5, 3), False), ((1, 5, 1, 3), False), ((1, 5, 3, 1), False)],
)
def test_a_window_takes_the_layout_of_the_devices_input(shape, planar):
    window = np.arange(15, dtype=np.float32).reshape(3, 5)
    found = laid_out(window, shape)
    assert found.shape == shape
    assert found.flatten().tolist() == (window if planar else window.T).flatten().tolist()
    with pytest.raises(ValueError, match="the model's input is"):
        laid_out(window, (1, 1, 6, 3))
