"""int8 by onnxruntime's quantiser, on networks that our own operators do not cover."""

from collections import Counter

import numpy as np
import onnx
import pytest
import student
import torch

from distill.braindecode_import import braindecode_models
from export import from_onnx, onnx_static
from export.onnx_static import quantise_static
from export.runtimes import OnnxModel
from export.trace import export_onnx
from targets.errors import InputError

N_TIMES = 256


def traced(name, folder, steps):
    torch.manual_seed(0)
    kind = getattr(braindecode_models(), name)
    model = kind(n_chans=19, n_outputs=3, n_times=N_TIMES, sfreq=200.0)
    student.train(model, steps, n_times=N_TIMES)
    path = folder / f"{name}.onnx"
    export_onnx(model, torch.zeros(1, 19, N_TIMES), path)
    return path


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    return traced("ShallowFBCSPNet", tmp_path_factory.mktemp("static"), 25)


@pytest.fixture(scope="module")
def calibration():
    return student.windows(48, n_times=N_TIMES, seed=5)[0]


@pytest.fixture(scope="module")
def windows():
    return student.windows(120, n_times=N_TIMES, seed=9)


def compare(path, int8, windows):
    """Accuracies, agreement of the decisions, cosine of the logits."""
    x, y = windows
    full, found = OnnxModel(path).run(x), OnnxModel(int8).run(x)
    cosine = float((full * found).sum() / np.linalg.norm(full) / np.linalg.norm(found))
    right = [(out.argmax(1) == y).mean() for out in (full, found)]
    agreement = (full.argmax(1) == found.argmax(1)).mean()
    print(f"{path.stem}: accuracy {right[0]:.3f} -> {right[1]:.3f}, agreement {agreement:.3f}, "
          f"cosine {cosine:.4f}")  # fmt: skip
    return *right, agreement, cosine


@pytest.mark.parametrize("method", onnx_static.METHODS)
@pytest.mark.parametrize("unsigned", [False, True])
def test_a_network_outside_our_operators_keeps_its_decisions(
    shallow, calibration, windows, method, unsigned
):
    with pytest.raises(InputError):  # that is why it goes this way
        from_onnx.read(shallow)
    int8 = quantise_static(shallow, calibration, unsigned=unsigned, method=method)
    full, found, agreement, cosine = compare(shallow, int8, windows)
    assert full > 0.55  # chance is 0.33
    assert full - found < 0.03
    assert agreement > 0.95
    assert cosine > 0.99
    proto = onnx.load_from_string(int8)
    kinds = Counter(node.op_type for node in proto.graph.node)
    assert kinds["QuantizeLinear"] > 3
    types = {t.data_type for t in proto.graph.initializer if t.name.endswith("zero_point")}
    assert (onnx.TensorProto.UINT8 in types) == unsigned


def test_weights_have_a_scale_a_channel_and_the_file_is_smaller(shallow, calibration):
    int8 = quantise_static(shallow, calibration)
    assert len(int8) < 0.5 * shallow.stat().st_size
    scales = [t for t in onnx.load_from_string(int8).graph.initializer if "scale" in t.name]
    assert max(int(np.prod(t.dims)) for t in scales) >= 40


def test_it_is_quiet_and_the_same_each_time(shallow, calibration, capfd):
    once = quantise_static(shallow, calibration, method="percentile")
    assert quantise_static(shallow.read_bytes(), calibration, method="percentile") == once
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")


def test_few_windows_are_kept_at_once_and_the_ranges_stay(shallow, calibration, monkeypatch):
    whole = quantise_static(shallow, calibration, method="percentile")
    monkeypatch.setattr(onnx_static, "CHUNK_BYTES", 1 << 20)
    small = quantise_static(shallow, calibration, method="percentile")
    scales = [
        {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(b).graph.initializer}
        for b in (whole, small)
    ]
    for name in scales[0]:
        if name.endswith("scale") and scales[0][name].ndim == 0:
            assert scales[0][name] == pytest.approx(scales[1][name], rel=0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "distribution"}, "unknown calibration method.*minmax, percentile"),
        ({"windows": np.zeros((0, 19, 256), np.float32)}, "N at least 1"),
        ({"windows": np.zeros((4, 18, 256), np.float32)}, "do not fit the model's input"),
        ({"fp32": b"no model"}, "not a readable ONNX model"),
    ],
)
def test_what_cannot_be_quantised(shallow, calibration, change, said):
    with pytest.raises(InputError, match=said):
        quantise_static(**{"fp32": shallow, "windows": calibration, **change})


@pytest.mark.slow
def test_attention_is_quantised_too(tmp_path, calibration, windows):
    path = traced("EEGConformer", tmp_path, 5)
    int8 = quantise_static(path, calibration)
    _, _, agreement, cosine = compare(path, int8, windows)
    assert agreement > 0.95
    assert cosine > 0.999
