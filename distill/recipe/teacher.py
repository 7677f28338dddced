"""[teacher]: which foundation model, and how it is fine-tuned."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, model_validator

from distill.recipe.table import Table
from distill.teachers.tokens import Axes

# Keys of a module of the user's own; a built-in teacher knows all of this itself.
NEEDED = ("module", "layers", "axes", "head", "sfreq", "unit", "scale", "patch")
OPTIONAL = ("arguments", "cls_tokens", "end_tokens", "band")


class TeacherTable(Table):
    """[teacher]: architecture, depth, checkpoint and fine-tuning (CBraMod's recipe).

    Attributes
    ----------
    name : a built-in teacher, or "module" for any torch module (docs/teachers.md).
    checkpoint : path, or "hf:organisation/name[/file][@revision]".
    once : train one teacher for all seeds, instead of one a seed.
    module : "package.module:factory" or "path/to/file.py:factory".
    arguments : for the factory, beside what the signal gives.
    layers : dotted paths of the layers to learn from, first to last.
    axes, cls_tokens, end_tokens : how a layer's output becomes tokens.
    head : dotted path of the classification head.
    sfreq, band, unit, scale, patch : what the module expects of a window.
    """

    name: Literal["labram", "cbramod", "biot", "eegpt", "module"] = "labram"
    n_layers: int | None = Field(default=None, ge=1)
    checkpoint: str | None = Field(default=None, min_length=1)
    once: bool = False
    epochs: int = Field(default=50, ge=0)
    batch: int = Field(default=64, ge=2)
    lr: float = Field(default=1e-4, gt=0)
    head_lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=5e-2, ge=0)
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)

    module: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    layers: tuple[str, ...] = ()
    axes: Axes | None = None
    cls_tokens: int = Field(default=0, ge=0)
    end_tokens: int = Field(default=0, ge=0)
    head: str | None = None
    sfreq: float | None = Field(default=None, gt=0)
    band: tuple[float, float] | None = None
    unit: Literal["V", "mV", "uV"] | None = None
    scale: float | None = Field(default=None, gt=0)
    patch: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> TeacherTable:
        faults = self._module_faults() if self.name == "module" else self._stray_faults()
        if self.epochs == 0 and self.checkpoint is None:
            faults.append("epochs = 0 needs a checkpoint: an untrained teacher teaches nothing")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _default(self, key: str) -> bool:
        field = type(self).model_fields[key]
        return getattr(self, key) == field.get_default(call_default_factory=True)

    def _stray_faults(self) -> list[str]:
        stray = ", ".join(key for key in (*NEEDED, *OPTIONAL) if not self._default(key))
        return [f"{stray} are for name = 'module'; {self.name} sets them itself"] if stray else []

    def _module_faults(self) -> list[str]:
        """What a module's table lacks or cannot mean."""
        faults = []
        absent = [key for key in NEEDED if self._default(key)]
        if absent:
            faults.append(f"name = 'module' needs {', '.join(absent)}")
        if self.module and not re.fullmatch(r"[^:]+:[A-Za-z_]\w*", self.module):
            faults.append(
                f"module must be 'package.module:factory' or 'file.py:factory', is {self.module!r}"
            )
        if len(set(self.layers)) < len(self.layers):
            faults.append("layers holds a path more than once")
        if self.axes and self.axes.startswith("batch d") and self.cls_tokens + self.end_tokens:
            faults.append(f"cls_tokens and end_tokens are for tokens, not for maps ({self.axes!r})")
        inside = [key for key in ("n_layers", "dropout") if not self._default(key)]
        if inside:
            faults.append(f"{', '.join(inside)} of a module belong in arguments")
        return faults
