"""[teacher]: which foundation model, and how it is fine-tuned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from distill.recipe.table import Table


class TeacherTable(Table):
    """[teacher]: architecture, depth, checkpoint and fine-tuning (CBraMod's recipe).

    `once`: train one teacher for all seeds, instead of one a seed.
    """

    name: Literal["labram", "cbramod", "biot", "eegpt"] = "labram"
    n_layers: int | None = Field(default=None, ge=1)
    checkpoint: str | None = None
    once: bool = False
    epochs: int = Field(default=50, ge=0)
    batch: int = Field(default=64, ge=2)
    lr: float = Field(default=1e-4, gt=0)
    head_lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=5e-2, ge=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    @model_validator(mode="after")
    def _trained(self) -> TeacherTable:
        if self.epochs == 0 and self.checkpoint is None:
            raise ValueError("epochs = 0 needs a checkpoint: an untrained teacher teaches nothing")
        return self
