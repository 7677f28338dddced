"""The Router: which of the teacher's layers to learn from, decided for each input.

After the abstract of DLink (arXiv 2604.15016): task information is spread over the intermediate
layers, so a light Router aggregates them per input. The details are ours (docs/methods.md):

    q_l = mean over tokens of LN(H_l)
    a_l = w2' gelu(W1 q_l + e_l)          e_l: a learned embedding of the layer
    alpha = softmax(a / tau) over l
    H* = sum_l alpha_l LN(H_l)

A linear head on the pooled H* is trained with the labels beside it. Without that task gradient the
Router would pick whatever layer is easiest to imitate, the shallowest.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.outputs import Tokens

RouterMode = Literal["last", "mean", "static", "routed"]


class Routed(NamedTuple):
    """What the Router makes of a teacher's hidden states.

    target : (batch, mimic_chans, n_patches, d), what the student imitates; without a gradient.
    weights : (batch, layers), alpha; each row sums to 1.
    logits : (batch, n_outputs) of the task head on the pooled H*.
    """

    target: Tensor
    weights: Tensor
    logits: Tensor


class Router(nn.Module):
    """Aggregate teacher layers into one target.

    Parameters
    ----------
    n_layers, n_chans, d : of the hidden states (batch, n_layers, n_chans, n_patches, d).
    n_outputs : classes of the task head.
    mimic_chans : virtual channels of the target: each is a learned convex mixture of the
        teacher's electrodes, so that the student need not keep an electrode axis.
    mode : "routed" (input-conditioned), "static" (one learned weight a layer), "mean", "last":
        the arms of DLink's ablation.
    hidden : width of the scoring network.
    tau : softmax temperature over the layers.
    """

    def __init__(
        self,
        n_layers: int,
        n_chans: int,
        d: int,
        n_outputs: int,
        *,
        mimic_chans: int = 4,
        mode: RouterMode = "routed",
        hidden: int = 32,
        tau: float = 1.0,
    ) -> None:
        super().__init__()
        self.mode, self.tau, self.n_layers, self.d = mode, tau, n_layers, d
        if mode == "routed":
            self.score_in = nn.Linear(d, hidden)
            self.layer_embedding = nn.Parameter(0.02 * torch.randn(n_layers, hidden))
            self.score_out = nn.Linear(hidden, 1, bias=False)
        elif mode == "static":
            self.layer_scores = nn.Parameter(torch.zeros(n_layers))
        # Different starts, or all virtual channels would stay the same mixture.
        self.channel_scores = nn.Parameter(torch.randn(mimic_chans, n_chans))
        self.head = nn.Linear(mimic_chans * d, n_outputs)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that can have weight: the others are never read."""
        return (self.n_layers - 1,) if self.mode == "last" else tuple(range(self.n_layers))

    def weights(self, q: Tensor) -> Tensor:
        """Alpha (batch, layers) from the means of LN(H) over tokens, q (batch, layers, d)."""
        batch = len(q)
        if self.mode == "routed":
            scores = self.score_out(F.gelu(self.score_in(q) + self.layer_embedding)).squeeze(-1)
            return torch.softmax(scores / self.tau, dim=-1)
        if self.mode == "static":
            return torch.softmax(self.layer_scores / self.tau, dim=-1).expand(batch, -1)
        alpha = q.new_zeros(batch, self.n_layers)
        if self.mode == "mean":
            return alpha + 1.0 / self.n_layers
        alpha[:, -1] = 1.0
        return alpha

    def forward(self, hidden: Tokens | Tensor) -> Routed:
        """Route hidden states (batch, layers, n_chans, n_patches, d).

        The head sees H* only through its mean over the patches, so that the gradient needs no more
        than the patch means of LN(H): a fraction 1 / n_patches of the numbers.
        """
        tokens = hidden if isinstance(hidden, Tokens) else Tokens.of(hidden)
        layers = None if self.mode != "last" else self.layers
        alpha = self.weights(tokens.mean(layers).to(self.head.weight.device))
        chosen = alpha if layers is None else alpha[:, list(layers)]
        target, mean = tokens.mixed(chosen, torch.softmax(self.channel_scores, -1), layers)
        return Routed(target, alpha, self.head(mean.flatten(1)))


def entropy(weights: Tensor) -> Tensor:
    """Mean entropy of alpha, as a share of its maximum log(layers): 1 uniform, 0 collapsed."""
    n_layers = weights.shape[-1]
    if n_layers == 1:
        return weights.new_ones(())
    value = -(weights * torch.log(weights.clamp_min(1e-9))).sum(-1).mean()
    return value / math.log(n_layers)


def collapse_penalty(spread: Tensor, floor: float) -> Tensor:
    """Guard against collapse: how far the mean `entropy` lies below `floor` (0..1), else 0."""
    return F.relu(floor - spread)
