"""What all tables of a recipe share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the TOML file: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
