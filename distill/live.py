"""The teacher's view of windows without a cache: the teacher runs when a batch asks.

Slow, and equal to the cache bit for bit: what a student learns does not depend on where the
teacher's outputs come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distill.batches import batches
from distill.outputs import HiddenStates, Rows, TeacherOutputs, Tokens, normalise
from distill.teachers import TappedTeacher
from distill.windows import Windows

Dtype = Literal["float32", "float16"]


def grid(teacher: TappedTeacher) -> tuple[int, int, int, int]:
    """(layers, n_chans, n_patches, d) of a teacher's hidden states."""
    lay = teacher.layout
    return len(teacher.layers), lay.n_chans, lay.n_patches, lay.d


def forward(
    teacher: TappedTeacher, x: NDArray[np.float32], batch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and hidden states of windows (n, n_chans, n_times), `batch` at a time, on the CPU.

    In eval mode and without gradients; the teacher's own mode comes back after it.
    """
    was_training = teacher.training
    device = next(teacher.parameters()).device
    teacher.eval()
    try:
        for part in batches(x, batch):
            with torch.no_grad():
                logits, hidden = teacher.hidden(part.to(device))
            yield logits.float().cpu(), hidden.float().cpu()
    finally:
        teacher.train(was_training)


class LiveHidden(HiddenStates):
    """Hidden states that the teacher computes when they are read.

    One window at a time: matrix products round by the size of the batch, and which windows share
    a batch must not change what a student learns.
    """

    def __init__(self, teacher: TappedTeacher, windows: Windows, dtype: Dtype) -> None:
        self._teacher, self._windows, self._dtype = teacher, windows, getattr(torch, dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, layers, n_chans, n_patches, d)."""
        return (len(self._windows), *grid(self._teacher))

    def tokens(self, rows: Rows) -> Tokens:
        """The view of these windows for a batch; the teacher runs once for it."""
        return self.run(rows)[1]

    def run(self, rows: Rows) -> tuple[Tensor, Tokens]:
        """Logits (len(rows), n_outputs) with it."""
        found = list(forward(self._teacher, self._windows.x[rows], 1))
        parts = normalise(torch.cat([hidden for _, hidden in found]), self._dtype)
        return torch.cat([logits for logits, _ in found]), Tokens(parts, np.arange(len(rows)))


class LiveOutputs(TeacherOutputs):
    """Outputs of a frozen teacher, computed when they are asked for.

    Parameters
    ----------
    dtype : what hidden states are rounded to, as in :func:`distill.cache.teacher_outputs`.
    """

    hidden: LiveHidden

    def __init__(
        self, teacher: TappedTeacher, windows: Windows, *, dtype: Dtype = "float32"
    ) -> None:
        self._teacher, self._windows, self._dtype = teacher, windows, dtype
        self.hidden = LiveHidden(teacher, windows, dtype)

    @cached_property
    def _all_logits(self) -> NDArray[np.float32]:
        found = forward(self._teacher, self._windows.x, 1)
        return torch.cat([logits for logits, _ in found]).numpy()

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits (n, n_outputs)."""
        return self._all_logits

    def select(self, rows: Rows) -> LiveOutputs:
        """The windows at these indices, in this order."""
        return LiveOutputs(self._teacher, self._windows.select(rows), dtype=self._dtype)

    def batch(self, rows: Rows) -> tuple[Tensor, Tokens]:
        """Logits (len(rows), n_outputs) and the view of the hidden states of these windows."""
        return self.hidden.run(rows)
