"""[split]: which windows train, choose and judge."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from distill.recipe.table import Table


class SplitTable(Table):
    """[split]: members may be ranges ("00-19").

    `teacher` names who trains the teacher alone (nobody: the teacher trains on `train`).
    `labelled` is how many windows of `train` keep their label; `unlabelled` says whether the rest
    still serve distillation, which needs no label, or are left out.
    """

    kind: Literal["cross_subject", "cross_session", "within_session"]
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()
    labelled: int | None = Field(default=None, ge=2)
    unlabelled: Literal["distill", "drop"] = "drop"

    @model_validator(mode="after")
    def _members(self) -> SplitTable:
        given = bool(self.train), bool(self.val), bool(self.test)
        if self.kind == "within_session" and (any(given) or self.teacher):
            raise ValueError("within_session splits by time: leave train, val, test, teacher out")
        if self.kind != "within_session" and not all(given):
            raise ValueError(f"{self.kind} needs train, val and test")
        if self.unlabelled == "distill" and self.labelled is None:
            raise ValueError("unlabelled = 'distill' needs labelled, the number that keep a label")
        return self

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Split name -> members, ranges expanded; "teacher" only where there is such a group."""
        names = ("train", "val", "test", *(("teacher",) if self.teacher else ()))
        return {name: expand(getattr(self, name)) for name in names}


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
