"""Whole or not at all: files and folders appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from targets.errors import InputError


def check_writable(target: Path) -> None:
    """Refuse early, before hours of work, a target whose parent folder cannot be written."""
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as err:
        raise InputError(
            "output cannot be written",
            where=target,
            value=err.strerror or err,
            todo="Choose a folder that you may write to with -o.",
        ) from None


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside `target`; rename it to `target` only when the block succeeds.

    The block may create a file or a folder under that name. An existing folder at `target` is
    swapped out and removed after the new one stands, so that a kill leaves one whole version.
    """
    target = target.absolute()
    check_writable(target)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    work = part / target.name
    try:
        yield work
        if work.is_file():
            with work.open("rb") as handle:
                os.fsync(handle.fileno())
        if target.is_dir() and work.is_dir():
            target.rename(part / "previous")
        work.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write `text` to `target` atomically (UTF-8)."""
    with atomic_path(target) as part:
        part.write_text(text, encoding="utf-8")


def write_json(target: Path, data: Any) -> None:
    """Write `data` as indented JSON, atomically; NaN and infinities are refused."""
    write_text(target, json.dumps(data, indent=2, allow_nan=False) + "\n")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file; `what` names it in the error ("results")."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{what} file not found", where=path, todo="Check the path.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as err:
        raise InputError(f"{what} file is not readable JSON: {err}", where=path) from None


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
