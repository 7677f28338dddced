"""[signal]: the window, where it departs from what the teacher expects."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from distill.recipe.table import Table


class SignalTable(Table):
    """[signal]: what is not given comes from the teacher."""

    ch_names: tuple[str, ...] = Field(min_length=1)
    seconds: float = Field(gt=0)
    reference: str = "as-recorded"
    band: tuple[float, float] | None = None
    notch: float | None = None
    sfreq: float | None = Field(default=None, gt=0)
    unit: Literal["V", "mV", "uV"] | None = None
    scale: float | None = Field(default=None, gt=0)
