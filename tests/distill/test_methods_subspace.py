import numpy as np
import planted
import pytest
import torch
from torch import nn

from distill.methods.subspace import LayerMoments, layer_moments, leading, margin
from distill.teachers import TappedTeacher
from distill.teachers.tokens import TokenForm
from targets.errors import InputError

ALL = 10_000  # more tokens than a window has: every one of them counts


def overlap(basis, directions):
    """1 where the columns of `basis` span the rows of `directions`, 0 where they miss them."""
    return (torch.linalg.svdvals(directions.double() @ basis.double()) ** 2).mean().item()


def by_hand(data, classes):
    """Activations and analytic gradients (tokens, d) of "embed", and of its map's mean."""
    r = planted.rotation().double().numpy()
    patches = data.x.reshape(len(data), 4, planted.PATCHES, planted.D).astype(float)
    a = patches @ r
    directions = 5 * planted.CLASSES.double().numpy() @ r[:2]
    logits = (2 * a).mean((1, 2)) @ directions.T
    order = np.argsort(-logits[:, classes], axis=1)
    first, second = (np.asarray(classes)[order[:, k]] for k in (0, 1))
    # logits = 2 mean over 16 tokens: each token's gradient is a 16th of the directions' difference
    c = 2 * (directions[first] - directions[second]) / 16
    return a.reshape(-1, planted.D), np.repeat(c, 16, axis=0), a.mean(1).reshape(-1, planted.D)


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2)])
def test_moments_and_relevance_by_hand(classes):
    data = planted.windows(40)
    (found,) = layer_moments(planted.teacher(), data.x, [0], classes, tokens=ALL, batch=7)
    a, c, pooled = by_hand(data, classes)
    a -= a.mean(0)
    s_a, s_c, s_ac = (p.T @ q / len(p) for p, q in ((a, a), (c, c), (a, c)))
    t_a, t_c = np.trace(s_a), np.trace(s_c)
    m = s_ac + s_ac.T + 2 * np.sqrt(t_c / t_a) * s_a + 2 * np.sqrt(t_a / t_c) * s_c
    expected = {
        "s_a": s_a, "s_c": s_c, "s_ac": s_ac, "relevance": m,
        "mean": pooled.mean(0), "pooled": np.cov(pooled.T, bias=True),
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, atol=2e-6, err_msg=name)
    assert found.decides


@pytest.mark.parametrize("layer", [0, 1])
def test_the_method_finds_the_planted_directions_and_principal_components_do_not(layer):
    data = planted.windows(200)
    (found,) = layer_moments(planted.teacher(), data.x, [layer], (0, 1, 2))
    task = planted.rotation()[: planted.TASK]
    assert overlap(leading(found.relevance)[:, :2], task) > 0.99
    assert overlap(leading(found.s_a)[:, :2], task) < 0.3


def test_two_classes_need_one_direction():
    data = planted.windows(200)
    (found,) = layer_moments(planted.teacher(), data.x, [0], (0, 1))
    between = (planted.CLASSES[0] - planted.CLASSES[1]) @ planted.rotation()[:2]
    assert (
        overlap(leading(found.relevance)[:, :1], nn.functional.normalize(between, dim=0)[None])
        > 0.99
    )


def test_relevance_is_semi_definite_and_its_vectors_free_of_scale():
    draw = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, c = draw, draw.roll(1, 1) - 0.5 * draw

    def moments(a, c):
        return LayerMoments(a.T @ a, c.T @ c, a.T @ c, a.mean(0), a.T @ a)

    m = moments(a, c).relevance
    assert torch.linalg.eigvalsh(m).min() > -1e-9
    other = moments(1e-4 * a, 50 * c).relevance
    torch.testing.assert_close(other / other.trace(), m / m.trace())


def test_tokens_are_drawn_by_the_seed_and_counted():
    data, net = planted.windows(10), planted.teacher()
    a, b, other = (
        layer_moments(net, data.x, [0], (0, 1, 2), tokens=3, seed=s)[0].s_a for s in (0, 0, 1)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, other)
    one = layer_moments(net, data.x[:1], [0], (0, 1, 2), tokens=3)[0].s_a
    assert torch.linalg.matrix_rank(one) == 2  # three tokens about their mean


def test_margin():
    logits = torch.tensor([[1.0, 5.0, 3.0], [-2.0, 0.0, 4.0]])
    assert margin(logits, (0, 1, 2)).tolist() == [2.0, 4.0]
    assert margin(logits, (0, 2)).tolist() == [2.0, 6.0]
    assert margin(logits, (0,)).tolist() == [1.0, 2.0]


def test_the_teacher_is_left_as_it_was():
    net, data = planted.teacher(), planted.windows(8)
    layer_moments(net, data.x, [0, 1], (0, 1, 2))
    assert not net.training
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())


class Deaf(planted.Planted):
    """Its decision does not pass through "late"; or, with `cut`, gradients stop at "embed"."""

    cut = False

    def forward(self, x):
        tokens = self.embed(x.unflatten(2, (planted.PATCHES, planted.D)))
        tokens = tokens.detach() if self.cut else tokens
        self.late(tokens)
        return self.final_layer(2 * tokens.mean(dim=(1, 2)))


def test_layers_without_a_say():
    data = planted.windows(8)
    form = TokenForm("batch chans steps d")
    net = TappedTeacher("deaf", Deaf(), ("embed", "late"), planted.teacher().layout, form=form)
    embed, late = layer_moments(net.eval(), data.x, [0, 1], (0, 1, 2))
    assert embed.decides
    assert not late.decides
    net.model.cut = True
    with pytest.raises(InputError, match="no gradient flows through the teacher's layer"):
        layer_moments(net.requires_grad_(False), data.x, [0], (0, 1, 2))
