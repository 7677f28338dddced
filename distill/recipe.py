"""The recipe: one TOML file that says what is distilled, from what, how. Unknown keys are refused.

Every fault of a file is reported at once, each with its line, what is allowed and a suggestion.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from distill.methods.dlink import DLinkConfig
from distill.mic import MiCConfig
from distill.signal import SignalSpec
from distill.simulate import SimulationConfig
from targets.errors import InputError

DATA_VARIABLE, DATA_DEFAULT = "DLINK_DATA", "../shared/data"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilesData(_Table):
    """Recordings on disk.

    `pattern` is a regular expression over paths below `root`, with a group `subject`, and where
    wanted `session` and `label`. The class of a window comes from `labels` (the group `label`
    names the class of the whole file) or from `events` (annotation description -> class).
    """

    source: Literal["files"]
    root: str
    pattern: str
    labels: dict[str, str] = {}
    events: dict[str, str] = {}
    offset: float = 0.0
    stride: float | None = Field(default=None, gt=0)
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
        return self

    @property
    def folder(self) -> Path:
        """`root` with $DLINK_DATA filled in."""
        value = os.environ.get(DATA_VARIABLE, DATA_DEFAULT)
        return Path(self.root.replace("$" + DATA_VARIABLE, value)).expanduser()


class SimulatedData(_Table):
    """The embedded default: simulated motor imagery (:mod:`distill.simulate`)."""

    source: Literal["simulate"]
    simulate: SimulationConfig = SimulationConfig()


class SignalTable(_Table):
    """[signal]: what is not given comes from the teacher."""

    ch_names: tuple[str, ...] = Field(min_length=1)
    seconds: float = Field(gt=0)
    reference: str = "as-recorded"
    band: tuple[float, float] | None = None
    notch: float | None = None
    sfreq: float | None = Field(default=None, gt=0)
    unit: Literal["V", "mV", "uV"] | None = None
    scale: float | None = Field(default=None, gt=0)


class SplitTable(_Table):
    """[split]: members may be ranges ("00-19")."""

    kind: Literal["cross_subject", "cross_session", "within_session"]
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _members(self) -> SplitTable:
        given = bool(self.train), bool(self.val), bool(self.test)
        if self.kind == "within_session" and any(given):
            raise ValueError("within_session splits by time: leave train, val and test out")
        if self.kind != "within_session" and not all(given):
            raise ValueError(f"{self.kind} needs train, val and test")
        return self

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Split name -> members, ranges expanded."""
        return {name: expand(getattr(self, name)) for name in ("train", "val", "test")}


class TeacherTable(_Table):
    """[teacher]: architecture, depth, checkpoint and fine-tuning (CBraMod's recipe)."""

    name: Literal["labram", "cbramod"] = "labram"
    n_layers: int | None = Field(default=None, ge=1)
    checkpoint: Path | None = None
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


class StudentTable(MiCConfig):
    """[student]: MiC's sizes and its training, the same for the matched student."""

    epochs: int = Field(default=60, ge=1)
    batch: int = Field(default=64, ge=2)
    lr: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)

    def sizes(self) -> MiCConfig:
        """The architecture's part."""
        return MiCConfig(**self.model_dump(include=set(MiCConfig.model_fields)))


class MethodTable(DLinkConfig):
    """[method]: DLink's weights."""

    name: Literal["dlink"] = "dlink"

    def config(self) -> DLinkConfig:
        """The method's own part."""
        return DLinkConfig(**self.model_dump(include=set(DLinkConfig.model_fields)))


class Recipe(_Table):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    data: FilesData | SimulatedData = Field(discriminator="source")
    signal: SignalTable
    split: SplitTable
    teacher: TeacherTable = TeacherTable()
    student: StudentTable = StudentTable()
    method: MethodTable = MethodTable()

    @field_validator("seeds")
    @classmethod
    def _replicates(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be different numbers from 0 on, are {list(seeds)}")
        return seeds

    def signal_spec(self) -> SignalSpec:
        """The contract: the teacher's needs, with what [signal] says.

        Raises
        ------
        InputError
            [signal] contradicts the teacher or itself.
        """
        from distill.teachers import architecture, check_signal

        needs, table = architecture(self.teacher.name).needs, self.signal
        sfreq = table.sfreq or needs.sfreq
        try:
            spec = SignalSpec(
                ch_names=table.ch_names,
                sfreq=sfreq,
                n_times=round(table.seconds * sfreq),
                reference=table.reference,
                band=table.band or needs.band,
                notch=table.notch,
                unit=table.unit or needs.unit,
                scale=table.scale or needs.scale,
            )
        except ValidationError as err:
            raise InputError(err.errors()[0]["msg"], where="[signal]") from None
        check_signal(self.teacher.name, spec)
        return spec

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical form."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def expand(members: tuple[str, ...]) -> tuple[str, ...]:
    """Expand ranges: ("S1", "00-02") -> ("S1", "00", "01", "02"); a prefix is kept ("S00-S02")."""
    found: list[str] = []
    for member in members:
        match = re.fullmatch(r"(\D*)(\d+)-\1(\d+)", member)
        if match is None:
            found.append(member)
            continue
        prefix, first, last = match.groups()
        found += [f"{prefix}{k:0{len(first)}d}" for k in range(int(first), int(last) + 1)]
    return tuple(found)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises
    ------
    InputError
        Not found, not TOML, or every fault of its content at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return Recipe(**tomllib.loads(text))
    except FileNotFoundError:
        raise InputError(
            "recipe not found", where=path, todo="examples/ in the repository holds recipes."
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise InputError(f"recipe is not TOML: {err}", where=path) from None
    except ValidationError as err:
        faults = [_sentence(fault, text) for fault in err.errors()]
        head = "recipe has a fault" if len(faults) == 1 else f"recipe has {len(faults)} faults"
        raise InputError(head + "".join(f"\n  {f}" for f in faults), where=path) from None


def _sentence(fault: Any, text: str) -> str:
    """One fault in the user's words: line, key, value, allowed."""
    keys = [str(k) for k in fault["loc"]]
    if keys[:1] == ["data"]:
        del keys[1:2]  # pydantic puts the chosen kind of [data] there; the file has no such key
    if fault["type"].startswith("union_tag"):
        keys.append("source")
    key, line = ".".join(keys) or "recipe", _line(keys, text)
    at = f"line {line}: " if line else ""
    if fault["type"] == "extra_forbidden":
        allowed = _known(keys[:-1])
        close = difflib.get_close_matches(keys[-1], allowed, 1, 0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed)}"
        return f"{at}key {key!r} is unknown; {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    given = fault.get("input")
    if fault["type"].startswith("union_tag"):
        message, given = "must be 'files' or 'simulate'", fault["ctx"].get("tag")
    shown = f" (found {given!r})" if isinstance(given, (str, int, float)) else ""
    return f"{at}{key}: {message}{shown}"


def _known(path: list[str]) -> list[str]:
    """Keys that a table may hold."""
    tables: dict[str, list[type[BaseModel]]] = {
        "": [Recipe], "data": [FilesData, SimulatedData], "data.simulate": [SimulationConfig],
        "signal": [SignalTable], "split": [SplitTable], "teacher": [TeacherTable],
        "student": [StudentTable], "method": [MethodTable],
    }  # fmt: skip
    models = tables.get(".".join(path), [])
    return sorted({name for model in models for name in model.model_fields})


def _line(keys: list[str], text: str) -> int | None:
    """Line on which a dotted key stands in the TOML text, if it can be found."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[([^\]]+)\]", line)
        if header:
            table = [piece.strip() for piece in header[1].split(".")]
            if table == keys:
                return number
        entry = re.match(r"\s*([\w\"'-]+)\s*=", line)
        if entry and [*table, entry[1].strip("\"'")] == keys[: len(table) + 1]:
            return number
    return None
