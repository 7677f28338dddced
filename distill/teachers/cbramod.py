"""CBraMod (Wang et al., ICLR 2025): criss-cross attention, any electrodes."""

from __future__ import annotations

from torch import nn

from distill.braindecode_import import braindecode_models
from distill.signal import SignalSpec
from distill.teachers.architecture import Architecture
from distill.teachers.keys import KeyMap
from distill.teachers.protocol import SignalNeeds
from distill.teachers.tokens import TokenForm


def build(signal: SignalSpec, n_outputs: int, n_layers: int, dropout: float) -> nn.Module:
    """braindecode's CBraMod."""
    return braindecode_models().CBraMod(
        n_times=signal.n_times,
        n_outputs=n_outputs,
        n_chans=signal.n_chans,
        sfreq=signal.sfreq,
        n_layer=n_layers,
        drop_prob=dropout,
    )


CBRAMOD = Architecture(
    needs=SignalNeeds(200.0, (0.3, 75.0), "uV", 100.0, 200),
    build=build,
    layers=lambda depth: tuple(f"encoder.layers.{k}" for k in range(depth)),
    form=TokenForm("batch chans steps d"),
    depth=12,
    d=200,
    keys=KeyMap(),
    sub_steps=8,
    order="filter_major",
)
