"""The history: results go in whole and once, figures come out."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from firmware_bench.history import schema
from firmware_bench.history.figures import (
    Figure,
    Filter,
    artefact_digest,
    commit_label,
    digest,
    figures_of,
    source_of,
)
from firmware_bench.results import Results
from targets.errors import InputError

#: Columns of a figure's own row; the others are those of its results.
_OWN = ("target", "board", "model", "format", "runtime", "metric", "value", "unit", "evidence",
        "valid", "low", "high", "interval_kind", "reason", "environment")  # fmt: skip
_FROM = {
    "commit": "r.git_commit", "dirty": "r.dirty", "created": "r.created", "artefact": "r.artefact",
    "artefact_sha256": "r.artefact_sha256", "dlink": "r.dlink",
    **{name: f"f.{name}" for name in _OWN},
}  # fmt: skip
_FIELDS = tuple(field.name for field in fields(Figure))
_SELECT = (  # names of our own, no word of the user's
    f"SELECT {', '.join(_FROM[name] for name in _FIELDS)} "  # noqa: S608
    "FROM figures f JOIN results r ON r.id = f.results"
)
_INSERT = f"INSERT INTO figures (results, {', '.join(_OWN)}) VALUES ({', '.join('?' * 16)})"  # noqa: S608


@dataclass(frozen=True)
class Added:
    """One results file of the history.

    `new` says whether it went in just now; `figures` counts its figures.
    """

    sha256: str
    commit: str | None
    dirty: bool | None
    created: str
    artefact: str
    targets: tuple[str, ...]
    figures: int
    new: bool = False

    @property
    def label(self) -> str:
        """The commit for a reader."""
        return commit_label(self.commit, self.dirty)


class History:
    """An open history; a context manager.

    Parameters
    ----------
    path : Path
        SQLite file.
    create : bool
        Make it if there is none.

    Raises
    ------
    InputError
        No such file, another kind of file or version, or one that cannot be written.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        self._connection = schema.connect(path, create=create)

    def add(self, results: Results, *, commit: str | None = None) -> Added:
        """Put a results file in, whole or not at all; one that is in already stays as it is.

        Parameters
        ----------
        commit : str, optional
            What the figures belong to, instead of what the results say; "+dirty" behind it marks a
            source that was changed since.
        """
        sha256, found = digest(results), figures_of(results, commit)
        with schema.spoken(self.path), schema.transaction(self._connection):
            known = self._connection.execute("SELECT 1 FROM results WHERE sha256 = ?", (sha256,))
            new = known.fetchone() is None
            if new:
                self._insert(results, sha256, commit, found)
        return next(one for one in self.results(sha256, new=new))

    def results(self, sha256: str | None = None, *, new: bool = False) -> Iterator[Added]:
        """Yield the results files that are in, oldest first."""
        where = "WHERE r.sha256 = ?" if sha256 else ""
        query = f"""
            SELECT r.sha256, r.git_commit, r.dirty, r.created, r.artefact,
                group_concat(DISTINCT f.target), count(f.id)
            FROM results r LEFT JOIN figures f ON f.results = r.id {where}
            GROUP BY r.id ORDER BY r.created, r.id
        """  # noqa: S608
        for row in self._rows(query, (sha256,) if sha256 else ()):
            name, commit, dirty, created, artefact, targets, count = row
            places = tuple(sorted(set((targets or "").split(",")) - {"", "any"}))
            yield Added(name, commit, _flag(dirty), created, artefact, places, count, new)

    def figures(self, wanted: Filter = Filter()) -> list[Figure]:  # noqa: B008 - frozen
        """Return the figures that `wanted` lets through, oldest results first."""
        chosen = [
            (name, value)
            for name in (field.name for field in fields(Filter))
            if (value := getattr(wanted, name)) is not None
        ]
        where = " AND ".join(f"{_FROM[name]} = ?" for name, _ in chosen)
        query = _SELECT + (f" WHERE {where}" if where else "") + " ORDER BY r.created, r.id, f.id"
        return [_figure(row) for row in self._rows(query, tuple(value for _, value in chosen))]

    def at(self, commit: str) -> list[Figure]:
        """Return the figures of a commit, named by its first digits.

        Of a commit with clean and dirty results the clean ones, unless it ends in "+dirty".

        Raises
        ------
        InputError
            No such commit, or several.
        """
        text = commit.removesuffix("+dirty")
        known = self._rows("SELECT DISTINCT git_commit FROM results WHERE git_commit NOTNULL")
        commits = sorted(name for (name,) in known)
        found = [name for name in commits if name == text]
        found = found or [name for name in commits if text and name.startswith(text)]
        if len(found) != 1:
            raise InputError(
                "several commits begin so" if found else "no results of this commit",
                where=self.path, value=commit,
                limit=", ".join(commit_label(c, False) for c in (found or commits)) or None,
                todo="dlink-bench history list shows them.",
            )  # fmt: skip
        rows = self._rows(f"{_SELECT} WHERE r.git_commit = ? ORDER BY r.created, r.id, f.id", found)
        figures = [_figure(row) for row in rows]
        dirty = [one for one in figures if one.dirty]
        clean = [one for one in figures if not one.dirty]
        if text != commit:
            if not dirty:
                raise InputError("no results of this commit with changes", value=commit)
            return dirty
        return clean or dirty

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended_by: object) -> None:
        self.close()

    def _rows(self, query: str, values: Any = ()) -> list[Any]:
        with schema.spoken(self.path):
            return self._connection.execute(query, values).fetchall()

    def _insert(
        self, results: Results, sha256: str, commit: str | None, found: list[Figure]
    ) -> None:
        source, dirty = source_of(results, commit)
        added = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        cursor = self._connection.execute(
            "INSERT INTO results (sha256, added, created, artefact, artefact_sha256, git_commit,"
            " dirty, dlink) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                sha256, added, results.created, str(results.manifest.get("name", "")),
                artefact_digest(results.manifest), source, dirty, results.provenance.get("dlink"),
            ),
        )  # fmt: skip
        self._connection.executemany(
            _INSERT, [(cursor.lastrowid, *(getattr(one, name) for name in _OWN)) for one in found]
        )


def _figure(row: tuple[Any, ...]) -> Figure:
    data = dict(zip(_FIELDS, row, strict=True))
    return Figure(**{**data, "dirty": _flag(data["dirty"]), "valid": bool(data["valid"])})


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)
