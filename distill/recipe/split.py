"""[split]: which windows train, choose and judge."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from distill.recipe.table import Table


class SplitTable(Table):
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
