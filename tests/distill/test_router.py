import math

import pytest
import torch
from torch.nn import functional as F

from distill.router import Router, collapse_penalty, entropy

LAYERS, CHANS, PATCHES, D = 4, 3, 2, 16
MODES = ("last", "mean", "static", "routed")


def router(mode="routed", seed=0, **more):
    torch.manual_seed(seed)
    return Router(LAYERS, CHANS, D, 2, mode=mode, mimic_chans=5, **more)


def hidden(n=8, seed=1):
    return torch.randn(n, LAYERS, CHANS, PATCHES, D, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("mode", MODES)
def test_shapes_and_weights_that_sum_to_one(mode):
    out = router(mode)(hidden())
    assert out.target.shape == (8, 5, PATCHES, D)
    assert out.logits.shape == (8, 2)
    assert out.weights.shape == (8, LAYERS)
    torch.testing.assert_close(out.weights.sum(-1), torch.ones(8))
    assert torch.all(out.weights >= 0)


@pytest.mark.parametrize("mode", MODES)
def test_only_the_router_looks_at_the_input(mode):
    weights = router(mode)(hidden()).weights
    assert torch.allclose(weights, weights[:1]) == (mode != "routed")


def test_fixed_modes_are_exact():
    assert router("last")(hidden()).weights.tolist() == [[0.0, 0.0, 0.0, 1.0]] * 8
    assert router("mean")(hidden()).weights.tolist() == [[0.25] * 4] * 8
    static = router("static")
    with torch.no_grad():
        static.layer_scores.copy_(torch.log(torch.tensor([1.0, 2.0, 3.0, 4.0])))
    torch.testing.assert_close(static(hidden()).weights[0], torch.tensor([0.1, 0.2, 0.3, 0.4]))


def test_target_is_the_mixture_of_normalised_layers():
    net, h = router("last"), hidden()
    with torch.no_grad():
        net.channel_scores.copy_(torch.eye(5, CHANS) * 1e4)  # virtual channel c is electrode c
    normed = F.layer_norm(h[:, -1], (D,))
    torch.testing.assert_close(net(h).target[:, :CHANS], normed)


def test_scale_of_a_layer_does_not_buy_weight():
    h = hidden()
    scaled = h.clone()
    scaled[:, 2] *= 1000
    torch.testing.assert_close(router()(h).weights, router()(scaled).weights, atol=1e-4, rtol=1e-4)


def test_low_temperature_sharpens():
    assert entropy(router(tau=0.01)(hidden()).weights) < entropy(router()(hidden()).weights)


@pytest.mark.parametrize("mode", ["static", "routed"])
def test_the_labels_reach_the_scores(mode):
    net = router(mode)
    F.cross_entropy(net(hidden()).logits, torch.tensor([0, 1] * 4)).backward()
    scores = [net.layer_scores] if mode == "static" else [
        net.score_in.weight, net.layer_embedding, net.score_out.weight,
    ]  # fmt: skip
    for parameter in (*scores, net.channel_scores, net.head.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0


@pytest.mark.parametrize("mode", ["static", "routed"])
@pytest.mark.parametrize("layer", [0, 2])
def test_training_finds_the_layer_that_carries_the_class(mode, layer):
    """Noise everywhere; the class is a direction in one layer only, weaker than the noise."""
    generator = torch.Generator().manual_seed(7)
    y = torch.arange(256) % 2
    h = torch.randn(256, LAYERS, CHANS, PATCHES, D, generator=generator)
    direction = torch.randn(D, generator=generator)
    h[:, layer] += 0.5 * (2.0 * y - 1)[:, None, None, None] * direction
    net = router(mode)
    optimiser = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(net(h).logits, y).backward()
        optimiser.step()
    alpha = net(h).weights.mean(0)
    assert alpha.argmax() == layer
    assert alpha[layer] > 1.6 / LAYERS


def test_entropy_by_hand():
    assert entropy(torch.full((3, 4), 0.25)).item() == pytest.approx(1.0)
    assert entropy(torch.eye(4)).item() == pytest.approx(0.0, abs=1e-6)
    half = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert entropy(half).item() == pytest.approx(math.log(2) / math.log(4))
    assert entropy(torch.ones(3, 1)).item() == 1.0  # one layer: nothing can collapse


def test_penalty_counts_only_below_the_floor_and_its_gradient_spreads():
    half = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    assert collapse_penalty(entropy(half), 0.4).item() == 0.0
    assert collapse_penalty(entropy(half), 0.75).item() == pytest.approx(0.25)
    scores = torch.tensor([[4.0, 0.0, 0.0, 0.0]], requires_grad=True)
    collapse_penalty(entropy(scores.softmax(-1)), 0.9).backward()
    assert scores.grad[0, 0] > 0 > scores.grad[0, 1]  # descent lowers the peak
