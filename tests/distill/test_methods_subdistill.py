import dataclasses

import numpy as np
import planted
import pytest
import torch
from pydantic import ValidationError

from distill.losses import kd
from distill.methods.registry import build_method
from distill.methods.subdistill import Centre, SubDistill, SubDistillConfig
from targets.errors import InputError


@pytest.fixture(scope="module")
def found():
    return planted.setting(planted.windows(120))


def built(found, **config):
    torch.manual_seed(1)
    return SubDistill.build(SubDistillConfig(**config), found)


def test_the_layers_error_by_hand(found):
    method = built(found, layers=[1], layer_weight=0.5)
    data = planted.batch(found, method)
    named, notes = method.losses(found.student.eval(), data)
    match = method.matches[0]
    basis, q = match.basis.double().numpy(), match.rotation.weight.detach().double().numpy()
    features = found.student.with_tokens(data.x).features.detach().double().numpy()
    features -= features.mean((0, 2), keepdims=True)
    pooled = found.outputs.hidden[:, 1].astype(float).mean(1)  # (batch, n_patches, d)
    target = (pooled - pooled.mean((0, 1))) @ basis
    nu = (target**2).sum(-1).mean()
    error = np.einsum("jk,bks->bsj", q, features) * np.sqrt(nu / 8) - target
    expected = 0.5 * (error**2).sum(-1).mean() / nu
    assert notes == {}
    assert set(named) == {"kd", "layer_1"}
    assert named["layer_1"].item() == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(
        named["kd"], kd(found.student(data.x), data.teacher_logits, 4.0).detach(), rtol=1e-4, atol=0
    )


def test_a_silent_student_has_error_one_and_a_perfect_one_zero(found):
    """In every layer, whatever its scale: "late" is twice "embed"."""
    method, hidden = built(found, layers=[0, 1]), planted.batch(found).hidden
    for layer, match in enumerate(method.matches):
        silent = torch.zeros(120, 8, planted.PATCHES)
        assert match(silent, hidden[:, layer]).item() == pytest.approx(1.0, abs=1e-4)
        target = match.scale * (hidden[:, layer].mean(1) - match.mean) @ match.basis
        perfect = (target @ match.rotation.weight).transpose(1, 2)
        assert match(perfect, hidden[:, layer]).item() == pytest.approx(0.0, abs=1e-5)


def test_the_rotation_stays_orthogonal_while_it_learns():
    found = planted.setting(planted.windows(48))
    method = built(found)
    before = method.matches[0].rotation.weight.detach().clone()
    planted.train(method, found, steps=20)
    q = method.matches[0].rotation.weight.detach()
    torch.testing.assert_close(q @ q.T, torch.eye(8), atol=1e-5, rtol=0)
    assert (q - before).abs().max() > 0.01


def test_the_planted_directions_lead_the_subspace():
    """A student of width 2 is asked for the task alone."""
    found = planted.setting(planted.windows(120), width=2)
    basis = built(found).matches[0].basis
    within = torch.linalg.svdvals(planted.rotation()[:2] @ basis)
    assert within.min() > 0.99


def test_the_subspace_is_learned():
    found = planted.setting(planted.windows(96), width=2)
    history = planted.train(built(found, kd=0.0), found, steps=60)
    assert set(history[0]) == {"layer_1"}
    assert history[-1]["layer_1"] < 0.4 * history[0]["layer_1"]


def test_a_checkpoint_carries_the_subspace(found):
    method = built(found, windows=60)
    other = SubDistill.build(SubDistillConfig(windows=60), dataclasses.replace(found, seed=5))
    assert not torch.equal(method.matches[0].basis, other.matches[0].basis)
    other.load_state_dict(method.state_dict())
    data, student = planted.batch(found, method), found.student.eval()
    assert torch.equal(
        other.eval().losses(student, data)[0]["layer_1"],
        method.eval().losses(student, data)[0]["layer_1"],
    )


def test_centre_is_the_batchs_mean_in_training_and_the_running_one_after():
    centre, x = Centre(3), torch.randn(64, 3, 5) + torch.tensor([1.0, 2.0, 3.0])[:, None]
    assert centre(x).mean((0, 2)).abs().max() < 1e-6
    for _ in range(200):
        centre(x)
    torch.testing.assert_close(centre.running, x.mean((0, 2)))
    torch.testing.assert_close(centre.eval()(x), x - x.mean((0, 2))[:, None])


# The subtask ------------------------------------------------------------------------------------


def test_windows_of_other_classes_count_nothing(found):
    method, student = built(found, classes=[0, 2], ce=1.0), found.student.eval()
    data = planted.batch(found, method)
    inside = data.y != 1
    moved = data._replace(x=torch.where(inside[:, None, None], data.x, 0.0))
    only = planted.part(data, inside)
    losses = [method.losses(student, seen)[0] for seen in (data, moved, only)]
    for name in ("ce", "kd", "layer_1"):
        assert losses[0][name] == losses[1][name] == losses[2][name]


def test_of_a_window_without_a_label_the_teacher_says_the_class(found):
    """The planted teacher is always right, so that nothing changes."""
    method, student = built(found, classes=[0, 2]), found.student.eval()
    data = planted.batch(found, method)
    blind = data._replace(y=torch.full((120,), -1))
    a, b = (method.losses(student, seen)[0] for seen in (data, blind))
    assert a == b


def test_a_batch_without_the_subtask_is_zero_with_a_gradient(found):
    method, student = built(found, classes=[0, 2]), found.student.train()
    data = planted.batch(found, method)
    named, _ = method.losses(student, planted.part(data, data.y == 1))
    assert all(value.item() == 0.0 for value in named.values())
    torch.stack(list(named.values())).sum().backward()
    assert torch.equal(student.stem[0].weight.grad, torch.zeros_like(student.stem[0].weight))


def test_a_student_of_two_classes_never_says_the_third():
    found = planted.setting(planted.windows(96))
    planted.train(built(found, classes=[0, 2]), found, steps=60)
    data = planted.batch(found)
    with torch.no_grad():
        said = found.student.eval()(data.x[data.y != 1]).argmax(1)
    assert not (said == 1).any()
    assert (said == data.y[data.y != 1]).float().mean() > 0.8


# Choices ----------------------------------------------------------------------------------------


def test_windows_are_capped_and_drawn_by_the_seed(found):
    few, same, other = (
        SubDistill.build(SubDistillConfig(windows=8), dataclasses.replace(found, seed=seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(few.matches[0].mean, same.matches[0].mean)
    assert not torch.equal(few.matches[0].mean, other.matches[0].mean)


def test_layers_are_the_last_half_or_those_named(found):
    assert built(found).layers_needed == (1,)
    assert built(found, layers=["last", 0]).layers_needed == (1, 0)


def test_faults(found):
    def refused(config, setting=found):
        with pytest.raises(InputError) as caught:
            build_method(SubDistillConfig(**config), setting)
        return str(caught.value)

    assert "[method] layers: the teacher has no such layer (found 2" in refused({"layers": [2]})
    assert "no such class (found 3, allowed 0 to 2)" in refused({"classes": [0, 3]})
    wide = planted.setting(found.train, width=17)
    assert "wider than the teacher's tokens (found 17, allowed at most 16)" in refused({}, wide)
    gone = planted.setting(found.train.select(found.train.y == 1))
    assert "no training window is of these classes" in refused({"classes": [0, 2]}, gone)
    with pytest.raises(ValidationError, match="names something twice: 1, 1"):
        SubDistillConfig(classes=[1, 1])
    with pytest.raises(ValidationError, match="at least 1 item"):
        SubDistillConfig(layers=[])


def test_a_layer_without_a_say_is_left_out_unless_it_is_named(found, monkeypatch):
    """As where a head reads class tokens alone: the last block's patch tokens decide nothing."""
    monkeypatch.setattr(planted.Planted, "forward", _around_late)
    assert built(found, layers=["middle"]).layers_needed == (0,)
    with pytest.raises(InputError, match=r"does not depend .*found 1.* Choose earlier layers"):
        built(found, layers=[0, 1])
    with pytest.raises(InputError, match="does not depend"):
        built(found)


def _around_late(self, x):
    tokens = self.embed(x.unflatten(2, (planted.PATCHES, planted.D)))
    self.late(tokens)
    return self.final_layer(tokens.mean(dim=(1, 2)))
