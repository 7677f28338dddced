"""[data]: where the recordings come from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from distill.recipe.table import Table
from distill.simulate import SimulationConfig

DATA_VARIABLE, DATA_DEFAULT = "DLINK_DATA", "../shared/data"


class FilesData(Table):
    """Recordings on disk.

    `pattern` is a regular expression over paths below `root`, with a group `subject`, and where
    wanted `session` and `label`. The class of a window comes from `labels` (the group `label`
    names the class of the whole file) or from `events` (annotation description -> class).
    Where the events stand in a file of MNE's beside the recording, `events_file` is its path below
    `root`, with the pattern's groups in braces; an event is then named by its number. An event
    gives `repeats` windows, `stride` seconds apart (default: side by side).
    """

    source: Literal["files"]
    root: str
    pattern: str
    labels: dict[str, str] = Field(default={})
    events: dict[str, str] = Field(default={})
    events_file: str = ""
    offset: float = 0.0
    stride: float | None = Field(default=None, gt=0)
    repeats: int = Field(default=1, ge=1)
    strip: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _groups(self) -> FilesData:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as err:
            raise ValueError(f"pattern is no regular expression: {err}") from None
        if "subject" not in groups:
            raise ValueError("pattern needs a group (?P<subject>...)")
        if bool(self.labels) == bool(self.events):
            raise ValueError("give either labels (by file) or events (by annotation)")
        if self.labels and "label" not in groups:
            raise ValueError("labels need a group (?P<label>...) in pattern")
        unknown = [k for k in re.findall(r"{(\w+)}", self.events_file) if k not in groups]
        if unknown:
            raise ValueError(f"events_file names {unknown[0]!r}, which is no group of pattern")
        return self

    @property
    def folder(self) -> Path:
        """`root` with $DLINK_DATA filled in."""
        value = os.environ.get(DATA_VARIABLE, DATA_DEFAULT)
        return Path(self.root.replace("$" + DATA_VARIABLE, value)).expanduser()


class SimulatedData(Table):
    """The embedded default: simulated motor imagery (:mod:`distill.simulate`)."""

    source: Literal["simulate"]
    simulate: SimulationConfig = SimulationConfig()


DataTable = FilesData | SimulatedData
