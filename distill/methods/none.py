"""The matched student: same architecture, data, seeds and epochs, but labels only."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from distill.methods.base import Batch, Method
from distill.mic import MiC


class Labels(Method):
    """Cross-entropy on the labels."""

    needs_teacher = False

    def losses(self, student: MiC, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The only loss is ``ce``."""
        return {"ce": F.cross_entropy(student(batch.x), batch.y)}, {}
