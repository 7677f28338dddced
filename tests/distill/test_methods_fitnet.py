import numpy as np
import planted
import pytest
import torch
from pydantic import ValidationError

from distill.methods.fitnet import FitNet, FitNetConfig
from distill.methods.options import layer_index
from distill.methods.registry import build_method
from targets.errors import InputError


@pytest.fixture(scope="module")
def found():
    return planted.setting(planted.windows(24))


def built(found, **config):
    torch.manual_seed(1)
    return FitNet.build(FitNetConfig(**config), found)


@pytest.mark.parametrize("chans", ["all", "mean"])
def test_the_hint_by_hand(found, chans):
    """A matrix product a patch, and a relative error, in numpy."""
    method = built(found, chans=chans, layer=1, hint=0.5)
    data = planted.batch(found, method)
    named, notes = method.losses(found.student.eval(), data)
    weight, bias = (p.detach().double().numpy() for p in method.regressor.parameters())
    features = found.student.with_tokens(data.x).features.detach().double().numpy()
    hint = found.outputs.hidden[:, 1].astype(float)
    if chans == "mean":
        hint = hint.mean(1, keepdims=True)
    guess = np.empty_like(hint)
    for c in range(hint.shape[1]):
        for j in range(planted.D):
            row = c * planted.D + j
            guess[:, c, :, j] = np.einsum("k,bks->bs", weight[row, :, 0], features) + bias[row]
    variance = ((hint - hint.mean((0, 2), keepdims=True)) ** 2).mean()
    expected = 0.5 * ((guess - hint) ** 2).mean() / variance
    assert notes == {}
    assert set(named) == {"ce", "kd", "hint"}
    assert named["hint"].item() == pytest.approx(expected, rel=1e-4)


def test_the_regressor_starts_at_the_mean(found):
    """With silent features the error is 1: the student contributes nothing yet."""
    method = built(found, layer="last")
    guess = method.predict(torch.zeros(24, found.student.width, planted.PATCHES))
    hint = torch.from_numpy(found.outputs.hidden[:, 1])
    torch.testing.assert_close(guess[0, :, 0], hint.mean((0, 2)))
    assert ((guess - hint).square().mean() / (hint - guess).var(correction=0)).item() < 1.01


def test_the_hint_reaches_the_encoder_and_not_the_readout(found):
    student = found.student.train()
    student.zero_grad()
    method = built(found)
    method.losses(student, planted.batch(found, method))[0]["hint"].backward()
    assert student.stem[0].weight.grad.abs().sum() > 0
    assert student.readout[1].weight.grad is None
    assert method.regressor.weight.grad.abs().sum() > 0


def test_the_hint_is_learned():
    found = planted.setting(planted.windows(96))
    history = planted.train(built(found, ce=0.0, kd=0.0), found)
    assert history[0]["hint"] > 0.9
    assert history[-1]["hint"] < 0.85 * history[0]["hint"]


def test_two_stages_learn_the_hint_first_and_survive_a_checkpoint():
    found = planted.setting(planted.windows(24))
    method = built(found, hint_epochs=1.0)
    data = planted.batch(found, method, slice(0, 12))
    learned = []
    for step in range(4):
        named, notes = method.losses(found.student, data)
        assert set(named) | set(notes) == {"ce", "kd", "hint"}
        assert not any(value.requires_grad for value in notes.values())
        learned.append(set(named))
        if step == 1:  # a resumed training goes on in the second stage
            state, method = method.state_dict(), built(found, hint_epochs=1.0)
            method.load_state_dict(state)
    assert learned == [{"hint"}, {"hint"}, {"ce", "kd"}, {"ce", "kd"}]


def test_validation_does_not_count_as_seen(found):
    method = built(found, hint_epochs=1.0).eval()
    for _ in range(3):
        assert set(method.losses(found.student, planted.batch(found, method))[0]) == {"hint"}


@pytest.mark.parametrize(
    ("layer", "n_layers", "expected"),
    [("middle", 12, 5), ("middle", 1, 0), ("middle", 3, 1), ("last", 12, 11), (7, 12, 7)],
)
def test_layers_by_name_and_number(layer, n_layers, expected):
    assert layer_index(layer, n_layers, where="x") == expected


def test_faults(found):
    with pytest.raises(InputError, match=r"\[method\] layer: .*found 2, allowed 0 to 1, middle"):
        build_method(FitNetConfig(layer=2), found)
    for layer in ("first", -1, 1.0, True):
        with pytest.raises(ValidationError, match='number from 0 on, or "middle" or "last"'):
            FitNetConfig(layer=layer)
    with pytest.raises(ValidationError, match="hint and one of ce, kd must be above 0"):
        FitNetConfig(hint_epochs=1.0, hint=0.0)
