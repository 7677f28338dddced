"""[student]: the small model, and how it is trained."""

from __future__ import annotations

from pydantic import Field

from distill.mic import MiCConfig


class StudentTable(MiCConfig):
    """[student]: MiC's sizes and its training, the same for the matched student."""

    epochs: int = Field(default=60, ge=1)
    batch: int = Field(default=64, ge=2)
    lr: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)

    def sizes(self) -> MiCConfig:
        """The architecture's part."""
        return MiCConfig(**self.model_dump(include=set(MiCConfig.model_fields)))
