import numpy as np
import onnx
import onnxruntime
import pytest
from chains_of_signals import chain, contract, eeg

from export.preprocess.onnx_graph import legal_hop, prefix, raw_samples, streaming_model
from export.preprocess.replaying import run_stream
from export.preprocess.streaming import Streaming
from export.preprocess.svf import Blocked, Svf
from targets.errors import InputError

CHAINS = {
    "iir": ("iir", 500.0, {}, {}),
    "iir, counts, order 8, no reference": (
        "iir", 256.0, {"reference": "as-recorded"},
        {"high_pass_order": 8, "order": 7, "input_unit": "counts", "uv_per_count": 0.02},
    ),
    "iir, slower device": ("iir", 128.0, {"reference": "T7", "notch": 60.0}, {}),
    "iir, equal rates": ("iir", 200.0, {}, {"high_pass_order": 2}),
    "fir": ("fir", 500.0, {}, {}),
    "nothing": ("iir", 200.0, {"band": None, "notch": None}, {}),
}  # fmt: skip


@pytest.fixture(params=CHAINS)
def made(request):
    kind, sfreq, changes, options = CHAINS[request.param]
    return chain(kind, sfreq, contract(**changes), **options)


@pytest.mark.parametrize("hop", [25, 100])
def test_the_streaming_model_is_the_python_form(made, hop):
    hop = legal_hop(made, hop)
    hop_in = hop * made.down // made.up
    model = streaming_model(made, hop)
    onnx.checker.check_model(model, full_check=True)
    n = round(12 * made.input_sfreq)
    x = eeg(6, n, made.input_sfreq, offset=300.0) / (made.uv_per_count or 1)
    x[0] = np.nan  # not an electrode of the model
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = run_stream(session, x.astype(np.float32), hop_in)
    wanted = Streaming(made.to_dict()).push(x.astype(np.float32))[:, : found.shape[1]]
    assert found.shape[1] >= 10 * 200
    error = np.abs(found - wanted).max() / wanted[:, 400:].std()
    assert error < 1e-4


def test_a_hop_that_splits_a_sample_is_refused():
    with pytest.raises(InputError, match=r"multiples of 2\). Choose 52"):
        streaming_model(chain(), 51)
    with pytest.raises(InputError, match="hop"):
        streaming_model(chain(), 0)


def student(tmp_path, shape=(1, 4, 400), opset=17):
    """Power of each channel, and their mean: a model whose output shows every sample."""
    nodes = [
        onnx.helper.make_node("Reshape", ["eeg", "flat"], ["x"]),
        onnx.helper.make_node("Mul", ["x", "x"], ["squares"]),
        onnx.helper.make_node("ReduceMean", ["squares"], ["logits"], axes=[2], keepdims=0),
    ]
    flat = onnx.numpy_helper.from_array(np.array([1, 4, 400], np.int64), "flat")
    ends = [onnx.helper.make_tensor_value_info(n, 1, s) for n, s in (("eeg", shape),
                                                                   ("logits", (1, 4)))]  # fmt: skip
    graph = onnx.helper.make_graph(nodes, "student", ends[:1], ends[1:], [flat])
    opsets = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, tmp_path / "student.onnx")
    return tmp_path / "student.onnx"


def test_the_prefix_leads_from_raw_samples_to_the_model(made, tmp_path):
    path = student(tmp_path, (1, 1, 4, 400) if made.kind == "fir" else (1, 4, 400))
    model = prefix(path, made)
    n = raw_samples(made)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 6, n]
    x = eeg(6, n, made.input_sfreq, offset=300.0).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(["logits"], {"raw": x[None]})
    window = Streaming(made.to_dict()).push(x)[:, -400:]
    np.testing.assert_allclose(found[0], (window**2).mean(axis=1), rtol=1e-4)


def test_the_lead_in_is_the_users(tmp_path):
    made = chain()
    assert raw_samples(made, 0.0) == 1000
    assert raw_samples(made, 1.001) == 1505
    with pytest.raises(InputError, match="lead-in"):
        prefix(student(tmp_path), made, lead_in=-1.0)
    with pytest.raises(InputError, match="no window of the signal contract"):
        prefix(student(tmp_path), chain(signal=contract(n_times=200)))
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot be read"):
        prefix(tmp_path / "bad.onnx", made)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_a_state_variable_filter_is_its_section(order):
    from scipy.signal import butter, sosfilt

    x = eeg(1, 500, 500.0)[0]
    for kind, edge in (("highpass", 0.5), ("lowpass", 45.0)):
        (section, *_) = butter(order, edge, kind, fs=500.0, output="sos")
        svf, s1, s2, found = Svf.of(tuple(section)), 0.0, 0.0, []
        for value in x:
            y, s1, s2 = svf.step(value, s1, s2)
            found.append(y)
        np.testing.assert_allclose(found, sosfilt(section[None], x), atol=1e-9)


def test_float32_holds_the_state_variable_form_and_not_the_direct_one():
    """Why the sections are not run as they are designed: 0.1 Hz at 1 kHz, an offset of 3 mV."""
    from scipy.signal import butter, sosfilt

    sos = butter(2, 0.1, "highpass", fs=1000.0, output="sos")
    x = (eeg(1, 20_000, 1000.0)[0] + 3000).astype(np.float32)
    wanted = sosfilt(sos, x.astype(float))
    direct = sosfilt(sos.astype(np.float32), x)
    assert direct.dtype == np.float32
    svf = Svf(*np.asarray(Svf.of(tuple(sos[0])).numbers(), np.float32))
    s1 = s2 = np.float32(0)
    found = []
    for value in x:
        y, s1, s2 = svf.step(value, s1, s2)
        found.append(y)
    errors = [np.abs(y[5000:] - wanted[5000:]).max() for y in (direct, np.array(found))]
    assert errors[1] < 0.02  # microvolts
    assert errors[0] > 1


def test_blocks_carry_their_states():
    from scipy.signal import butter, sosfilt

    (section,) = butter(2, 5.0, fs=100.0, output="sos")
    x = eeg(1, 60, 100.0)[0]
    blocked = Blocked.of(tuple(section), 20)
    own = (x.reshape(3, 20) @ blocked.into).ravel()
    states = (np.r_[0, 0, own] @ blocked.starts(3)).reshape(4, 2)
    y = x.reshape(3, 20) @ blocked.through + states[:3] @ blocked.out
    np.testing.assert_allclose(y.ravel(), sosfilt(section[None], x), atol=1e-10)
    one = Blocked.of(tuple(section), 60)
    np.testing.assert_allclose(states[3], x @ one.into, atol=1e-10)
