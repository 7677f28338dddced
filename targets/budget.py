"""budgets.toml -> Budget lines, each of which knows its file and line.

::

    [[budget]]
    target = "nucleo-l4r5zi"
    model = "student"
    metric = "flash_bytes"
    limit = "128 KiB"        # the direction is the metric's: most here, at least for accuracy
    tolerance = "5 %"        # optional, relative to the limit
    format = "int8.tflite"   # optional; without it the line holds for every format measured
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from targets.errors import InputError
from targets.metrics import METRICS, MODELS, Metric
from targets.target import all_ids, suggestion
from targets.units import Quantity, parse

_KEYS = ("target", "model", "metric", "limit", "tolerance", "format", "note")
_NEEDED = ("target", "model", "metric", "limit")
#: Target of a figure that is the same everywhere (accuracy, parameters, file size).
ANY_TARGET = "any"


class Budget(BaseModel):
    """One line of a budget: `model` on `target` must keep `metric` within `limit`.

    `limit` is in `unit`, the base unit of the metric; `limit_text` is what the user wrote.
    `tolerance` is relative to the limit and widens it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: str
    model: str
    metric: str
    limit: float
    limit_text: str
    unit: str
    tolerance: float = 0.0
    format: str = ""
    note: str = ""
    file: str
    line: int

    @property
    def rule(self) -> Metric:
        """The metric's description: direction, trust, scope."""
        return METRICS[self.metric]

    @property
    def bound(self) -> float:
        """The limit widened by the tolerance, in exact arithmetic: 100 and 10 % give 110."""
        sign = 1 if self.rule.better == "lower" else -1
        slack = Fraction(repr(self.tolerance)) * sign
        return float(Fraction(repr(self.limit)) * (1 + slack))

    @property
    def place(self) -> str:
        """File and line, "budgets.toml:12"."""
        return f"{self.file}:{self.line}"


def load(path: Path) -> list[Budget]:
    """Read a budget file.

    Raises
    ------
    InputError
        File missing, not TOML, or lines that cannot be used: all faults at once, each with its
        line number.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise InputError("budget file not found", where=path, todo="Check the path.") from None
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"budget file cannot be read: {err}", where=path) from None
    except tomllib.TOMLDecodeError as err:
        raise InputError(f"not valid TOML: {err}", where=path) from None
    tables = data.get("budget", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError('"budget" is not a list', where=path, todo="Write [[budget]] tables.")
    if not tables:
        raise InputError(
            "no budget in this file", where=path, todo="Write at least one [[budget]] table."
        )
    faults = [
        f'unknown key "{key}" at the top of the file (allowed schema_version, [[budget]])'
        for key in data
        if key not in ("budget", "schema_version")
    ]
    if data.get("schema_version", 1) != 1:
        faults.append(f"schema_version {data['schema_version']} is not known (allowed 1)")
    places = _Places(text, len(tables))
    budgets = []
    for index, table in enumerate(tables):
        budget, found = _line(table, path, partial(places.line, index))
        faults += found
        budgets += [budget] if budget else []
    if faults:
        count = f"{len(faults)} faults" if len(faults) > 1 else "1 fault"
        raise InputError(f"{count} in the budgets:\n  " + "\n  ".join(faults), where=path)
    return budgets


def _line(
    table: dict[str, Any], path: Path, line: Callable[[str], int]
) -> tuple[Budget | None, list[str]]:
    """Build one budget; returns it, or None and the faults found."""
    faults = []

    def fault(key: str, text: str) -> None:
        faults.append(f"line {line(key)}: {text}")

    for key in table:
        if key not in _KEYS:
            hint = suggestion(key, list(_KEYS))
            fault(key, f'unknown key "{key}" (allowed {", ".join(_KEYS)}). {hint}'.rstrip())
    for key in _NEEDED:
        if key not in table:
            fault("", f'"{key}" is missing')
    known = {
        "target": [*all_ids(), ANY_TARGET],
        "model": list(MODELS),
        "metric": list(METRICS),
    }
    for key, allowed in known.items():
        if key in table and table[key] not in allowed:
            hint = suggestion(str(table[key]), allowed)
            fault(
                key, f'unknown {key} "{table[key]}" (allowed {", ".join(allowed)}). {hint}'.rstrip()
            )
    metric = METRICS.get(str(table.get("metric")))
    if metric and metric.scope == "target" and table.get("target") == ANY_TARGET:
        fault("target", f'"{metric.name}" differs from target to target; name one')
    limit = tolerance = None
    if metric and "limit" in table:
        limit = _quantity(table["limit"], metric.dimension, lambda text: fault("limit", text))
    if "tolerance" in table:
        tolerance = _quantity(table["tolerance"], "fraction", lambda text: fault("tolerance", text))
        if tolerance and not 0 <= tolerance.value < 1:
            fault("tolerance", f"tolerance {table['tolerance']} is not between 0 and 100 %")
    if faults or metric is None or limit is None:
        return None, faults
    return Budget(
        **{key: table[key] for key in ("target", "model", "metric")},
        limit=limit.number,
        limit_text=str(table["limit"]),
        unit=metric.unit,
        tolerance=tolerance.number if tolerance else 0.0,
        format=str(table.get("format", "")),
        note=str(table.get("note", "")),
        file=str(path),
        line=line(""),
    ), []


def _quantity(text: Any, dimension: str, fault: Callable[[str], None]) -> Quantity | None:
    try:
        return parse(text, dimension)
    except InputError as err:
        fault(str(err))
        return None


class _Places:
    """Line numbers of the [[budget]] tables and their keys, which tomllib does not report."""

    def __init__(self, text: str, count: int) -> None:
        self._lines = text.splitlines()
        self._heads = [
            number
            for number, line in enumerate(self._lines)
            if re.match(r"\s*\[\[\s*budget\s*\]\]", line)
        ]
        if len(self._heads) != count:  # written as an inline array: only the file is known
            self._heads = []

    def line(self, index: int, key: str) -> int:
        """Line (from 1) of `key` in table `index`, or of its head; 1 where that is unknown."""
        if not self._heads:
            return 1
        start = self._heads[index]
        end = self._heads[index + 1] if index + 1 < len(self._heads) else len(self._lines)
        for number in range(start + 1, end):
            if key and re.match(rf'\s*"?{re.escape(key)}"?\s*=', self._lines[number]):
                return number + 1
        return start + 1
