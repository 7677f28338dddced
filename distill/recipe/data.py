"""[data]: where the recordings come from, and which of their moments become windows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from distill.recipe.split import expand
from distill.recipe.table import Table
from distill.simulate import SimulationConfig
from targets.errors import InputError

DATA_VARIABLE, DATA_DEFAULT = "DLINK_DATA", "../shared/data"


class Cutting(Table):
    """What tables of recordings share: channels' names, and the class of each window.

    The class comes from `events` (annotation description -> class): an event gives `repeats`
    windows, the first `offset` seconds after it, `stride` seconds apart (default: side by side).
    Where a description means one thing here and another there, `events_by` names what tells them
    apart (a group of the pattern, an entity, a run) and the keys are "VALUE:DESCRIPTION". Or it
    comes from `labels` (what the whole recording is called -> class), cut every `stride` seconds.

    `rename` gives channels their electrode's name; `strip` is text to drop from the other names.
    """

    labels: dict[str, str] = Field(default={})
    events: dict[str, str] = Field(default={})
    events_by: str = ""
    offset: float = 0.0
    stride: float | None = Field(default=None, gt=0)
    repeats: int = Field(default=1, ge=1)
    strip: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default={})

    @model_validator(mode="after")
    def _values(self) -> Cutting:
        bare = [key for key in self.events if self.events_by and ":" not in key]
        if bare:
            raise ValueError(
                f"events_by wants keys as 'VALUE:DESCRIPTION' in events, not {bare[0]!r}"
            )
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes in the order in which the recipe first names them."""
        return tuple(dict.fromkeys((self.labels or self.events).values()))

    def label_of(self, groups: dict[str, str], where: object) -> str | None:
        """Class of a whole recording, where the recipe says it so."""
        if not self.labels:
            return None
        if groups["label"] not in self.labels:
            raise InputError(
                f"label {groups['label']!r} has no class", where=where,
                limit=", ".join(self.labels), todo="Add it to [data.labels].",
            )  # fmt: skip
        return self.labels[groups["label"]]

    def events_of(self, groups: dict[str, str]) -> dict[str, str]:
        """Annotation description -> class in a recording: none where nothing is named for it."""
        if not self.events_by:
            return self.events
        prefix = groups.get(self.events_by, "") + ":"
        named = {key: name for key, name in self.events.items() if key.startswith(prefix)}
        return {key.removeprefix(prefix): name for key, name in named.items()}


class InFolder(Table):
    """Recordings below `root`, in which $DLINK_DATA stands for the folder of all data sets."""

    root: str

    @property
    def folder(self) -> Path:
        """`root` with $DLINK_DATA filled in."""
        value = os.environ.get(DATA_VARIABLE, DATA_DEFAULT)
        return Path(self.root.replace("$" + DATA_VARIABLE, value)).expanduser()

    def check_folder(self) -> Path:
        """The folder, which must be there."""
        if not self.folder.is_dir():
            raise InputError(
                "data folder not found",
                where=self.folder,
                todo="Set DLINK_DATA to the folder that holds the data sets, or correct "
                "[data] root.",
            )
        return self.folder


def _one_way(table: Cutting) -> None:
    """Classes by file or by annotation: refuse both and neither."""
    if bool(table.labels) == bool(table.events):
        raise ValueError("give either labels (by file) or events (by annotation)")


class FilesData(InFolder, Cutting):
    """Recordings on disk.

    `pattern` is a regular expression over paths below `root`, with a group `subject`, and where
    wanted `session` and `label`, which names the class of the whole file. `events_by` may be any
    group. Where the events stand in a file of MNE's beside the recording, `events_file` is its
    path below `root`, with the pattern's groups in braces; an event is then named by its number.
    """

    source: Literal["files"]
    pattern: str
    events_file: str = ""

    @model_validator(mode="after")
    def _groups(self) -> FilesData:
        try:
            groups = re.compile(self.pattern).groupindex
        except re.error as err:
            raise ValueError(f"pattern is no regular expression: {err}") from None
        if "subject" not in groups:
            raise ValueError("pattern needs a group (?P<subject>...)")
        _one_way(self)
        if self.labels and "label" not in groups:
            raise ValueError("labels need a group (?P<label>...) in pattern")
        if self.events_by and self.events_by not in groups:
            raise ValueError(f"events_by names {self.events_by!r}, which is no group of pattern")
        unknown = [k for k in re.findall(r"{(\w+)}", self.events_file) if k not in groups]
        if unknown:
            raise ValueError(f"events_file names {unknown[0]!r}, which is no group of pattern")
        return self


class MoabbData(Cutting):
    """A data set by its name in MOABB, which downloads it.

    `events` are MOABB's names of them (none: each is a class of its own), and begin where the data
    set's interval does. `options` go to the data set's class.
    """

    source: Literal["moabb"]
    dataset: str
    subjects: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default={})
    labels: dict[str, str] = Field(default={}, max_length=0)
    events_by: Literal["", "session", "run"] = ""

    @property
    def chosen(self) -> tuple[str, ...]:
        """`subjects`, ranges expanded; none means all."""
        return expand(self.subjects)


class BidsData(InFolder, Cutting):
    """A BIDS data set: EEG recordings below `root`, by their entities (empty: any).

    `events` are values of trial_type in events.tsv. With `labels`, `label_by` says what names the
    class of a recording: an entity or a column of participants.tsv.
    """

    source: Literal["bids"]
    tasks: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    label_by: str = "task"
    events_by: Literal["", "task", "session", "run", "acquisition"] = ""

    @model_validator(mode="after")
    def _class(self) -> BidsData:
        _one_way(self)
        return self


class SimulatedData(Table):
    """The embedded default: simulated motor imagery (:mod:`distill.simulate`)."""

    source: Literal["simulate"]
    simulate: SimulationConfig = SimulationConfig()


DataTable = FilesData | MoabbData | BidsData | SimulatedData
