import math

import pytest
import torch

from distill.losses import kd, labels, mimic, spectral, time_series, weighted
from distill.teachers import TokenLayout

CBRAMOD = TokenLayout(2, 3, 12, sub_steps=4, order="filter_major")
LABRAM = TokenLayout(2, 3, 12, sub_steps=4, order="time_major")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_weights_scale_and_zero_leaves_out():
    terms = {"a": (2.0, torch.tensor(3.0)), "b": (0.0, torch.tensor(float("nan")))}
    assert weighted(terms) == {"a": torch.tensor(6.0)}


# Labels -----------------------------------------------------------------------------------------


def test_windows_without_a_label_count_nothing():
    logits, y = draw(6, 3), torch.tensor([0, -1, 2, -1, 1, 1])
    log_p, kept = logits.double().log_softmax(-1), [0, 2, 4, 5]
    expected = -sum(log_p[k, y[k]].item() for k in kept) / 4
    assert labels(logits, y).item() == pytest.approx(expected, rel=1e-6)
    moved = logits.clone()
    moved[[1, 3]] += draw(2, 3, seed=1)
    assert torch.equal(labels(moved, y), labels(logits, y))


def test_a_batch_without_labels_is_zero_with_a_gradient_of_zero():
    logits = draw(4, 3).requires_grad_()
    loss = labels(logits, torch.full((4,), -1))
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros(4, 3))


# Logits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_zero_for_equal_logits_up_to_a_shift(temperature):
    logits = draw(5, 3)
    assert kd(logits, logits, temperature).item() == pytest.approx(0, abs=1e-6)
    assert kd(logits + 7, logits, temperature).item() == pytest.approx(0, abs=1e-5)


def test_kd_is_the_kl_divergence_times_the_squared_temperature():
    student, teacher, t = draw(5, 3), draw(5, 3, seed=1), 2.0
    p, q = (teacher / t).softmax(-1), (student / t).softmax(-1)
    expected = t**2 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(kd(student, teacher, t), expected)


def test_kd_on_some_classes_lets_the_student_choose_among_all():
    student, teacher, t = draw(5, 4).double(), draw(5, 4, seed=1).double(), 2.0
    p = (teacher[:, [0, 2]] / t).softmax(-1)
    q = (student / t).softmax(-1)[:, [0, 2]]
    expected = t**2 * (p * (p / q).log()).sum(-1).mean()
    torch.testing.assert_close(kd(student, teacher, t, (0, 2)), expected)
    torch.testing.assert_close(kd(student, teacher, t, range(4)), kd(student, teacher, t))
    worse = student + torch.tensor([0.0, 5.0, 0.0, 0.0])
    assert kd(worse, teacher, t, (0, 2)) > kd(student, teacher, t, (0, 2))


def test_kd_keeps_its_gradient_as_the_temperature_grows():
    """That is what T^2 is for (Hinton et al. 2015, eq. 4)."""
    teacher, norms = draw(5, 3, seed=1), []
    for t in (20.0, 200.0):
        student = draw(5, 3).requires_grad_()
        kd(student, teacher, t).backward()
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


# Features ---------------------------------------------------------------------------------------


def test_mimic_is_one_for_the_mean_and_zero_for_the_target():
    target = 5 + draw(6, 2, 3, 4)
    mean = target.mean(dim=(0, 2), keepdim=True).expand_as(target)
    assert mimic(mean, target).item() == pytest.approx(1.0)
    assert mimic(target, target).item() == 0.0


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_mimic_is_free_of_scale(scale):
    student, target = draw(6, 2, 3, 4), draw(6, 2, 3, 4, seed=1)
    torch.testing.assert_close(mimic(scale * student, scale * target), mimic(student, target))


def test_mimic_of_a_constant_target_is_finite():
    assert torch.isfinite(mimic(draw(2, 1, 2, 3), torch.ones(2, 1, 2, 3)))


# The time axis ----------------------------------------------------------------------------------


def indexed(order):
    """Tokens whose value says (chan, filter, step in the window), flattened as a stem does."""
    chan = torch.arange(2)[:, None, None, None] * 10_000
    patch = torch.arange(3)[None, :, None, None]
    filters, steps = torch.arange(3) * 100, torch.arange(4)
    if order == "filter_major":
        inner = filters[:, None] + steps[None, :]
    else:
        inner = steps[:, None] + filters[None, :]
    value = chan + inner[None, None] + patch * 4
    return value.reshape(1, 2, 3, 12).float()


@pytest.mark.parametrize("layout", [CBRAMOD, LABRAM], ids=["cbramod", "labram"])
def test_subpatch_series_run_in_time(layout):
    series = time_series(indexed(layout.order), layout, "subpatch")
    assert series.shape == (1, 2, 3, 12)
    for chan in range(2):
        for feature in range(3):
            first = 10_000 * chan + 100 * feature
            assert series[0, chan, feature].tolist() == list(range(first, first + 12))


def test_the_two_layouts_are_not_the_same():
    tokens = indexed("filter_major")
    assert not torch.equal(
        time_series(tokens, CBRAMOD, "subpatch"), time_series(tokens, LABRAM, "subpatch")
    )


def test_patch_series_have_one_step_a_patch():
    tokens = draw(2, 2, 3, 12)
    series = time_series(tokens, CBRAMOD, "patch")
    assert series.shape == (2, 2, 12, 3)
    assert torch.equal(series[1, 0, 5], tokens[1, 0, :, 5])


# Spectra ----------------------------------------------------------------------------------------

STEPS = torch.arange(32) / 32


def wave(cycles, phase=0.0, amplitude=10.0):
    return amplitude * torch.sin(2 * math.pi * cycles * STEPS + phase).expand(3, 2, 32)


def test_equal_series_lose_nothing():
    x = draw(3, 2, 32)
    magnitude, phase = spectral(x, x)
    assert magnitude.item() == 0.0
    assert phase.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("shift", [0.3, math.pi / 2, math.pi])
def test_a_shifted_sinusoid_costs_phase_only(shift):
    magnitude, phase = spectral(wave(4, shift), wave(4))
    assert magnitude.item() == pytest.approx(0, abs=1e-3)
    assert phase.item() == pytest.approx(1 - math.cos(shift), abs=1e-3)


def test_magnitude_does_not_see_a_shift_in_time():
    x, y = draw(3, 2, 32), draw(3, 2, 32, seed=1)
    torch.testing.assert_close(spectral(x.roll(5, -1), y)[0], spectral(x, y)[0])


def test_magnitude_by_hand():
    """A sinusoid of amplitude a fills one of 17 bins with a sqrt(32) / 2 (orthonormal FFT)."""
    a, b = (math.log1p(amplitude * math.sqrt(32) / 2) for amplitude in (1.0, 3.0))
    magnitude, phase = spectral(wave(4, amplitude=1.0), wave(4, amplitude=3.0))
    assert magnitude.item() == pytest.approx((b - a) / 17, abs=1e-4)
    assert phase.item() == pytest.approx(0, abs=1e-3)


def test_phase_counts_where_the_target_has_power():
    """The same phase error costs its share of the target's magnitude."""
    target = wave(4) + wave(9, amplitude=2.5)
    _, strong = spectral(wave(4, math.pi) + wave(9, amplitude=2.5), target)
    _, weak = spectral(wave(4) + wave(9, math.pi, amplitude=2.5), target)
    assert strong.item() == pytest.approx(2 * 0.8, abs=5e-3)
    assert weak.item() == pytest.approx(2 * 0.2, abs=5e-3)


@pytest.mark.parametrize("student", [torch.zeros(2, 3, 16), draw(2, 3, 16) * 1e-8])
@pytest.mark.parametrize("target", [torch.zeros(2, 3, 16), draw(2, 3, 16, seed=1)])
def test_gradients_are_finite_at_silence(student, target):
    student = student.clone().requires_grad_()
    magnitude, phase = spectral(student, target)
    (magnitude + phase).backward()
    assert torch.isfinite(magnitude + phase)
    assert torch.isfinite(student.grad).all()


def test_descent_aligns_a_series_with_its_target():
    target = wave(3) + wave(7, 1.0, amplitude=4.0)
    student = draw(3, 2, 32).requires_grad_()
    optimiser = torch.optim.Adam([student], lr=0.5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300)
    start = [loss.item() for loss in spectral(student, target)]
    for _ in range(300):
        optimiser.zero_grad()
        sum(spectral(student, target)).backward()
        optimiser.step()
        schedule.step()
    magnitude, phase = (loss.item() for loss in spectral(student, target))
    assert magnitude < 0.1 * start[0]
    assert phase < 0.01 * start[1]
    correlation = torch.nn.functional.cosine_similarity(student.flatten(), target.flatten(), dim=0)
    assert correlation > 0.95


def test_half_precision_is_computed_in_single():
    x = draw(2, 3, 16).bfloat16()
    assert all(loss.dtype == torch.float32 for loss in spectral(x, x))
