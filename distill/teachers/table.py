"""A teacher as the recipe's [teacher] table describes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from distill.signal import SignalSpec
from distill.teachers.custom import ModuleSpec, build_module
from distill.teachers.protocol import SignalNeeds, TokenLayout
from distill.teachers.registry import architecture, build_teacher, check_needs
from distill.teachers.tapped import TappedTeacher
from distill.teachers.tokens import TokenForm

if TYPE_CHECKING:  # the recipe imports the methods, which import this package
    from distill.recipe.teacher import TeacherTable


def needs(table: TeacherTable) -> SignalNeeds:
    """What the table's teacher expects of a window."""
    return module_spec(table).needs if table.name == "module" else architecture(table.name).needs


def check(table: TeacherTable, signal: SignalSpec) -> None:
    """Refuse a signal contract that the teacher was not made for, naming every difference."""
    name = "this module" if table.name == "module" else table.name
    check_needs(name, needs(table), signal)


def build(
    table: TeacherTable,
    signal: SignalSpec,
    n_outputs: int,
    *,
    checkpoint: Path | str | None = None,
) -> TappedTeacher:
    """The table's teacher with its checkpoint, or with `checkpoint` in its place.

    Weights that no checkpoint gives are drawn from torch's global generator.

    Raises
    ------
    InputError
        Every fault of the table, the signal and the checkpoint.
    """
    checkpoint = checkpoint or table.checkpoint
    if table.name == "module":
        return build_module(module_spec(table), signal, n_outputs, checkpoint=checkpoint)
    return build_teacher(
        table.name, signal, n_outputs, n_layers=table.n_layers, dropout=table.dropout,
        checkpoint=checkpoint,
    )  # fmt: skip


def layout(table: TeacherTable, signal: SignalSpec, n_outputs: int) -> TokenLayout:
    """The token layout that :func:`build` would give: the student's d comes from here.

    Of a module it is known only by making it and running it once; torch's global generator is
    left as it was.
    """
    if table.name != "module":
        return architecture(table.name).layout(signal)
    with torch.random.fork_rng(devices=[]):
        return build_module(module_spec(table), signal, n_outputs).layout


def module_spec(table: TeacherTable) -> ModuleSpec:
    """What a table of name "module" says; the table has checked that it is whole."""
    assert table.module is not None
    assert table.axes is not None
    assert table.head is not None
    assert table.sfreq is not None
    assert table.unit is not None
    assert table.scale is not None
    assert table.patch is not None
    return ModuleSpec(
        factory=table.module,
        layers=table.layers,
        form=TokenForm(table.axes, table.cls_tokens, table.end_tokens),
        head=table.head,
        needs=SignalNeeds(table.sfreq, table.band, table.unit, table.scale, table.patch),
        arguments=table.arguments,
    )
