"""The matched student: same architecture, data, seeds and epochs, but labels only."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict
from torch import Tensor

from distill import losses as L
from distill.methods.base import Batch, Method, Setting, Student


class LabelsConfig(BaseModel):
    """No distillation has nothing to choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["none"] = "none"


class Labels(Method):
    """Cross-entropy on the labels, of the windows that have one."""

    needs_teacher = False
    needs_hidden = False

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """Nothing is needed."""
        return cls()

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The only loss is ``ce``."""
        return {"ce": L.labels(student(batch.x), batch.y)}, {}
