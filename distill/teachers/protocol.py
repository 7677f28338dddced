"""What the distillation asks of a foundation model, and what the model asks of the signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor


@dataclass(frozen=True)
class TokenLayout:
    """What the tokens (batch, layers, n_chans, n_patches, d) of a teacher stand for.

    Attributes
    ----------
    n_chans, n_patches, d : tokens per window are n_chans x n_patches, each of width d.
    sub_steps : time steps inside a patch that the patch stem had before it was flattened to d;
        1 where a token has no time axis inside (a linear embedding, a spectrum).
    order : "filter_major" (d = filters x sub_steps, CBraMod) or "time_major"
        (d = sub_steps x filters, LaBraM), as the stem's own rearrangement has it.
    electrodes : whether the channel axis is the contract's electrodes, in their order. False where
        the teacher has mixed or dropped the electrodes before its first layer.
    """

    n_chans: int
    n_patches: int
    d: int
    sub_steps: int
    order: Literal["filter_major", "time_major"]
    electrodes: bool = True


@dataclass(frozen=True)
class SignalNeeds:
    """What a teacher expects of a window; sources in docs/teachers.md.

    Attributes
    ----------
    sfreq : Hz.
    band : band-pass in Hz, or None where the teacher was trained on unfiltered recordings.
    unit, scale : physical unit, and the divisor applied after conversion to it.
    patch : samples of one patch; a window is a whole number of them.
    """

    sfreq: float
    band: tuple[float, float] | None
    unit: Literal["V", "mV", "uV"]
    scale: float
    patch: int


@runtime_checkable
class Teacher(Protocol):
    """What the distillation asks of a foundation model."""

    name: str
    layers: tuple[str, ...]
    layout: TokenLayout

    def __call__(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""

    def hidden(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits, and tokens of every layer (batch, layers, n_chans, n_patches, d)."""
