"""The subspace of a layer that a decision depends on (SubDistill, arXiv 2601.05913).

At a token of the layer, a is the activation (centred) and c the gradient of the decision's margin
with respect to it (not centred). With second moments S and traces t,

    M = S_ac + S_ac' + 2 sqrt(t_c / t_a) S_a + 2 sqrt(t_a / t_c) S_c

is positive semi-definite and does not change its eigenvectors with the scale of a or c. Its leading
eigenvectors span the directions that both vary and matter. Principal components (S_a alone) know
nothing of the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.batches import batches
from distill.taps import tap
from distill.teachers import TappedTeacher
from targets.errors import InputError

GRAPH_TOKENS = 4096  # tokens of a batch whose whole graph is kept for the gradients


def margin(logits: Tensor, classes: Sequence[int]) -> Tensor:
    """How clearly each window is decided: top-1 minus top-2 logit among `classes`.

    Parameters
    ----------
    logits : (batch, n_outputs).
    classes : one class alone gives |logit|.

    Returns
    -------
    Tensor
        (batch,).
    """
    among = logits[:, list(classes)]
    if among.shape[1] == 1:
        return among[:, 0].abs()
    first, second = among.topk(2, dim=1).values.unbind(1)
    return first - second


@dataclass(frozen=True)
class LayerMoments:
    """Moments of one layer, in float64.

    Attributes
    ----------
    s_a, s_c, s_ac : (d, d) second moments of activations about their mean, of gradients, and of
        both (rows: activation), at the sampled tokens.
    mean : (d,) of the map's mean over electrodes, which is what a student without an electrode
        axis can imitate.
    pooled : (d, d) its covariance over windows and patches.
    """

    s_a: Tensor
    s_c: Tensor
    s_ac: Tensor
    mean: Tensor
    pooled: Tensor

    @property
    def decides(self) -> bool:
        """Whether the layer varies and the decision depends on it."""
        return bool(self.s_a.trace() > 0 and self.s_c.trace() > 0)

    @property
    def relevance(self) -> Tensor:
        """M (d, d)."""
        ratio = (self.s_c.trace() / self.s_a.trace()).sqrt()
        return self.s_ac + self.s_ac.T + 2 * ratio * self.s_a + 2 / ratio * self.s_c


def leading(matrix: Tensor) -> Tensor:
    """Eigenvectors (d, d) of a symmetric matrix as columns, the largest eigenvalue first."""
    return torch.linalg.eigh(matrix).eigenvectors.flip(1)


class _Sums:
    """Running sums of one layer."""

    def __init__(self, d: int) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64)

        self.n, self.n_pooled = 0, 0
        self.a, self.c, self.mean = zeros(d), zeros(d), zeros(d)
        self.aa, self.cc, self.ac, self.pooled = (zeros(d, d) for _ in range(4))

    def add(self, activation: Tensor, gradient: Tensor, chosen: Tensor) -> None:
        """Tokens (batch, n_chans, n_patches, d) of both; `chosen` (batch, tokens) of them count."""
        index = chosen[:, :, None].expand(-1, -1, activation.shape[-1])
        a, c = (
            tokens.flatten(1, 2).gather(1, index).flatten(0, 1).double()
            for tokens in (activation, gradient)
        )
        self.n += len(a)
        self.a += a.sum(0)
        self.c += c.sum(0)
        self.aa += a.T @ a
        self.cc += c.T @ c
        self.ac += a.T @ c
        pooled = activation.double().mean(1).flatten(0, 1)
        self.n_pooled += len(pooled)
        self.mean += pooled.sum(0)
        self.pooled += pooled.T @ pooled

    def moments(self) -> LayerMoments:
        """What was summed, centred and divided by its count."""
        mu, mean = self.a / self.n, self.mean / self.n_pooled
        return LayerMoments(
            s_a=self.aa / self.n - torch.outer(mu, mu),
            s_c=self.cc / self.n,
            s_ac=self.ac / self.n - torch.outer(mu, self.c / self.n),
            mean=mean,
            pooled=self.pooled / self.n_pooled - torch.outer(mean, mean),
        )


def layer_moments(
    teacher: TappedTeacher,
    x: NDArray[np.float32],
    layers: Sequence[int],
    classes: Sequence[int],
    *,
    tokens: int = 20,
    seed: int = 0,
    batch: int | None = None,
) -> list[LayerMoments]:
    """Moments of the given layers on windows x (n, n_chans, n_times).

    Parameters
    ----------
    teacher : frozen, in eval mode.
    layers : numbers of tapped layers.
    classes : the subtask, see :func:`margin`.
    tokens : random tokens of each window that the moments are taken at, the same in all layers
        (20 in the paper's code).
    seed : of that choice.
    batch : windows at a time; None is what keeps the gradients' graph small.

    Raises
    ------
    InputError
        A layer through which no gradient flows.
    """
    lay = teacher.layout
    sums = [_Sums(lay.d) for _ in layers]
    generator = torch.Generator().manual_seed(seed)
    batch = batch or max(1, min(32, GRAPH_TOKENS // (lay.n_chans * lay.n_patches)))
    for part in batches(x, batch):
        scores = torch.rand(len(part), lay.n_chans * lay.n_patches, generator=generator)
        chosen = scores.argsort(1)[:, :tokens]
        for total, (a, c) in zip(
            sums, _with_gradients(teacher, part, layers, classes), strict=True
        ):
            total.add(a, c, chosen)
    return [total.moments() for total in sums]


def _with_gradients(
    teacher: TappedTeacher, x: Tensor, layers: Sequence[int], classes: Sequence[int]
) -> list[tuple[Tensor, Tensor]]:
    """Tokens of each layer and the margin's gradient there, (batch, n_chans, n_patches, d) both."""
    paths = [teacher.layers[k] for k in layers]
    with torch.enable_grad(), tap(teacher.model, paths) as recorded:
        score = margin(teacher(x.requires_grad_()), classes).sum()
    tokens = [teacher.tokens(path, recorded.get(path), len(x)).detach() for path in paths]
    outputs = [recorded[path] for path in paths]
    deaf = [path for path, out in zip(paths, outputs, strict=True) if not out.requires_grad]
    if deaf or not score.requires_grad:
        raise InputError(
            "no gradient flows through the teacher's layer",
            where=", ".join(deaf or paths), todo="Choose other layers or another method.",
        )  # fmt: skip
    # Where the decision does not depend on a layer's tokens, its gradient is 0.
    gradients = torch.autograd.grad(score, outputs, allow_unused=True, materialize_grads=True)
    return [
        (a, teacher.tokens(path, c, len(x)))
        for path, a, c in zip(paths, tokens, gradients, strict=True)
    ]
