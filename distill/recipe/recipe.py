"""A whole recipe, and how it is read."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, field_validator, model_validator

from distill.methods.dlink import DLinkConfig
from distill.methods.registry import METHODS, MethodTable
from distill.recipe.compare import CompareTable
from distill.recipe.data import DataTable
from distill.recipe.faults import sentences
from distill.recipe.signal import SignalTable
from distill.recipe.split import SplitTable
from distill.recipe.student import StudentTable
from distill.recipe.table import Table
from distill.recipe.teacher import TeacherTable
from distill.signal import SignalSpec
from targets.errors import InputError


class Recipe(Table):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    data: DataTable = Field(discriminator="source")
    signal: SignalTable
    split: SplitTable
    teacher: TeacherTable = TeacherTable()
    student: StudentTable = StudentTable()
    method: MethodTable = DLinkConfig()
    compare: CompareTable | None = None

    @field_validator("seeds")
    @classmethod
    def _replicates(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be different numbers from 0 on, are {list(seeds)}")
        return seeds

    @model_validator(mode="after")
    def _methods_suit_the_students(self) -> Recipe:
        pairs = [("method", self.method, self.student)]
        if self.compare is not None:
            pairs = [
                (f"compare arm {arm.name!r}", arm.method, self.student.replaced(arm.student))
                for arm in self.compare.arms
            ]
        for where, method, student in pairs:
            if student.name != "mic" and METHODS[method.name].needs_hidden:
                usable = [name for name, kind in sorted(METHODS.items()) if not kind.needs_hidden]
                raise ValueError(
                    f"{where}: {method.name} needs the tokens of a MiC, which {student.label} "
                    f"has not: take {' or '.join(usable)}"
                )
        return self

    def signal_spec(self) -> SignalSpec:
        """The contract: the teacher's needs, with what [signal] says.

        Raises
        ------
        InputError
            [signal] contradicts the teacher or itself.
        """
        from distill import teachers

        needs, table = teachers.needs(self.teacher), self.signal
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
        teachers.check(self.teacher, spec)
        return spec

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical form."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


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
        faults = sentences(err.errors(), text, Recipe)
        head = "recipe has a fault" if len(faults) == 1 else f"recipe has {len(faults)} faults"
        raise InputError(head + "".join(f"\n  {f}" for f in faults), where=path) from None
