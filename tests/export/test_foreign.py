"""Models outside our operators: another tool's int8, held to the same gate, or left out loudly."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from made_sources import source_of
from onnx_models import Maker

from export import litert_convert
from export.artefact import build
from export.options import Options
from export.quantised import AccuracyGateError
from export.store import Store

SMALL = Options(n_calibration=64, n_golden=12)


def net(chain, softener, scale=1.0):
    """A linear readout behind an activation that the targets' operators do not have."""
    n_chans, n_times = chain.windows.shape[1:]
    maker = Maker((1, n_chans, n_times))
    x = maker.conv(maker.unsqueeze(), n_chans, 6)
    x = softener(maker, x, np.float32(scale))
    x = maker.node("AveragePool", x, kernel_shape=(1, 40), strides=(1, 40))
    features = 6 * (n_times // 40)
    n_out = chain.logits.shape[1]
    return maker.model(maker.head(x, features, n_out), (1, n_out))


def soft(maker, x, scale):
    return maker.node("Softplus", x)


def log_of_square(maker, x, scale):
    """Band power by logarithm, of signals so different in size that 8 bits see the largest only."""
    gains = maker.const(np.array([1e-4, 1e-3, 1e-2, 1, 1e2, 1e3], np.float32).reshape(1, 6, 1, 1))
    x = maker.node("Mul", x, gains)
    power = maker.node("Mul", x, x)
    return maker.node("Log", maker.node("Add", power, maker.const(np.float32(1e-12))))


def quiet(text):
    pass


def test_what_onnxruntime_can_quantise_is_made_and_judged(mic, tmp_path):
    source = source_of(net(mic, soft), mic.windows.shape[2])
    found = build(source, tmp_path / "a", SMALL, quiet)
    assert "student.int8.onnx" in found.files
    assert found.quantisation.method.endswith("by onnxruntime")
    assert found.quantisation.passed_by == found.quantisation.method
    assert "Softplus" in found.left_out["c"]
    kinds = {node.op_type for node in onnx.load(tmp_path / "a" / "student.int8.onnx").graph.node}
    assert "QuantizeLinear" in kinds
    report = json.loads((tmp_path / "a" / "quantisation.json").read_text())
    assert report["comparisons"][-1]["passed"]
    assert report["gate"]["subjects"] == ["C"]


def test_what_misses_the_gate_is_left_out_with_its_figures(mic, tmp_path):
    source = source_of(net(mic, log_of_square), mic.windows.shape[2])
    store = Store(tmp_path / "steps")
    found = build(source, tmp_path / "a", SMALL, quiet, store)
    assert "misses the accuracy gate by every method" in found.left_out["int8.onnx"]
    assert not (tmp_path / "a" / "student.int8.onnx").exists()
    assert found.quantisation.passed_by is None
    with pytest.raises(AccuracyGateError, match=r"int8\.onnx: int8 by onnxruntime misses"):
        build(source, tmp_path / "b", Options(formats=("int8.onnx",)), quiet, store)
    assert not (tmp_path / "b").exists()


class Soft(torch.nn.Module):
    """Convolution, an activation that the targets lack, pooling, readout."""

    def __init__(self, n_chans, n_times, n_outputs):
        super().__init__()
        self.conv = torch.nn.Conv2d(n_chans, 6, 1)
        self.head = torch.nn.Linear(6 * (n_times // 40), n_outputs)

    def forward(self, x):
        y = torch.nn.functional.softplus(self.conv(x.unsqueeze(2)))
        y = torch.nn.functional.avg_pool2d(y, (1, 40))
        return self.head(y.flatten(1))


@pytest.mark.skipif(not litert_convert.available(), reason="litert-torch is not installed")
def test_litert_makes_the_tflite_forms_where_it_is_installed(mic, tmp_path):
    n_chans, n_times = mic.windows.shape[1:]
    torch.manual_seed(0)
    student = Soft(n_chans, n_times, mic.logits.shape[1]).eval()
    source = replace(source_of(mic.proto, n_times), student=student, proto=None, weights_hash="s")
    found = build(source, tmp_path / "a", SMALL, quiet)
    assert {"student.fp32.tflite", "student.int8.tflite"} <= set(found.files)
    assert "by litert" in found.quantisation.passed_by
    assert set(found.left_out) == {"dynamic.tflite", "int16x8.tflite", "c"}


def test_without_it_the_reason_says_what_to_install(mic, tmp_path):
    if litert_convert.available():
        pytest.skip("litert-torch is installed")
    n_chans, n_times = mic.windows.shape[1:]
    student = Soft(n_chans, n_times, mic.logits.shape[1]).eval()
    source = replace(source_of(mic.proto, n_times), student=student, proto=None, weights_hash="s")
    found = build(source, tmp_path / "a", SMALL, quiet)
    assert "dlink[litert]" in found.left_out["int8.tflite"]
    assert "dlink[litert]" not in found.left_out["c"]
    onnx_only = build(source_of(net(mic, soft), n_times), tmp_path / "b", SMALL, quiet)
    assert "Give the torch model instead" in onnx_only.left_out["int8.tflite"]
