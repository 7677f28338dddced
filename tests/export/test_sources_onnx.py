"""An ONNX file as an input: checked, static, one window of the contract."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import Maker

from distill.signal import SignalSpec
from export import from_onnx
from export.runtimes import OnnxModel
from export.sources import open_source
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3", "Cz", "C4", "Fz"), sfreq=100.0, n_times=40)


def model(shape=(1, 4, 40), n_out=(1, 3), seed=0) -> onnx.ModelProto:
    maker = Maker(shape, seed)
    constant = maker.node("Constant", value=onnx.numpy_helper.from_array(np.array([2], np.int64)))
    x = maker.node("Unsqueeze", "eeg", constant)
    x = maker.node("Relu", maker.conv(x, shape[1], 2))
    return maker.model(maker.head(x, 2 * shape[2]), n_out)


@pytest.fixture
def signal(tmp_path):
    path = tmp_path / "signal.json"
    path.write_text(json.dumps(SIGNAL.to_dict()))
    return path


@pytest.fixture
def opened(tmp_path, signal):
    def load(proto, **more):
        path = tmp_path / "my model.onnx"
        onnx.save(proto, path)
        return open_source(str(path), signal=signal, **more)

    return load


def test_a_float_model_and_its_reference(opened):
    proto = model()
    source = opened(proto)
    assert (source.kind, source.name, source.student) == ("onnx", "my_model", None)
    assert source.labels == ("class_0", "class_1", "class_2")
    assert from_onnx.read(source.proto).output  # simplified: the constant became a weight
    x = np.random.default_rng(0).normal(size=(3, 4, 40)).astype(np.float32)
    plain = OnnxModel(proto.SerializeToString()).run(x)
    assert np.allclose(OnnxModel(source.proto.SerializeToString()).run(x), plain, atol=1e-5)
    assert source.weights_hash != opened(model(seed=1)).weights_hash


@pytest.mark.parametrize(
    ("proto", "said"),
    [
        (model(("batch", 4, 40)), "not static.*--dim_param batch --dim_value 1 .*fixed.onnx"),
        (model((1, 40, 4)), "transpose inside the network"),
        (model((1, 4, 80)), r"found \(1, 4, 80\), allowed \(1, 4, 40\)"),
    ],
)
def test_inputs_that_are_not_one_window(opened, proto, said):
    with pytest.raises(InputError, match=said):
        opened(proto)


def test_more_inputs_other_types_and_other_outputs(opened, tmp_path, signal):
    proto = model()
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, (1,)))
    with pytest.raises(InputError, match=r"must have one input.*eeg, more"):
        opened(proto)
    proto = model()
    proto.graph.output.append(
        helper.make_tensor_value_info("relu3", TensorProto.FLOAT, (1, 2, 1, 40))
    )
    with pytest.raises(InputError, match="must have one output"):
        opened(proto)
    signal.write_text(json.dumps(SIGNAL.to_dict() | {"labels": ["a", "b"]}))
    with pytest.raises(InputError, match=r"not one number a class \(found 3, allowed 2: a, b\)"):
        opened(model())
    with pytest.raises(InputError, match="takes no such option"):
        opened(model(), weights=tmp_path / "w.pt")


def test_a_quantised_model_is_sent_back(mic, tmp_path, signal):
    path = tmp_path / "q.onnx"
    onnx.save(mic.qdq, path)
    with pytest.raises(InputError, match=r"quantised already.*Give the float model"):
        open_source(str(path), signal=signal)


def test_a_hostile_file_is_refused(opened):
    proto = model()
    proto.graph.node[2].domain = "com.evil"
    with pytest.raises(InputError, match="operator is not ONNX's own"):
        opened(proto)
