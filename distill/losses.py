"""Distillation losses. Every function returns a scalar tensor and works in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from distill.spectral import SpectralLoss
from distill.teachers import TokenLayout

EPS = 1e-8
UNLABELLED = -1  # the y of a window that has no label
SpectralAxis = Literal["patch", "subpatch"]


def weighted(terms: Mapping[str, tuple[float, Tensor]]) -> dict[str, Tensor]:
    """Each loss times its weight, by name; a weight of 0 leaves the loss out."""
    return {name: weight * value for name, (weight, value) in terms.items() if weight > 0}


def labels(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of logits (batch, n_outputs), the mean over the windows that have a label.

    A window with y = -1 counts nothing here, but a distilled student still learns from its teacher.
    A batch of such windows alone gives 0, with a gradient of 0.
    """
    total = F.cross_entropy(logits, y, ignore_index=UNLABELLED, reduction="sum")
    return total / (y != UNLABELLED).sum().clamp_min(1)


def kd(
    student: Tensor, teacher: Tensor, temperature: float, classes: Sequence[int] | None = None
) -> Tensor:
    """Knowledge distillation on logits (batch, n_outputs), Hinton et al. 2015, times T^2.

    With `classes` the teacher decides among these alone, and the student among all of its outputs:
    it learns never to choose another.
    """
    log_p, log_q = teacher / temperature, F.log_softmax(student / temperature, dim=-1)
    if classes is not None:
        log_p, log_q = log_p[:, list(classes)], log_q[:, list(classes)]
    log_p = F.log_softmax(log_p, dim=-1)
    return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def mimic(student: Tensor, target: Tensor) -> Tensor:
    """Relative squared error of features (batch, mimic_chans, n_patches, d).

    Divided by the target's variance about its mean over batch and patches, so that 1.0 means that
    the student contributes nothing beyond the mean (the scaling of SubDistill, arXiv 2601.05913).
    """
    centred = target - target.mean(dim=0, keepdim=True).mean(dim=2, keepdim=True)
    return F.mse_loss(student, target) / centred.square_().mean().clamp_min(EPS)


def time_series(tokens: Tensor, layout: TokenLayout, axis: SpectralAxis) -> Tensor:
    """Tokens (batch, chans, n_patches, d) as series (batch, chans, features, steps).

    "patch": one step a patch, d features. "subpatch": each token unfolds into the steps that the
    teacher's patch stem had before it flattened them, in the stem's own order.
    """
    if axis == "patch":
        return tokens.transpose(2, 3)
    batch, chans, n_patches, d = tokens.shape
    steps, filters = layout.sub_steps, d // layout.sub_steps
    if layout.order == "filter_major":
        series = tokens.reshape(batch, chans, n_patches, filters, steps).permute(0, 1, 3, 2, 4)
    else:
        series = tokens.reshape(batch, chans, n_patches, steps, filters).permute(0, 1, 4, 2, 3)
    return series.reshape(batch, chans, filters, n_patches * steps)


def spectral(student: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Magnitude and phase loss between series (..., steps), on the rFFT along the last axis.

    L_mag = mean |log(1 + |F_s|) - log(1 + |F_t|)|
    L_phase = sum m (1 - Re(F_s conj F_t) / (|F_s| |F_t| + eps)),  m = |F_t| / sum |F_t|

    The phase term is the wrap-free form of 1 - cos(dphi), weighted by the target's magnitude so
    that the phase of empty bins does not count; m sums to 1 over the bins of each series.
    """
    assert not target.requires_grad
    return SpectralLoss.apply(student.float(), target.float())
