import dataclasses
import math

import numpy as np
import planted
import pytest
import torch
from pydantic import ValidationError

from distill.methods.registry import build_method
from distill.methods.topology import (
    Topology,
    TopologyConfig,
    adjacency,
    divergence,
    gram,
    mean_over,
    pair_masks,
    scaled,
)
from targets.errors import InputError

TWO = ("C4", "C3")  # not the recording's order


def joined_windows(n=48):
    """C3 and C4 both follow Cz, each with noise of its own; Fz is alone."""
    data = planted.windows(n)
    x = np.random.default_rng(1).standard_normal(data.x.shape).astype(np.float32)
    x[:, [0, 2]] += 1.2 * x[:, [1]]
    return dataclasses.replace(data, x=x * np.array([1, 50, 1, 1], dtype=np.float32)[:, None])


def built(found, **config):
    return Topology.build(TopologyConfig(**config), found)


# The graph --------------------------------------------------------------------------------------


def test_adjacency_is_the_mean_correlation_of_windows():
    data = joined_windows(70)  # more than one read
    loud = data.x.copy()
    loud[0] *= 1e3  # one loud window counts like any other
    expected = np.abs(np.mean([np.corrcoef(window) for window in data.x], axis=0))
    np.testing.assert_allclose(adjacency(data), expected, atol=1e-6)
    np.testing.assert_allclose(adjacency(dataclasses.replace(data, x=loud)), expected, atol=1e-6)
    np.testing.assert_allclose(adjacency(data, [2, 0]), expected[np.ix_([2, 0], [2, 0])], atol=1e-6)


def test_a_flat_electrode_correlates_with_none():
    data = joined_windows()
    data.x[:, 1] = 3.0
    assert adjacency(data)[1].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_scaling():
    assert scaled(torch.tensor([[1.0, 0.5], [0.75, 1.0]])).tolist() == [[1.0, 0.0], [0.5, 1.0]]
    assert scaled(torch.full((2, 2), 0.4)).tolist() == [[1.0, 1.0], [1.0, 1.0]]


def masks_by_loop(teacher, student, kept, theta, negatives):
    n, removed = len(kept), [r for r in range(len(teacher)) if r not in kept]
    positive, negative = np.zeros((n, n), bool), np.zeros((n, n), bool)
    for i in range(n):
        for j in range(n):
            direct = teacher[kept[i], kept[j]] > theta
            hops = [teacher[kept[i], r] > theta and teacher[r, kept[j]] > theta for r in removed]
            positive[i, j] = direct or any(hops)
            mine = negatives == "rest" or student[i, j] > theta
            negative[i, j] = mine and not positive[i, j]
    return positive, negative


@pytest.mark.parametrize("negatives", ["rest", "graph"])
@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5, 6], [6, 0, 3], [2, 5]])
def test_masks_as_a_loop_finds_them(kept, negatives):
    """On any two graphs, also such as no recording gives: all kinds of pairs must come up."""
    seen = np.zeros(2, int)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        teacher, student = rng.random((7, 7)) ** 2, rng.random((len(kept),) * 2)
        teacher, student = (teacher + teacher.T) / 2, (student + student.T) / 2
        found = pair_masks(
            torch.from_numpy(teacher), torch.from_numpy(student), kept, 0.4, negatives
        )
        expected = masks_by_loop(teacher, student, kept, 0.4, negatives)
        for mask, wanted in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mask, wanted)
        seen += [mask.sum() for mask in expected]
    assert seen.all()


def test_two_hops_through_a_removed_electrode_join_and_through_a_kept_one_do_not():
    data = joined_windows()
    theta = 0.75
    direct = scaled(adjacency(data))
    assert direct[0, 2] < theta < direct[0, 1]
    for names, joined in ((TWO, True), (("C4", "C3", "Cz"), False)):
        found = planted.setting(data, mimic_chans=len(names), ch_names=names)
        method = built(found, theta=theta)
        assert method.positive[0, 1] == method.positive[1, 0] == joined
        assert method.positive.diagonal().all()
        assert method.columns.tolist() == [data.signal.ch_names.index(name) for name in names]


def test_the_papers_negatives_are_none_on_one_recording():
    """Why the default is another: see the module."""
    data = joined_windows()
    for theta in np.linspace(0, 0.99, 34):
        for names in (TWO, ("Fz", "C3", "C4"), planted.CH_NAMES):
            found = planted.setting(data, mimic_chans=len(names), ch_names=names)
            assert not built(found, theta=theta, negatives="graph").negative.any()


# The loss ---------------------------------------------------------------------------------------


def softmax(rows):
    exps = np.exp(rows - rows.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


@pytest.mark.parametrize("form", ["margin", "ratio"])
def test_the_losses_by_hand(form):
    found = planted.setting(joined_windows(12), mimic_chans=3, ch_names=("C4", "Fz", "C3"))
    config = {"form": form, "topology": 0.5, "beta": 0.2, "margin": 2.0, "tau": 0.3, "theta": 0.7}
    method = built(found, layer="middle", **config)
    data = planted.batch(found, method)
    named, notes = method.losses(found.student.eval(), data)
    teacher = found.outputs.hidden[:, 0].astype(float).mean(2)[:, [2, 3, 0]]
    student = found.student.with_tokens(data.x).tokens.detach().double().numpy().mean(2)
    grams = [np.einsum("bid,bjd->bij", f, f) for f in (teacher, student)]
    if form == "margin":
        grams = [g / np.linalg.norm(g, axis=-1, keepdims=True) / 0.3 for g in grams]
    p, q = (softmax(g) for g in grams)
    d = p * np.log(p / q)
    positive = method.positive.numpy()
    assert 0 < positive.sum() < 9
    np.testing.assert_array_equal(method.negative, ~positive)
    pos, neg = d[:, positive].mean(), d[:, ~positive].mean()
    expected = {
        "margin": {"positive": 0.5 * 3 * (d - p + q)[:, positive].mean(),
                   "negative": 0.1 * max(0, 2.0 - 3 * neg)},
        "ratio": {"ratio": 0.5 * pos / (neg + 1e-8)},
    }[form]  # fmt: skip
    assert notes == {}
    assert set(named) == {"ce", "kd", *expected}
    for name, value in expected.items():
        assert named[name].item() == pytest.approx(value, rel=2e-4, abs=1e-7)


@pytest.mark.parametrize("form", ["margin", "ratio"])
def test_equal_relations_lose_nothing_on_positive_pairs(form):
    """Whatever the features' width and, in form margin, their scale."""
    features = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).Q
    wide = torch.cat([features @ turn, torch.zeros(6, 3, 2)], -1)
    found = planted.setting(joined_windows(12), mimic_chans=3, ch_names=("C4", "Fz", "C3"))
    method = built(found, form=form)
    if form == "margin":
        loss = method.graph_losses(gram(features), gram(7 * wide))["positive"][1]
        assert loss.item() == pytest.approx(0, abs=1e-6)
    else:  # a quotient of zeros: only what it divides can be asked for
        d, _ = divergence(gram(features), gram(wide))
        assert mean_over(d, method.positive).item() == pytest.approx(0, abs=1e-6)


def test_the_error_of_a_pair_is_least_where_both_agree_and_their_sum_is_the_divergence():
    teacher, student = torch.randn(2, 50, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    d, error = divergence(teacher, student)
    assert d.min() < 0
    assert error.min() >= 0
    torch.testing.assert_close(d.sum(-1), error.sum(-1))
    assert divergence(teacher, teacher)[1].abs().max() < 1e-12


def test_no_pairs_no_loss():
    assert mean_over(torch.ones(2, 3, 3), torch.zeros(3, 3, dtype=torch.bool)).item() == 0.0
    found = planted.setting(joined_windows(12), mimic_chans=2, ch_names=TWO)
    method = built(found, theta=0.0)
    assert method.positive.all()
    named, _ = method.losses(found.student, planted.batch(found, method))
    assert named["negative"].item() == 0.0


def test_negatives_are_pushed_apart_until_the_margin():
    """A descent on the negatives alone makes the student relate them a tenth less."""
    found = planted.setting(joined_windows(24), mimic_chans=2, ch_names=TWO)
    method = built(found, theta=0.99)
    assert method.negative.tolist() == [[False, True], [True, False]]
    teacher = torch.ones(1, 2, 2)
    student = teacher.clone().requires_grad_()
    optimiser, apart = torch.optim.SGD([student], lr=1e-3), 1.0
    for _ in range(500):
        optimiser.zero_grad()
        loss = method.graph_losses(teacher, student)["negative"][1]
        loss.backward()
        optimiser.step()
        apart = loss.item()
    assert apart == 0.0
    q = (torch.nn.functional.normalize(student[0], dim=-1) / method.config.tau).softmax(-1)
    assert q[0, 1].item() / 0.5 == pytest.approx(math.exp(-0.1), abs=0.02)


def test_the_losses_reach_stem_and_mimic_but_not_the_readout():
    found = planted.setting(joined_windows(24), mimic_chans=2, ch_names=TWO)
    method = built(found, ce=0.0, kd=0.0)
    torch.stack(
        list(method.losses(found.student, planted.batch(found, method))[0].values())
    ).sum().backward()
    assert found.student.stem[0].weight.grad.abs().sum() > 0
    assert found.student.mimic.weight.grad.abs().sum() > 0
    assert found.student.readout[1].weight.grad is None


def test_relations_are_learned():
    found = planted.setting(joined_windows(48), mimic_chans=3, ch_names=("C4", "Cz", "C3"))
    history = planted.train(built(found, ce=0.0, kd=0.0), found, steps=60)
    assert history[-1]["positive"] < 0.5 * history[0]["positive"]


# Faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "mimic_chans", "message"),
    [
        (("C3", "C9"), 2, r"\[student\] ch_names: the teacher has no such electrode \(found C9"),
        (("C3",), 1, "one electrode relates to no other"),
        (("C3", "C4"), 4, r"mimic_chans: .*found 4, allowed 2\). Set mimic_chans = 2"),
    ],
)
def test_electrodes_that_do_not_go(names, mimic_chans, message):
    found = planted.setting(planted.windows(6), mimic_chans=mimic_chans)
    with pytest.raises(InputError, match=message):
        build_method(TopologyConfig(), dataclasses.replace(found, student_ch_names=names))


def test_a_teacher_that_has_mixed_its_electrodes_is_refused():
    found = planted.setting(planted.windows(6))
    found.teacher.layout = dataclasses.replace(found.teacher.layout, electrodes=False)
    with pytest.raises(InputError, match="belong to no electrode"):
        build_method(TopologyConfig(), found)
    with pytest.raises(ValidationError, match="less than 1"):
        TopologyConfig(theta=1.0)
