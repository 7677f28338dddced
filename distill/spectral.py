"""Magnitude and phase loss between spectra, with its gradient by hand.

The loss is a few dozen passes over few numbers. Left to autograd, each pass keeps its input and
makes another tensor, and real parts of complex tensors get complex gradients, mostly of zeros:
twice the time, in what is the largest single cost of distilling a small student.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

EPS = 1e-8


class SpectralLoss(torch.autograd.Function):
    """(magnitude, phase) of series (..., steps), fp32; see :func:`distill.losses.spectral`.

    There is a gradient for the student's series alone.
    """

    @staticmethod
    def forward(ctx: Any, student: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both losses."""
        re_s, im_s, mag_s = _spectrum(student)
        re_t, im_t, mag_t = _spectrum(target)
        log_ratio = torch.log1p(mag_s).sub_(torch.log1p(mag_t))
        product = (mag_s * mag_t).add_(EPS)
        cosine = (re_s * re_t).addcmul_(im_s, im_t).div_(product)
        total = mag_t.sum(dim=-1, keepdim=True)
        # The weights of a series sum to 1: sum m (1 - cos) = 1 - sum m cos.
        phase = 1.0 - ((mag_t * cosine).sum(dim=-1, keepdim=True) / total).mean()
        ctx.steps = student.shape[-1]
        saved = (re_s, im_s, mag_s, re_t, im_t, mag_t, log_ratio, product, cosine, total)
        ctx.save_for_backward(*saved)
        return log_ratio.abs().mean(), phase

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_magnitude: Tensor, by_phase: Tensor) -> tuple[Tensor, None]:
        """Gradient of the student's series.

        F is the student's spectrum, |F| its magnitude, T and |T| the target's:
        d log(1 + |F|) / dF = F / (|F| (1 + |F|)), d cos / dF = T / (|F| |T|) - cos F / |F|^2.
        """
        re_s, im_s, mag_s, re_t, im_t, mag_t, log_ratio, product, cosine, total = ctx.saved_tensors
        n_series = mag_s.numel() // mag_s.shape[-1]
        along_t = (mag_t / product).mul_(-by_phase / n_series / total)
        along_s = torch.sign(log_ratio).mul_(by_magnitude / mag_s.numel()).div_(mag_s + 1.0)
        along_s.sub_((along_t * cosine).mul_(mag_t)).div_(mag_s)
        re = (along_s * re_s).addcmul_(along_t, re_t)
        im = (along_s * im_s).addcmul_(along_t, im_t)
        return _adjoint(torch.complex(re, im), ctx.steps), None


def _spectrum(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Real part, imaginary part and magnitude of the rFFT of series (..., steps)."""
    f = torch.fft.rfft(x, norm="ortho")
    re, im = f.real.contiguous(), f.imag.contiguous()
    # |z| has no gradient at 0: the small constant keeps it finite.
    return re, im, (re * re).addcmul_(im, im).add_(EPS).sqrt_()


def _adjoint(f: Tensor, steps: int) -> Tensor:
    """Adjoint of the rFFT: its inverse, but with every bin once, where that doubles most."""
    f *= 0.5
    f[..., 0] *= 2
    if steps % 2 == 0:
        f[..., -1] *= 2
    return torch.fft.irfft(f, n=steps, norm="ortho")
