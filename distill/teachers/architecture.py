"""What a built-in teacher is: one object per architecture, each in its own module."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from distill.signal import SignalSpec
from distill.teachers.keys import KeyMap
from distill.teachers.protocol import SignalNeeds, TokenLayout
from distill.teachers.tokens import TokenForm


@dataclass(frozen=True)
class Architecture:
    """A foundation model of braindecode, as the distillation needs it.

    Attributes
    ----------
    needs : the signal contract that it was trained with.
    build : (signal, n_outputs, depth, dropout) -> the braindecode module.
    layers : depth -> dotted paths of the blocks' outputs, first to last.
    form : how a block's output becomes tokens.
    depth, d : published number of blocks, width of a token.
    sub_steps, order : see :class:`TokenLayout`.
    keys : from the authors' checkpoint to braindecode's names.
    check_names : refuses electrodes that the model does not know.
    passes_names : whether forward takes ch_names.
    prepare : what the authors do to each window after the signal contract.
    """

    needs: SignalNeeds
    build: Callable[[SignalSpec, int, int, float], nn.Module]
    layers: Callable[[int], tuple[str, ...]]
    form: TokenForm
    depth: int
    d: int
    keys: KeyMap
    sub_steps: int = 1
    order: Literal["filter_major", "time_major"] = "time_major"
    check_names: Callable[[tuple[str, ...]], None] | None = None
    passes_names: bool = False
    prepare: Callable[[Tensor], Tensor] | None = None

    def layout(self, signal: SignalSpec) -> TokenLayout:
        """Token layout for windows of this contract."""
        n_patches = signal.n_times // self.needs.patch
        return TokenLayout(signal.n_chans, n_patches, self.d, self.sub_steps, self.order)
