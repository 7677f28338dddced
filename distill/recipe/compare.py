"""[compare]: the arms that are set beside each other, and with how many labelled windows."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_serializer, field_validator, model_validator

from distill.methods.registry import METHODS, MethodTable
from distill.recipe.student import StudentTable
from distill.recipe.table import Table

#: Rows that every table of a comparison has besides its arms.
RESERVED = ("teacher", "chance")


class ArmTable(Table):
    """[[compare.arms]]: one way to train a student.

    `student` holds only the keys of [student] that this arm replaces. With `unlabelled`, the
    training windows that the labelled count leaves out are learnt from too, without their label.
    `labelled` limits the arm to some of the counts of [compare].
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    method: MethodTable
    student: StudentTable = StudentTable()
    unlabelled: bool = False
    labelled: tuple[int, ...] = ()

    @field_serializer("student")
    def _replaced(self, student: StudentTable) -> dict[str, Any]:
        """What was replaced and no more: a default that is repeated may replace something."""
        return student.model_dump(exclude_unset=True)

    @model_validator(mode="after")
    def _learns(self) -> ArmTable:
        if self.name in RESERVED:
            raise ValueError(f"the name {self.name!r} is taken: every table has such a row")
        if self.unlabelled and not METHODS[self.method.name].needs_teacher:
            raise ValueError(
                f"method {self.method.name!r} learns from labels only: without unlabelled = true"
            )
        return self


class CompareTable(Table):
    """[compare]: arms x seeds x numbers of labelled training windows.

    `labelled` is empty where the windows that [split] gives are the only count.
    """

    reference: str = "matched"
    labelled: tuple[int, ...] = ()
    arms: tuple[ArmTable, ...] = Field(min_length=2)

    @field_validator("labelled")
    @classmethod
    def _counts(cls, labelled: tuple[int, ...]) -> tuple[int, ...]:
        if any(count < 1 for count in labelled) or len(set(labelled)) < len(labelled):
            raise ValueError(f"labelled must be different numbers from 1 on, are {list(labelled)}")
        return tuple(sorted(labelled))

    @model_validator(mode="after")
    def _names(self) -> CompareTable:
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"arms need names of their own; twice: {', '.join(twice)}")
        foreign = [arm.name for arm in self.arms if set(arm.labelled) - set(self.labelled)]
        if foreign:
            raise ValueError(
                f"labelled of {', '.join(foreign)} has counts that [compare] labelled has not"
            )
        if self.reference in names and self.arm(self.reference).labelled:
            raise ValueError(f"the reference {self.reference!r} is needed with every count")
        if self.reference not in names:
            raise ValueError(
                f"reference {self.reference!r} is none of the arms: {', '.join(names)}"
            )
        return self

    def arm(self, name: str) -> ArmTable:
        """The arm of a name; KeyError if there is none."""
        return {arm.name: arm for arm in self.arms}[name]
