"""The one interface of all distillation methods.

A method is a module (it may hold trainable parts such as the Router) that turns one batch into
named losses. Their sum is minimised; their names are the columns of the log.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from distill.mic import MiC


class Batch(NamedTuple):
    """x (batch, n_chans, n_times); y (batch,); and the teacher's view of the same windows.

    teacher_logits (batch, n_outputs) and hidden (batch, layers, n_chans, n_patches, d) are None
    for a method that needs no teacher.
    """

    x: Tensor
    y: Tensor
    teacher_logits: Tensor | None = None
    hidden: Tensor | None = None


class Method(nn.Module):
    """A distillation method.

    Attributes
    ----------
    needs_teacher : whether batches must carry the teacher's outputs.
    """

    needs_teacher = True

    def losses(self, student: MiC, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Named losses (weighted, to be summed) and named diagnostics (only logged)."""
        raise NotImplementedError
