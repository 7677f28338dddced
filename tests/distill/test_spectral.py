import pytest
import torch

from distill.spectral import EPS, SpectralLoss


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def by_autograd(student, target):
    """The formula of docs/methods.md, word for word."""
    fs, ft = (torch.fft.rfft(x, norm="ortho") for x in (student, target))
    mag_s, mag_t = (torch.sqrt(f.real**2 + f.imag**2 + EPS) for f in (fs, ft))
    magnitude = (torch.log1p(mag_s) - torch.log1p(mag_t)).abs().mean()
    cosine = (fs * ft.conj()).real / (mag_s * mag_t + EPS)
    share = mag_t / mag_t.sum(dim=-1, keepdim=True)
    return magnitude, (share * (1.0 - cosine)).sum(dim=-1).mean()


@pytest.mark.parametrize("steps", [100, 99, 4, 3, 2, 1])
def test_values_and_gradient_are_those_of_the_formula(steps):
    target, results = draw(2, 3, steps, seed=1), []
    for spectral in (by_autograd, SpectralLoss.apply):
        student = draw(2, 3, steps).requires_grad_()
        magnitude, phase = spectral(student, target)
        (0.7 * magnitude + 0.3 * phase).backward()
        results.append((magnitude, phase, student.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("which", [0, 1])
def test_each_loss_has_a_gradient_of_its_own(which):
    student, target = draw(2, 8).requires_grad_(), draw(2, 8, seed=1)
    assert torch.autograd.gradcheck(lambda x: SpectralLoss.apply(x, target)[which], (student,))


def test_series_in_another_order_in_memory_give_the_same():
    student, target = draw(3, 8, 4).transpose(1, 2), draw(3, 4, 8, seed=1)
    for one, other in zip(
        SpectralLoss.apply(student, target),
        SpectralLoss.apply(student.contiguous(), target),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
