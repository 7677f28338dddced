"""Knowledge distillation on logits (Hinton, Vinyals and Dean, arXiv 1503.02531).

L = w_ce CE(student, y) + w_kd T^2 KL(softmax(teacher / T) || softmax(student / T))
"""

from __future__ import annotations

from typing import Any, Literal, Self

from torch import Tensor

from distill import losses as L
from distill.methods.base import Batch, Method, Setting, Student
from distill.methods.options import LogitOptions


class KDConfig(LogitOptions):
    """The shared weights are all there is to choose."""

    name: Literal["kd"] = "kd"


class KD(Method):
    """The student imitates the teacher's soft decisions."""

    needs_hidden = False

    def __init__(self, config: KDConfig | None = None) -> None:
        super().__init__()
        self.config = config or KDConfig()

    @classmethod
    def build(cls, config: Any, setting: Setting) -> Self:
        """Only the weights are needed."""
        return cls(config)

    def losses(self, student: Student, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses ``ce`` and ``kd``."""
        assert batch.teacher_logits is not None
        logits, cfg = student(batch.x), self.config
        named = L.weighted(
            {
                "ce": (cfg.ce, L.labels(logits, batch.y)),
                "kd": (cfg.kd, L.kd(logits, batch.teacher_logits, cfg.temperature)),
            }
        )
        return named, {}
