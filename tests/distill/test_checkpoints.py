import argparse
import pickle

import pytest
import torch
from torch import nn

from distill.checkpoints import load_strict, read_state, save_weights, state_hash
from distill.mic import MiC
from targets.errors import InputError


def net(width=4, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Linear(width, 2))


def test_saved_weights_come_back_equal(tmp_path):
    model = net()
    save_weights(model, tmp_path / "w.safetensors")
    other = net(seed=1)
    assert load_strict(other, read_state(tmp_path / "w.safetensors"), where="w") == []
    assert state_hash(other) == state_hash(model)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("nested", [None, "model", "state_dict", "model_state"])
def test_torch_files_with_the_usual_nesting_are_read(tmp_path, nested):
    state = net().state_dict()
    torch.save(state if nested is None else {nested: state, "epoch": 3}, tmp_path / "w.pth.tar")
    assert set(read_state(tmp_path / "w.pth.tar")) == set(state)


def test_a_command_line_kept_beside_the_weights_does_no_harm(tmp_path):
    args = argparse.Namespace(lr=5e-4, betas=[0.9, 0.98], output_dir="out")
    torch.save({"model": net().state_dict(), "args": args, "epoch": 3}, tmp_path / "w.pth")
    assert set(read_state(tmp_path / "w.pth")) == set(net().state_dict())


def test_a_command_line_may_hide_nothing_else(tmp_path):
    args = argparse.Namespace(callback=Unsafe())
    torch.save({"model": net().state_dict(), "args": args}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="holds Python objects, not only weights"):
        read_state(tmp_path / "w.pth")


class Unsafe:
    """Unpickling this would run code."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_pickled_objects_are_refused_and_not_run(tmp_path, capsys):
    torch.save({"model": Unsafe()}, tmp_path / "w.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Unsafe()))
    with pytest.raises(InputError, match="holds Python objects, not only weights"):
        read_state(tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"raw\.pt: checkpoint"):
        read_state(tmp_path / "raw.pt")
    assert "printed" not in capsys.readouterr().out


def test_missing_damaged_and_empty_files_are_named(tmp_path):
    with pytest.raises(InputError, match="checkpoint not found"):
        read_state(tmp_path / "none.pt")
    for name in ("w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 cut off")
        with pytest.raises(InputError, match=f"{name}: checkpoint cannot be read"):
            read_state(tmp_path / name)
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(InputError, match="holds no state dict"):
        read_state(tmp_path / "empty.pt")


def test_every_difference_is_listed_at_once():
    state = net(width=5).state_dict()
    state["2.gain"] = state.pop("2.bias")
    with pytest.raises(InputError) as caught:
        load_strict(net(), state, where="w.pt")
    text = str(caught.value)
    assert "missing: 2.bias; unexpected: 2.gain; shape: " in text
    assert "0.weight (5, 3) instead of (4, 3)" in text
    assert text.startswith("w.pt: checkpoint is of another model")


def test_a_refused_checkpoint_changes_no_weight():
    model = net()
    before = state_hash(model)
    state = net(seed=1).state_dict()
    del state["0.bias"]
    with pytest.raises(InputError, match=r"missing: 0\.bias"):
        load_strict(model, state, where="w")
    assert state_hash(model) == before


def test_long_lists_are_cut():
    state = {f"layer{k}": torch.zeros(1) for k in range(20)} | net().state_dict()
    with pytest.raises(InputError, match="layer7 and 12 more"):
        load_strict(net(), state, where="w")


def test_a_new_head_stays_fresh_and_the_rest_is_loaded():
    model, other = net(), net(seed=1)
    state = {k: v for k, v in other.state_dict().items() if k != "2.bias"}
    state["2.weight"] = torch.zeros(7, 4)
    fresh = model[2].weight.clone()
    assert load_strict(model, state, where="w", new=("2.",)) == ["2.weight", "2.bias"]
    assert torch.equal(model[2].weight, fresh)
    assert torch.equal(model[0].weight, other[0].weight)


def test_a_real_third_party_checkpoint_reads_and_is_refused_by_another_model(data_folder):
    path = data_folder / "eeg-gnn-ssl" / "pretrained_distance_graph_12s.pth.tar"
    state = read_state(path)
    assert len(state) == 26
    assert sum(v.numel() for v in state.values()) == 491_492
    with pytest.raises(InputError, match="unexpected: encoder"):
        load_strict(net(), state, where=path)


class Nested(nn.Module):
    """A module with the parameters of a state dict under its names."""

    def __init__(self, state):
        super().__init__()
        for key, value in state.items():
            here = self
            *path, last = key.split(".")
            for piece in path:
                if piece not in here._modules:
                    here.add_module(piece, nn.Module())
                here = here.get_submodule(piece)
            here.register_parameter(last, nn.Parameter(torch.zeros_like(value)))


def test_a_real_third_party_checkpoint_loads_strictly(data_folder):
    path = data_folder / "eeg-gnn-ssl" / "pretrained_distance_graph_12s.pth.tar"
    state = read_state(path)
    model = Nested(state)
    assert load_strict(model, state, where=path) == []
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    key = next(key for key in state if key.startswith("decoder."))
    wrong = {k: v for k, v in state.items() if k != key} | {"decoder.other": state[key]}
    with pytest.raises(InputError, match=rf"missing: {key}; unexpected: decoder\.other\."):
        load_strict(model, wrong, where=path)
    body = {k: v for k, v in state.items() if k.startswith("encoder.")}
    assert len(load_strict(model, body, where=path, new=("decoder.",))) == 14


def test_an_unexpected_key_is_called_what_the_file_calls_it():
    state = net().state_dict() | {"renamed": torch.zeros(1)}
    with pytest.raises(InputError, match=r"unexpected: theirs\."):
        load_strict(net(), state, where="w", names={"renamed": "theirs", "0.weight": "other"})


def test_state_hash_sees_every_weight_and_buffer():
    student = MiC(4, 400, 2)
    hashes = {state_hash(student)}
    with torch.no_grad():
        student.state_dict()["stem.1.num_batches_tracked"].add_(1)
        hashes.add(state_hash(student))
        student.readout[1].bias[0] += 1e-6
    hashes.add(state_hash(student))
    assert len(hashes) == 3
