"""The history's tables, and how its file is opened: one version, whole transactions, many users."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from targets.errors import InputError

#: "dlnk": tells our file from any other SQLite file (PRAGMA application_id).
APPLICATION_ID = 0x646C_6E6B
VERSION = 1
#: Two that write at once wait for each other, s.
_BUSY_S = 60.0
#: `value`, `low`, `high` have no type, so that whole numbers stay whole.
_TABLES = (
    """
    CREATE TABLE results (
        id INTEGER PRIMARY KEY,
        sha256 TEXT NOT NULL UNIQUE,
        added TEXT NOT NULL,
        created TEXT NOT NULL,
        artefact TEXT NOT NULL,
        artefact_sha256 TEXT NOT NULL,
        git_commit TEXT,
        dirty INTEGER,
        dlink TEXT
    )
    """,
    """
    CREATE TABLE figures (
        id INTEGER PRIMARY KEY,
        results INTEGER NOT NULL REFERENCES results (id) ON DELETE CASCADE,
        target TEXT NOT NULL,
        board TEXT NOT NULL,
        model TEXT NOT NULL,
        format TEXT NOT NULL,
        runtime TEXT NOT NULL,
        metric TEXT NOT NULL,
        value,
        unit TEXT NOT NULL,
        evidence TEXT NOT NULL,
        valid INTEGER NOT NULL,
        low,
        high,
        interval_kind TEXT,
        reason TEXT NOT NULL,
        environment TEXT NOT NULL
    )
    """,
    "CREATE INDEX figures_of_metric ON figures (metric, target)",
    "CREATE INDEX figures_of_results ON figures (results)",
    "CREATE INDEX results_of_commit ON results (git_commit)",
)


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the history; transactions are begun by hand (:func:`transaction`).

    Raises
    ------
    InputError
        No such file, another kind of file, a version of the future, or one that cannot be written.
    """
    if not create and not path.exists():
        raise InputError(
            "no history here", where=path,
            todo="Put results into it first: dlink-bench history add results.json.",
        )  # fmt: skip
    with spoken(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of the block or nothing of it; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def spoken(path: Path) -> Iterator[None]:
    """Tell SQLite's errors in the user's words."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise  # a defect of ours, not of the file
    except (sqlite3.OperationalError, sqlite3.DatabaseError, OSError) as err:
        raise InputError(
            "history cannot be used", where=path, value=err,
            todo="Check its path, rights and disk, or name another file with --db.",
        ) from None  # fmt: skip


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    version = _version(connection, path)
    if version == VERSION:
        return
    _to_wal(connection)
    with transaction(connection):
        if _version(connection, path) == VERSION:
            return  # somebody else was first
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """Version of our tables, 0 for an empty file; anything else is refused."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application == APPLICATION_ID and version == VERSION:
        return VERSION
    if not (application or version or tables):
        return 0
    ours = application == APPLICATION_ID
    raise InputError(
        "history of another version" if ours else "not a history of dlink-bench", where=path,
        value=version if ours else "another program's database", limit=VERSION if ours else None,
        todo="Name another file with --db.",
    )  # fmt: skip


def _to_wal(connection: sqlite3.Connection) -> None:
    """Readers then never wait for a writer. SQLite does not wait its time out here: we do."""
    end = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as err:
            if "locked" not in str(err) or time.monotonic() > end:
                raise
            time.sleep(0.02)
