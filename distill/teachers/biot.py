"""BIOT (Yang et al., NeurIPS 2023): short-time spectra of each channel, linear attention."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn

from distill.braindecode_import import braindecode_models
from distill.signal import SignalSpec
from distill.teachers.architecture import Architecture
from distill.teachers.keys import KeyMap
from distill.teachers.protocol import SignalNeeds
from distill.teachers.tokens import TokenForm

BLOCK = "encoder.transformer.layers.layers.{}.0:input"


def build(signal: SignalSpec, n_outputs: int, n_layers: int, dropout: float) -> nn.Module:
    """braindecode's BIOT; `dropout` stands for its three rates."""
    # torch advises against the rectangular window, which is the authors'.
    warnings.filterwarnings("ignore", "A window was not provided", UserWarning)
    return braindecode_models().BIOT(
        n_times=signal.n_times,
        n_outputs=n_outputs,
        n_chans=signal.n_chans,
        sfreq=signal.sfreq,
        num_layers=n_layers,
        drop_prob=dropout,
        att_drop_prob=dropout,
        att_layer_drop_prob=dropout,
    )


def blocks(depth: int) -> tuple[str, ...]:
    """Where the output of each block can be read.

    A block is a pair that is never called: the residual sums lie between the modules. What leaves
    block k enters the attention of block k + 1; what leaves the last one leaves the transformer.
    """
    return (*(BLOCK.format(k) for k in range(1, depth)), "encoder.transformer")


def scaled(x: Tensor) -> Tensor:
    """Windows (batch, n_chans, n_times) over the 95th percentile of |x| of each channel.

    The authors' data loader does it to every window (linear interpolation between order
    statistics, plus 1e-8). It stands here and not in the signal contract because a contract is a
    fixed map from volts that student and device share: a percentile of the window itself would
    have to be sorted out on the device, and changes with every hop of a stream.
    """
    position = 0.95 * (x.shape[-1] - 1)
    below = math.floor(position)
    # The largest values only, in falling order: top-k exists in ONNX, a quantile does not.
    top = x.abs().topk(x.shape[-1] - below, dim=-1).values
    low, high = top[..., -1:], top[..., -2:-1]
    return x / (torch.lerp(low, high, position - below) + 1e-8)


BIOT = Architecture(
    needs=SignalNeeds(200.0, None, "uV", 100.0, 200),
    build=build,
    layers=blocks,
    # Spectra of 1 s every 0.5 s, without padding: frame and hop in patches.
    form=TokenForm("batch (chans steps) d", frame=1.0, hop=0.5),
    depth=4,
    d=256,
    keys=KeyMap(
        marks=r"(biot\.)?(patch_embedding|transformer|positional_encoding|channel_tokens)\.",
        rename=(
            (r"^biot\.", "encoder."),
            (r"^(patch_embedding|transformer|positional_encoding|channel_tokens|index)\b",
             r"encoder.\1"),
            (r"^classifier\.clshead\.1\.", "final_layer.classification_head."),
        ),
        drop=(r"encoder\.index$", r"prediction\.", r"classifier_\w+\."),
    ),
    prepare=scaled,
)  # fmt: skip
