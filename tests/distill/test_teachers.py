import pickle

import numpy as np
import pytest
import torch
from teacher_makers import NAMES, contract, make, scramble, windows

from distill.checkpoints import state_hash
from distill.losses import time_series
from distill.signal import SignalSpec
from distill.taps import tap
from distill.teachers import Teacher, architecture, build_teacher, check_signal
from distill.teachers.biot import scaled
from targets.errors import InputError

# What enters the first block: the stem's tokens.
STEM = {
    "labram": "blocks.0:input",
    "cbramod": "encoder.layers.0:input",
    "biot": "encoder.transformer.layers.layers.0.0:input",
    "eegpt": "target_encoder.blocks.0:input",
}
# Where the stem's maps are still (batch, filters, tokens, steps).
MAPS = {
    "labram": ("patch_embed.temporal_conv.act_layer_3", 25),
    "cbramod": ("patch_embedding.proj_in", 8),
}
every = pytest.mark.parametrize("name", NAMES)


@every
def test_logits_and_hidden_states_have_the_protocols_shapes(name):
    teacher = make(name, n_layers=2)
    assert isinstance(teacher, Teacher)
    x = windows(name, 5)
    with torch.no_grad():
        logits, hidden = teacher.hidden(x)
        assert torch.equal(logits, teacher(x))
    lay, arch = teacher.layout, architecture(name)
    assert logits.shape == (5, 2)
    assert hidden.shape == (5, 2, 3, 4, arch.d) == (5, 2, lay.n_chans, lay.n_patches, lay.d)
    assert lay == arch.layout(contract(name))
    assert not torch.equal(hidden[:, 0], hidden[:, 1])


def test_hidden_states_of_labram_and_cbramod_are_the_blocks_tokens():
    for name, cls_tokens in (("labram", 1), ("cbramod", 0)):
        teacher = make(name)
        with torch.no_grad(), tap(teacher.model, teacher.layers) as seen:
            _, hidden = teacher.hidden(windows(name))
        raw = seen[teacher.layers[0]].reshape(2, -1, 200)
        assert raw.shape[1] == 12 + cls_tokens
        assert torch.equal(hidden[:, 0].reshape(2, 12, 200), raw[:, cls_tokens:])


def test_hidden_states_of_eegpt_leave_the_summary_tokens_out():
    teacher = make("eegpt")
    with torch.no_grad(), tap(teacher.model, teacher.layers) as seen:
        _, hidden = teacher.hidden(windows("eegpt"))
    raw = seen[teacher.layers[0]]
    assert raw.shape == (2 * 4, 3 + 4, 512)
    for window in range(2):
        for patch in range(4):
            assert torch.equal(hidden[window, 0, :, patch], raw[window * 4 + patch, :3])


def test_hidden_states_of_biot_are_residual_sums_averaged_over_frames():
    """Frames begin every half patch; each counts by what it shares with the patch."""
    teacher = scramble(make("biot", n_layers=3))
    pairs = teacher.model.encoder.transformer.layers.layers
    with torch.no_grad(), tap(teacher.model, [STEM["biot"]]) as seen:
        _, hidden = teacher.hidden(windows("biot"))
        x = seen[STEM["biot"]]
        for k, (attention, feedforward) in enumerate(pairs):
            x = x + attention(x)
            x = x + feedforward(x)
            frames = x.reshape(2, 3, 7, 256)
            assert torch.allclose(
                hidden[:, k, :, 0], (2 * frames[:, :, 0] + frames[:, :, 1]) / 3, atol=1e-5
            )
            assert torch.allclose(
                hidden[:, k, :, 2],
                frames[:, :, 4] / 2 + (frames[:, :, 3] + frames[:, :, 5]) / 4,
                atol=1e-5,
            )
    assert k == 2


@every
def test_tokens_run_through_channels_then_patches(name):
    """A change inside one patch of one electrode moves that token of the stem most."""
    teacher = make(name)
    patch = architecture(name).needs.patch
    x = windows(name, 1)
    other = x.clone()
    inside = slice(2 * patch + patch // 10, 3 * patch - patch // 10)
    other[0, 1, inside] = torch.randn(other[0, 1, inside].shape)
    tokens = []
    for window in (x, other):
        with torch.no_grad(), tap(teacher.model, [STEM[name]]) as seen:
            teacher(window)
        tokens.append(teacher.tokens(STEM[name], seen[STEM[name]], 1)[0])
    moved = (tokens[1] - tokens[0]).norm(dim=-1)
    assert moved.argmax().item() == 1 * 4 + 2
    moved[1, 2] = 0
    assert moved.max() < 0.5 * (tokens[1] - tokens[0]).norm()


@pytest.mark.parametrize("name", MAPS)
def test_unfolding_restores_the_time_axis_of_the_stem(name):
    """time_series(tokens) equals the stem's own maps, laid end to end over the patches."""
    teacher = make(name)
    path, steps = MAPS[name]
    assert teacher.layout.sub_steps == steps
    with torch.no_grad(), tap(teacher.model, [path]) as seen:
        teacher(windows(name))
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


@pytest.mark.parametrize("name", ["biot", "eegpt"])
def test_tokens_without_time_inside_unfold_to_one_step_a_patch(name):
    teacher = make(name)
    tokens = torch.randn(2, 3, 4, teacher.layout.d)
    assert torch.equal(
        time_series(tokens, teacher.layout, "subpatch"),
        time_series(tokens, teacher.layout, "patch"),
    )


@every
def test_every_trained_weight_learns(name):
    """Scaling, taps and reductions cut no gradient."""
    teacher = make(name, n_layers=2).train()
    logits, hidden = teacher.hidden(windows(name, 4))
    (logits.square().sum() + hidden.square().mean()).backward()
    still = [n for n, p in teacher.named_parameters() if p.requires_grad and p.grad is None]
    assert still == []


@every
def test_electrode_names_reach_the_teachers_that_know_them(name, tmp_path):
    donor = make(name)
    torch.save(donor.model.state_dict(), tmp_path / "t.pt")
    renamed = contract(name, ch_names=("O1", "Oz", "O2"))
    other = make(name, signal=renamed, checkpoint=tmp_path / "t.pt", seed=3)
    with torch.no_grad():
        same = torch.allclose(donor(windows(name)), other(windows(name)), atol=1e-5)
    assert same == (name in {"cbramod", "biot"})


@every
def test_parameter_groups_part_head_and_body(name):
    teacher = make(name)
    body, head = teacher.parameter_groups(1e-4, 5e-4)
    assert (body["lr"], head["lr"]) == (1e-4, 5e-4)
    n_head = sum(p.numel() for p in teacher.model.final_layer.parameters())
    assert sum(p.numel() for p in head["params"]) == n_head > 0
    trainable = sum(p.numel() for p in teacher.parameters() if p.requires_grad)
    assert sum(p.numel() for g in (body, head) for p in g["params"]) == trainable


@every
def test_a_teacher_travels_to_another_process(name):
    """Data-parallel training pickles it; braindecode's own modules do not pickle."""
    teacher = scramble(make(name, n_layers=2))
    twin = pickle.loads(pickle.dumps(teacher))
    assert state_hash(twin) == state_hash(teacher)
    assert not twin.training
    assert pickle.loads(pickle.dumps(teacher.train())).training
    with torch.no_grad():
        assert torch.equal(twin.hidden(windows(name))[1], teacher.eval().hidden(windows(name))[1])


# BIOT's scaling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n_times", [200, 800, 1000, 2000])
def test_biot_scales_by_the_authors_percentile(n_times):
    x = np.random.default_rng(0).standard_normal((2, 3, n_times)).astype(np.float32)
    quantile = np.quantile(np.abs(x), q=0.95, method="linear", axis=-1, keepdims=True)
    np.testing.assert_allclose(
        scaled(torch.from_numpy(x)).numpy(), x / (quantile + 1e-8), rtol=1e-6
    )


def test_biot_does_not_see_the_amplitude_of_an_electrode():
    teacher, x = make("biot"), windows("biot")
    with torch.no_grad():
        louder = teacher(x * torch.tensor([1.0, 7.0, 0.01])[:, None])
        silent = teacher(torch.zeros_like(x))
        assert torch.allclose(teacher(x), louder, atol=1e-5)
    assert silent.isfinite().all()


# What a teacher refuses -------------------------------------------------------------------------


@every
def test_every_difference_of_the_signal_is_named(name):
    wrong = SignalSpec(ch_names=("C3",), sfreq=250, n_times=500, unit="V", scale=3.0)
    needs = architecture(name).needs
    with pytest.raises(InputError) as caught:
        check_signal(name, wrong)
    parts = (
        f"sfreq must be {needs.sfreq}",
        f"unit must be {needs.unit}",
        f"scale must be {needs.scale}",
        f"multiple of the patch ({needs.patch})",
    )
    for part in parts:
        assert part in str(caught.value)


def test_unknown_teachers():
    with pytest.raises(InputError, match=r"teacher is not known \(found eegnet, allowed labram"):
        architecture("eegnet")


@pytest.mark.parametrize(
    ("name", "message"),
    [("labram", "electrodes Left, Ear have no position in LaBraM"),
     ("eegpt", "electrodes Left, Ear have no embedding in EEGPT")],
)  # fmt: skip
def test_electrodes_that_a_teacher_does_not_know(name, message):
    odd = contract(name, ch_names=("C3", "Left", "Ear"))
    with pytest.raises(InputError, match=message):
        build_teacher(name, odd, 2, n_layers=1)


@pytest.mark.parametrize("name", ["cbramod", "biot"])
def test_teachers_that_take_any_electrodes(name):
    odd = contract(name, ch_names=("C3", "Left", "Ear"))
    assert build_teacher(name, odd, 2, n_layers=1).layout.n_chans == 3
