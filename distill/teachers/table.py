"""A teacher as the recipe's [teacher] table describes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.signal import SignalSpec
from distill.teachers.protocol import SignalNeeds, TokenLayout
from distill.teachers.registry import architecture, build_teacher, check_needs
from distill.teachers.tapped import TappedTeacher

if TYPE_CHECKING:  # the recipe imports the methods, which import this package
    from distill.recipe.teacher import TeacherTable


def needs(table: TeacherTable) -> SignalNeeds:
    """What the table's teacher expects of a window."""
    return architecture(table.name).needs


def check(table: TeacherTable, signal: SignalSpec) -> None:
    """Refuse a signal contract that the teacher was not made for, naming every difference."""
    check_needs(table.name, needs(table), signal)


def build(
    table: TeacherTable, signal: SignalSpec, n_outputs: int, *, checkpoint: Path | None = None
) -> TappedTeacher:
    """The table's teacher with its checkpoint, or with `checkpoint` in its place.

    Raises
    ------
    InputError
        Every fault of the table, the signal and the checkpoint.
    """
    return build_teacher(
        table.name, signal, n_outputs, n_layers=table.n_layers, dropout=table.dropout,
        checkpoint=checkpoint or table.checkpoint,
    )  # fmt: skip


def layout(table: TeacherTable, signal: SignalSpec, n_outputs: int) -> TokenLayout:
    """The token layout that :func:`build` would give: the student's d comes from here."""
    return architecture(table.name).layout(signal)
