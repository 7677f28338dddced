"""Parameters and multiply-accumulates of any model, counted here and with the head named.

Published counts of EEG foundation models often leave the attention or the head out; ours come from
torch's own FLOP counter, which sees every matrix product and convolution that runs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Counts:
    """params, of which params_head; macs of one window."""

    params: int
    params_head: int
    macs: int

    def to_dict(self) -> dict[str, int]:
        """JSON-ready form."""
        return asdict(self)


def count(model: nn.Module, example: Tensor, head_prefix: str = "") -> Counts:
    """Count a model on one window.

    Parameters
    ----------
    example : (1, n_chans, n_times).
    head_prefix : key prefix of the classification head.
    """
    was_training = model.training
    model.eval()
    counter = FlopCounterMode(display=False)
    # Attention must run as plain products to be seen: the fused kernels are opaque, and torch
    # takes them where no gradient is wanted.
    with (
        torch.enable_grad(),
        counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        model(example)
    model.train(was_training)
    head = [p for n, p in model.named_parameters() if head_prefix and n.startswith(head_prefix)]
    return Counts(
        params=sum(p.numel() for p in model.parameters()),
        params_head=sum(p.numel() for p in head),
        macs=counter.get_total_flops() // 2,
    )
