"""braindecode models and factories as inputs: built from the contract, weights strict."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from distill.braindecode_import import braindecode_models
from distill.checkpoints import save_weights
from distill.signal import SignalSpec
from distill.students import Baseline
from export.sources import open_source
from export.sources.arguments import parse_arguments
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3", "Cz", "C4"), sfreq=128.0, n_times=256)
FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, n_chans, n_times, n_outputs, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(n_chans * n_times, width),
                                  nn.ReLU(), nn.Linear(width, n_outputs))
    def forward(self, x):
        return self.body(x)

def make(n_chans, n_times, n_outputs, width=4):
    return Net(n_chans, n_times, n_outputs, width)

def pair(n_chans, n_times, n_outputs):
    class Pair(Net):
        def forward(self, x):
            return self.body(x), x
    return Pair(n_chans, n_times, n_outputs)

def broken(n_chans, n_times, n_outputs):
    class Broken(Net):
        def forward(self, x):
            raise ZeroDivisionError("by design")
    return Broken(n_chans, n_times, n_outputs)
"""


@pytest.fixture
def signal(tmp_path):
    path = tmp_path / "signal.json"
    path.write_text(json.dumps(SIGNAL.to_dict() | {"labels": ["a", "b", "c"]}))
    return path


def eegnet(**more):
    torch.manual_seed(0)
    kind = braindecode_models().EEGNet
    return kind(n_chans=3, n_outputs=3, n_times=256, sfreq=128.0, **more).eval()


@pytest.mark.parametrize("form", ["safetensors", "torch", "baseline"])
def test_a_braindecode_model_with_each_form_of_weights(tmp_path, signal, form):
    model = eegnet()
    path = tmp_path / ("weights.pt" if form == "torch" else "weights.safetensors")
    if form == "torch":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        save_weights(Baseline("eegnet", model, 3, 1, 8) if form == "baseline" else model, path)
    source = open_source("braindecode:EEGNet", weights=path, signal=signal)
    assert (source.kind, source.name, source.labels) == ("braindecode", "eegnet", ("a", "b", "c"))
    assert source.splits == {}
    x = torch.randn(1, 3, 256)
    with torch.no_grad():
        assert torch.equal(source.student(x), model(x))
    assert len(source.facts["weights"]["sha256"]) == 64


def test_arguments_of_the_class(tmp_path, signal):
    path = tmp_path / "weights.safetensors"
    save_weights(eegnet(F1=4), path)
    with pytest.raises(InputError, match=r"another model; .*shape.*--model-args"):
        open_source("braindecode:EEGNet", weights=path, signal=signal)
    source = open_source("braindecode:EEGNet", weights=path, signal=signal, arguments=["F1=4"])
    assert source.facts["arguments"] == {"F1": 4}
    for wrong in ({"F_1": 4}, {"n_chans": 4}):
        with pytest.raises(InputError, match=r"--model-args: EEGNet of braindecode has no such"):
            open_source("braindecode:EEGNet", weights=path, signal=signal, arguments=wrong)
    with pytest.raises(InputError, match="cannot be built"):
        open_source("braindecode:EEGNet", weights=path, signal=signal, arguments={"F1": "many"})


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=8", 8), ("a=0.5", 0.5), ("a=true", True), ("a=[1, 2]", [1, 2]), ('a="x y"', "x y"),
     ("a=max", "max"), ("a=torch.nn.ELU", "torch.nn.ELU"), ("a=-1", -1)],
)  # fmt: skip
def test_arguments_from_the_command_line(text, value):
    assert parse_arguments([text]) == {"a": value}


@pytest.mark.parametrize(
    "texts", [["a"], ["=3"], ["a b=1"], ["a=1", "a=2"], ["a=1\nb=2"], ["a=x y"]]
)
def test_arguments_that_are_none(texts):
    with pytest.raises(InputError, match="--model-args"):
        parse_arguments(texts)


def test_the_same_weights_with_other_arguments_are_another_key(tmp_path, signal):
    path = tmp_path / "weights.safetensors"
    save_weights(eegnet(), path)
    plain = open_source("braindecode:EEGNet", weights=path, signal=signal)
    other = open_source(
        "braindecode:EEGNet", weights=path, signal=signal, arguments={"pool_mode": "max"}
    )
    assert plain.facts["weights"] == other.facts["weights"]
    assert plain.weights_hash != other.weights_hash


@pytest.mark.parametrize(("name", "near"), [("EEGnet", "EEGNet"), ("ShalowFBCSPNet", "ShallowFBC")])
def test_a_wrong_name_suggests_the_right_one(tmp_path, signal, name, near):
    with pytest.raises(InputError, match=f'Did you mean "{near}'):
        open_source(f"braindecode:{name}", weights=tmp_path / "w.pt", signal=signal)


def test_weights_and_classes_must_be_given(tmp_path, signal):
    with pytest.raises(InputError, match="--weights FILE"):
        open_source("braindecode:EEGNet", signal=signal)
    with pytest.raises(InputError, match="checkpoint not found"):
        open_source("braindecode:EEGNet", weights=tmp_path / "w.pt", signal=signal)
    signal.write_text(json.dumps(SIGNAL.to_dict()))
    with pytest.raises(InputError, match="what the classes are"):
        open_source("braindecode:EEGNet", weights=tmp_path / "w.pt", signal=signal)
    with pytest.raises(InputError, match="only a run has arms"):
        open_source("braindecode:EEGNet", arm="matched")


def test_missing_and_unexpected_keys_are_listed(tmp_path, signal):
    path = tmp_path / "weights.pt"
    state = eegnet().state_dict()
    state["extra.weight"] = torch.zeros(1)
    gone = next(iter(state))
    del state[gone]
    torch.save(state, path)
    with pytest.raises(InputError, match=rf"missing: {gone}; unexpected: extra.weight"):
        open_source("braindecode:EEGNet", weights=path, signal=signal)


@pytest.fixture
def factory(tmp_path):
    path = tmp_path / "factories_of_a_user.py"
    path.write_text(FACTORY)
    return path


def weights_of(tmp_path, width=4):
    torch.manual_seed(1)
    body = nn.Sequential(nn.Flatten(), nn.Linear(768, width), nn.ReLU(), nn.Linear(width, 3))
    path = tmp_path / f"net{width}.pt"
    torch.save({f"body.{key}": value for key, value in body.state_dict().items()}, path)
    return body, path


@pytest.mark.parametrize("prefix", ["module:", ""])
def test_a_factory_in_a_file(tmp_path, signal, factory, prefix):
    body, path = weights_of(tmp_path, 6)
    source = open_source(
        f"{prefix}{factory}:make", weights=path, signal=signal, arguments={"width": 6}
    )
    assert (source.kind, source.name) == ("module", "make")
    x = torch.randn(1, 3, 256)
    assert torch.allclose(source.student(x), body(x))


def test_a_factory_in_a_package(tmp_path, signal, factory, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    _, path = weights_of(tmp_path)
    source = open_source("factories_of_a_user:make", weights=path, signal=signal)
    assert source.student(torch.zeros(1, 3, 256)).shape == (1, 3)


def test_factories_that_do_not_serve(tmp_path, signal, factory):
    _, path = weights_of(tmp_path)

    def refused(name, said, **more):
        with pytest.raises(InputError, match=said) as caught:
            open_source(f"module:{factory}:{name}", weights=path, signal=signal, **more)
        assert "[teacher]" not in str(caught.value)

    refused("mak", "no callable 'mak'")
    refused("pair", "not one number a class")
    refused("broken", r"fails on a window \(1, 3, 256\): ZeroDivisionError: by design")
    refused("make", "--model-args: depth is no parameter", arguments={"depth": 2})
    with pytest.raises(InputError, match="no such file"):
        open_source(f"module:{tmp_path}/none.py:make", weights=path, signal=signal)


def test_weights_in_a_run_folder_bring_its_windows(finished_run, tmp_path):
    """The baseline of a run by name alone: contract, electrodes and windows are the run's."""
    shutil.copytree(finished_run, tmp_path / "run")
    model = braindecode_models().EEGNet(n_chans=6, n_outputs=2, n_times=400, sfreq=200.0).eval()
    path = tmp_path / "run" / "seed_0" / "distilled" / "other.safetensors"
    save_weights(model, path)
    source = open_source("braindecode:EEGNet", weights=path)
    assert set(source.splits) == {"train", "val", "test"}
    assert source.signal.n_chans == 6
    x = torch.from_numpy(np.array(source.splits["test"].x[:1]))
    with torch.no_grad():
        assert torch.equal(source.student(x), model(x))
