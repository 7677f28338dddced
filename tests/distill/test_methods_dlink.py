import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from distill.losses import kd
from distill.methods.base import Batch, Method
from distill.methods.dlink import DLink, DLinkConfig
from distill.methods.none import Labels
from distill.mic import MiC
from distill.teachers import TokenLayout

LAYERS, LAYOUT = 3, TokenLayout(4, 2, 40, sub_steps=5, order="time_major")
TERMS = {"ce", "kd", "mimic", "magnitude", "phase", "router_ce", "collapse"}


def student():
    torch.manual_seed(0)
    return MiC(4, 400, 2, d=40).eval()


def method(**config):
    torch.manual_seed(1)
    return DLink(LAYERS, LAYOUT, 2, 4, DLinkConfig(**config))


def batch(n=6):
    generator = torch.Generator().manual_seed(2)
    return Batch(
        torch.randn(n, 4, 400, generator=generator),
        torch.arange(n) % 2,
        torch.randn(n, 2, generator=generator),
        torch.randn(n, LAYERS, 4, 2, 40, generator=generator),
    )


def gradients(module):
    return {
        name: 0.0 if p.grad is None else p.grad.abs().sum().item()
        for name, p in module.named_parameters()
    }


def test_terms_notes_and_values():
    net, data, m = student(), batch(), method()
    named, notes = m.losses(net, data)
    assert set(named) == TERMS
    assert set(notes) == {"alpha_0", "alpha_1", "alpha_2", "alpha_entropy"}
    torch.testing.assert_close(named["ce"], m.config.ce * F.cross_entropy(net(data.x), data.y))
    soft = kd(net(data.x), data.teacher_logits, 2.0)
    torch.testing.assert_close(named["kd"], m.config.kd * soft)
    assert sum(notes[f"alpha_{k}"] for k in range(3)).item() == pytest.approx(1.0)
    assert all(torch.isfinite(v) and v.ndim == 0 for v in (*named.values(), *notes.values()))


@pytest.mark.parametrize("term", sorted(TERMS))
def test_weights_scale_their_term_and_zero_removes_it(term):
    once, _ = method(**{term: 1.0}).losses(student(), batch())
    twice, _ = method(**{term: 2.0}).losses(student(), batch())
    torch.testing.assert_close(twice[term], 2 * once[term])
    without, _ = method(**{term: 0.0}).losses(student(), batch())
    assert set(without) == TERMS - {term}


def test_the_router_learns_from_labels_and_not_from_what_is_easy_to_imitate():
    m = method(router_ce=0.0, collapse=0.0)
    sum(m.losses(student(), batch())[0].values()).backward()
    assert sum(gradients(m).values()) == 0.0
    m = method(ce=0.0, kd=0.0, mimic=0.0, magnitude=0.0, phase=0.0, collapse=0.0)
    net = student()
    sum(m.losses(net, batch())[0].values()).backward()
    assert all(value > 0 for value in gradients(m).values())
    assert sum(gradients(net).values()) == 0.0


@pytest.mark.parametrize("term", ["mimic", "magnitude", "phase"])
def test_feature_terms_reach_stem_and_mimic_but_not_the_readout(term):
    off = dict.fromkeys(TERMS - {term}, 0.0)
    net = student()
    sum(method(**off).losses(net, batch())[0].values()).backward()
    found = gradients(net)
    assert found["stem.0.weight"] > 0
    assert found["mimic.weight"] > 0
    assert found["readout.1.weight"] == found["compress.spatial"] == 0.0


@pytest.mark.parametrize("axis", ["patch", "subpatch"])
def test_a_student_on_target_has_no_feature_loss(axis, monkeypatch):
    m, net, data = method(spectral_axis=axis), student(), batch()
    target = m.router(data.hidden).target.detach()
    plain = net.with_tokens(data.x)
    monkeypatch.setattr(net, "with_tokens", lambda x: plain._replace(tokens=target))
    named, _ = m.losses(net, data)
    for term in ("mimic", "magnitude", "phase"):
        assert named[term].item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("mode", ["last", "mean", "static", "routed"])
def test_every_arm_of_the_ablation_trains(mode):
    m, net, data = method(router=mode), student().train(), batch(16)
    optimiser = torch.optim.Adam([*net.parameters(), *m.parameters()], lr=5e-3)
    totals = []
    for _ in range(15):
        optimiser.zero_grad()
        total = sum(m.losses(net, data)[0].values())
        total.backward()
        optimiser.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


def test_matched_student_sees_labels_only():
    net, data = student(), batch()
    assert issubclass(Labels, Method)
    assert not Labels.needs_teacher
    named, notes = Labels().losses(net, Batch(data.x, data.y))
    assert notes == {}
    assert list(named) == ["ce"]
    torch.testing.assert_close(named["ce"], F.cross_entropy(net(data.x), data.y))


def test_configuration_is_checked():
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        DLinkConfig(phase=-1)
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        DLinkConfig(entropy_floor=1.5)
