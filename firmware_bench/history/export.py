"""The history's figures as a table for other programs: CSV, JSON, Parquet."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from firmware_bench.history.figures import Figure
from targets.errors import InputError
from targets.files import atomic_path, write_json

COLUMNS = tuple(field.name for field in fields(Figure))


def write_csv(path: Path, figures: Sequence[Figure]) -> None:
    """Write one line a figure, with a heading; None is an empty cell."""
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="") as handle:
        table = csv.DictWriter(handle, COLUMNS)
        table.writeheader()
        table.writerows(asdict(one) for one in figures)


def as_rows(figures: Sequence[Figure]) -> list[dict[str, object]]:
    """Return one object a figure, with the names of its fields."""
    return [asdict(one) for one in figures]


def save_json(path: Path, figures: Sequence[Figure]) -> None:
    """Write :func:`as_rows` to a file."""
    write_json(path, as_rows(figures))


def write_parquet(path: Path, figures: Sequence[Figure]) -> None:
    """Write a Parquet file; values are float64 there.

    Raises
    ------
    InputError
        pyarrow is not installed.
    """
    try:
        pa = importlib.import_module("pyarrow")  # optional: no dependency of dlink
        pq = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError(
            "Parquet needs pyarrow", where=path,
            todo="pip install pyarrow, or export with --csv.",
        ) from None  # fmt: skip
    kinds = {"dirty": pa.bool_(), "valid": pa.bool_()}
    kinds |= dict.fromkeys(("value", "low", "high"), pa.float64())
    table = pa.table(
        {
            name: pa.array(
                [_float(getattr(one, name)) for one in figures], kinds.get(name, pa.string())
            )
            for name in COLUMNS
        }
    )
    with atomic_path(path) as part:
        pq.write_table(table, part)


def _float(value: object) -> object:
    """Whole numbers as floats, for a column that holds both; flags and words as they are."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
