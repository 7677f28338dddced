import pickle

import pytest
import torch

from distill.checkpoints import save_weights, state_hash
from distill.losses import time_series
from distill.signal import SignalSpec
from distill.taps import tap
from distill.teachers import Teacher, architecture, build_teacher
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3", "Cz", "C4"), sfreq=200, n_times=800, scale=100.0)
# Where the patch stem's tokens leave it, and where they are still (batch, filters, tokens, steps).
STEMS = {
    "labram": ("patch_embed", "patch_embed.temporal_conv.act_layer_3", 25),
    "cbramod": ("patch_embedding", "patch_embedding.proj_in", 8),
}
both = pytest.mark.parametrize("name", list(STEMS))


def make(name, n_layers=1, n_outputs=2, **more):
    torch.manual_seed(0)
    return build_teacher(name, SIGNAL, n_outputs, n_layers=n_layers, **more).eval()


@both
def test_logits_and_hidden_states_have_the_protocols_shapes(name):
    teacher = make(name, n_layers=2)
    assert isinstance(teacher, Teacher)
    x = torch.randn(5, 3, 800)
    with torch.no_grad():
        logits, hidden = teacher.hidden(x)
        assert torch.equal(logits, teacher(x))
    assert logits.shape == (5, 2)
    assert hidden.shape == (5, 2, 3, 4, 200)
    assert not torch.equal(hidden[:, 0], hidden[:, 1])


@both
def test_hidden_states_are_those_of_the_blocks_without_cls(name):
    teacher = make(name)
    x = torch.randn(2, 3, 800)
    with torch.no_grad(), tap(teacher.model, teacher.layers) as seen:
        _, hidden = teacher.hidden(x)
    raw = seen[teacher.layers[0]].reshape(2, -1, 200)
    assert raw.shape[1] == 12 + (name == "labram")
    assert torch.equal(hidden[:, 0].reshape(2, 12, 200), raw[:, -12:])


@both
def test_tokens_run_through_channels_then_patches(name):
    """A change inside one patch of one electrode moves that token of the stem most."""
    teacher, path = make(name), STEMS[name][0]
    x = torch.randn(1, 3, 800)
    other = x.clone()
    other[0, 1, 2 * 200 + 20 : 3 * 200 - 20] += torch.randn(160)
    tokens = []
    for window in (x, other):
        with torch.no_grad(), tap(teacher.model, [path]) as seen:
            teacher(window)
        tokens.append(seen[path].reshape(3, 4, 200))
    moved = (tokens[1] - tokens[0]).norm(dim=-1)
    assert moved.argmax().item() == 1 * 4 + 2
    moved[1, 2] = 0
    assert moved.max() < 0.5 * (tokens[1] - tokens[0]).norm()


@both
def test_unfolding_restores_the_time_axis_of_the_stem(name):
    """time_series(tokens) equals the stem's own maps, laid end to end over the patches."""
    teacher = make(name)
    _, path, steps = STEMS[name]
    assert teacher.layout.sub_steps == steps
    with torch.no_grad(), tap(teacher.model, [path]) as seen:
        teacher(torch.randn(2, 3, 800))
    maps = seen[path]
    filters = 200 // steps
    assert maps.shape == (2, filters, 3 * 4, steps)
    # The stem's own flattening to tokens: braindecode's rearrangements.
    if name == "cbramod":
        tokens = maps.permute(0, 2, 1, 3).reshape(2, 3, 4, 200)  # "b d (c n) p2 -> b c n (d p2)"
    else:
        rearrange = teacher.model.get_submodule(
            "patch_embed.temporal_conv.transpose_temporal_channel"
        )
        tokens = rearrange(maps).reshape(2, 3, 4, 200)
    expected = maps.reshape(2, filters, 3, 4 * steps).transpose(1, 2)
    assert torch.equal(time_series(tokens, teacher.layout, "subpatch"), expected)


@both
def test_electrode_names_reach_labram_only(name):
    torch.manual_seed(0)
    renamed = SIGNAL.model_copy(update={"ch_names": ("O1", "Oz", "O2")})
    x = torch.randn(1, 3, 800)
    other = build_teacher(name, renamed, 2, n_layers=1)
    other.load_state_dict(make(name).state_dict())
    with torch.no_grad():
        same = torch.allclose(make(name)(x), other.eval()(x))
    assert same == (name == "cbramod")


@both
def test_parameter_groups_part_head_and_body(name):
    teacher = make(name)
    body, head = teacher.parameter_groups(1e-4, 5e-4)
    assert (body["lr"], head["lr"]) == (1e-4, 5e-4)
    n_head = sum(p.numel() for p in teacher.model.final_layer.parameters())
    assert sum(p.numel() for p in head["params"]) == n_head > 0
    trainable = sum(p.numel() for p in teacher.parameters() if p.requires_grad)
    assert sum(p.numel() for g in (body, head) for p in g["params"]) == trainable


@both
def test_a_teacher_travels_to_another_process(name):
    """Data-parallel training pickles it; braindecode's own modules do not pickle."""
    teacher = make(name, n_layers=2)
    twin = pickle.loads(pickle.dumps(teacher))
    assert state_hash(twin) == state_hash(teacher)
    assert not twin.training
    assert pickle.loads(pickle.dumps(teacher.train())).training
    x = torch.randn(1, 3, 800)
    with torch.no_grad():
        assert torch.equal(twin.hidden(x)[1], teacher.eval().hidden(x)[1])


# Checkpoints ------------------------------------------------------------------------------------


@both
def test_a_checkpoint_of_the_same_model_loads_whole(name, tmp_path):
    teacher = make(name)
    save_weights(teacher.model, tmp_path / "t.safetensors")
    torch.manual_seed(9)
    again = build_teacher(name, SIGNAL, 2, n_layers=1, checkpoint=tmp_path / "t.safetensors")
    assert state_hash(again) == state_hash(teacher)


@both
def test_a_checkpoint_for_other_classes_gives_its_body_and_a_new_head(name, tmp_path):
    donor = make(name, n_outputs=5)
    torch.save({"model": donor.model.state_dict()}, tmp_path / "t.pth")
    teacher = make(name, n_outputs=2, checkpoint=tmp_path / "t.pth")
    theirs = donor.model.state_dict()
    for key, value in teacher.model.state_dict().items():
        if not key.startswith("final_layer."):
            assert torch.equal(value, theirs[key]), key
    assert teacher(torch.zeros(1, 3, 800)).shape == (1, 2)


def test_a_checkpoint_of_another_model_depth_or_name_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    save_weights(make("labram", n_layers=2).model, path)
    with pytest.raises(InputError, match=r"of another model; missing: .*; unexpected: .*blocks"):
        make("cbramod", checkpoint=path)
    with pytest.raises(InputError, match=r"unexpected: blocks\.1\.") as caught:
        make("labram", n_layers=1, checkpoint=path)
    assert "missing" not in str(caught.value)
    with pytest.raises(InputError, match=r"missing: blocks\.2\."):
        make("labram", n_layers=3, checkpoint=path)


def test_one_renamed_key_is_listed_under_both_names(tmp_path):
    state = make("cbramod").model.state_dict()
    state["encoder.layers.0.norm1.gamma"] = state.pop("encoder.layers.0.norm1.weight")
    torch.save(state, tmp_path / "t.pt")
    with pytest.raises(InputError) as caught:
        make("cbramod", checkpoint=tmp_path / "t.pt")
    assert (
        "missing: encoder.layers.0.norm1.weight; unexpected: encoder.layers.0.norm1.gamma"
        in str(caught.value)
    )


# What a teacher refuses -------------------------------------------------------------------------


def test_every_difference_of_the_signal_is_named():
    wrong = SignalSpec(ch_names=("C3",), sfreq=250, n_times=500, unit="V")
    with pytest.raises(InputError) as caught:
        build_teacher("labram", wrong, 2, n_layers=1)
    for part in ("sfreq must be 200.0", "unit must be uV", "scale must be 100.0", "n_times must"):
        assert part in str(caught.value)


def test_unknown_teachers_and_electrodes():
    with pytest.raises(InputError, match=r"teacher is not known \(found eegnet, allowed labram"):
        architecture("eegnet")
    odd = SIGNAL.model_copy(update={"ch_names": ("C3", "Left", "Ear")})
    with pytest.raises(InputError, match="electrodes Left, Ear have no position in LaBraM"):
        build_teacher("labram", odd, 2, n_layers=1)
    assert build_teacher("cbramod", odd, 2, n_layers=1).layout.n_chans == 3
