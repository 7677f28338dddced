"""braindecode's models on the way to a microcontroller: equal to the byte, or one clear refusal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from distill.braindecode_import import braindecode_models
from export import from_onnx, ir, parity, qdq, quantize, runtimes, tflite, trace
from export.calibration import calibrate
from targets.errors import InputError

sys.path.append(str(Path(__file__).parent / "c"))
from oracles import ours

SFREQ = 200.0
SIZES = [(22, 500, 4), (19, 800, 2)]


def band_limited(n: int, n_chans: int, n_times: int, seed: int) -> np.ndarray:
    """Windows (n, n_chans, n_times) of 1/f noise from 0.5 to 40 Hz, in units of its deviation."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(n_times, 1 / SFREQ)
    passed = ((freqs > 0.5) & (freqs < 40)) / np.maximum(freqs, 1)
    parts = rng.normal(size=(2, n, n_chans, freqs.size))
    x = np.fft.irfft((parts[0] + 1j * parts[1]) * passed, n_times)
    return (x / x.std()).astype(np.float32)


def network(name: str, n_chans: int, n_times: int, n_outputs: int, **more: Any) -> torch.nn.Module:
    """A model with the statistics of its batch norms as if trained."""
    torch.manual_seed(0)
    kind = getattr(braindecode_models(), name)
    model = kind(n_chans=n_chans, n_times=n_times, n_outputs=n_outputs, sfreq=SFREQ, **more)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        for seed in range(3):
            model.train()(torch.from_numpy(band_limited(12, n_chans, n_times, seed)))
    return model.eval()


def traced(model: torch.nn.Module, n_chans: int, n_times: int, folder: Path) -> Path:
    path = folder / "model.onnx"
    trace.export_onnx(model, torch.zeros(1, n_chans, n_times), path)
    return path


def check(
    model: torch.nn.Module, n_chans: int, n_times: int, folder: Path, n_calibration: int = 40
) -> ir.Graph:
    """Every format of the model against torch, and the integer ones against each other."""
    path = traced(model, n_chans, n_times, folder)
    graph = from_onnx.read(path)
    windows = band_limited(24, n_chans, n_times, 99)
    with torch.no_grad():
        logits = model(torch.from_numpy(windows)).numpy()
    fp32 = runtimes.TfliteModel(tflite.write_fp32(graph)).run(windows)
    assert parity.check("tflite.fp32", parity.compare(logits, fp32)).passed
    seen = band_limited(n_calibration, n_chans, n_times, 7)
    qgraph = quantize.quantize(graph, calibrate(graph, seen))
    content = tflite.write_int8(qgraph)
    lite = runtimes.TfliteModel(content, reference=True)
    assert parity.compare(logits, lite.run(windows)).cosine >= 0.99
    inputs = lite.quantise_input(windows[:8])
    noise = np.random.default_rng(0).integers(-128, 128, (4, inputs.shape[1]), dtype=np.int8)
    inputs = np.concatenate([inputs, noise])
    want = lite.run_raw(inputs)
    np.testing.assert_array_equal(runtimes.MicroModel(content).run_raw(inputs), want)
    np.testing.assert_array_equal(ours(content, inputs), want)
    for unsigned in (False, True):
        int8 = qdq.write_int8(onnx.load(path), qgraph, unsigned=unsigned)
        got = runtimes.OnnxModel(int8.SerializeToString()).run(windows)
        assert parity.compare(logits, got).cosine >= 0.99
    return graph


@pytest.mark.parametrize(("n_chans", "n_times", "n_outputs"), SIZES)
def test_eegnet(n_chans: int, n_times: int, n_outputs: int, tmp_path: Path) -> None:
    graph = check(network("EEGNet", n_chans, n_times, n_outputs), n_chans, n_times, tmp_path)
    kinds = [type(op).__name__ for op in graph.ops]
    assert kinds.count("Elu") == kinds.count("Pad") == 2
    with pytest.raises(InputError, match=r"operator node_Elu.*ELU does not exist in 16 bits"):
        quantize.quantize(graph, {}, wide="all")


def test_eegnet_with_a_constrained_linear_head(tmp_path: Path) -> None:
    model = network("EEGNet", 22, 500, 4, final_layer_with_constraint=True, pool_mode="max")
    check(model, 22, 500, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("n_chans", "n_times", "n_outputs"), SIZES)
def test_deep4net(n_chans: int, n_times: int, n_outputs: int, tmp_path: Path) -> None:
    model = network("Deep4Net", n_chans, n_times, n_outputs)
    # Forty windows do not reach the logits of others, which are then cut off.
    graph = check(model, n_chans, n_times, tmp_path, n_calibration=160)
    assert graph.tensors[graph.input].shape == (1, n_times, 1, n_chans)


REFUSED = {
    "ShallowFBCSPNet": r"node node_mul_\d+: Mul is not .* logarithm jumps .* Missing too: Log\.",
    "EEGConformer": r"node \w+: LayerNormalization is not .* Missing too: .*Softmax",
    "ATCNet": r"node \w+: Slice is not .* Missing too: LayerNormalization, .*Softmax",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_in_int8_is_one_refusal(name: str, tmp_path: Path) -> None:
    path = traced(network(name, 22, 500, 4), 22, 500, tmp_path)
    with pytest.raises(InputError, match=REFUSED[name]):
        from_onnx.read(path)


def test_elu_runs_beside_16_bit_layers(tmp_path: Path) -> None:
    path = traced(network("EEGNet", 22, 500, 4), 22, 500, tmp_path)
    graph = from_onnx.read(path)
    ranges = calibrate(graph, band_limited(40, 22, 500, 7))
    wide = [op.name for op in graph.ops if isinstance(op, ir.Weighted)]
    qgraph = quantize.quantize(graph, ranges, wide=wide)
    pads = {op.name for op in graph.ops if isinstance(op, ir.Pad)}
    assert qgraph.wide == {*wide, *pads}  # zeros are added in the width of their reader
    content = tflite.write_int8(qgraph)
    lite = runtimes.TfliteModel(content, reference=True)
    inputs = lite.quantise_input(band_limited(6, 22, 500, 99))
    want = lite.run_raw(inputs)
    np.testing.assert_array_equal(runtimes.MicroModel(content).run_raw(inputs), want)
    np.testing.assert_array_equal(ours(content, inputs), want)
