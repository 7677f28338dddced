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

from targets import swap
from targets.errors import InputError, disk_full


class DiskFullError(InputError):
    """No room was left for an output; nothing half-written stays."""

    def __init__(self, target: Path, reason: object) -> None:
        super().__init__(
            "disk is full", where=target, value=reason,
            todo="Free some space, or choose a folder on another disk with -o.",
        )  # fmt: skip


def check_writable(target: Path) -> None:
    """Refuse early, before hours of work, a target whose parent folder cannot be written."""
    parent = target.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as err:
        if (reason := disk_full(err)) is not None:
            raise DiskFullError(target, reason) from None
        raise InputError(
            "output cannot be written",
            where=target,
            value=err.strerror or err,
            todo="Choose a folder that you may write to with -o.",
        ) from None


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside `target`; rename it to `target` only when the block succeeds.

    The block may create a file or a folder under that name. A folder at `target` changes places
    with the new one (:mod:`targets.swap`) and is removed then, so that a kill or a power cut leaves
    one whole version under the name. What killed processes left beside it is cleared. A link is
    followed: what it points to is replaced, not the link.

    Raises
    ------
    InputError
        The parent folder cannot be written, or the disk filled up in the block.
    """
    named, target = target, Path(os.path.realpath(target))
    check_writable(target)
    swap.sweep(target)
    part = Path(tempfile.mkdtemp(swap.SUFFIX, swap.prefix(target.name), target.parent))
    handle = None
    with contextlib.suppress(OSError):  # without locks, nobody clears another's leftovers
        handle = swap.lock(part)
    try:
        work = part / target.name
        yield work
        _put_in_place(work, target, named)
    except Exception as err:
        if (reason := disk_full(err)) is not None:
            raise DiskFullError(named, reason) from None
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _put_in_place(work: Path, target: Path, named: Path) -> None:
    try:
        swap.put_in_place(work, target)
    except OSError as err:
        if isinstance(err, FileNotFoundError) or disk_full(err) is not None:
            raise
        raise InputError(
            "the new version cannot take the place of the old one", where=named,
            value=err.strerror, todo="Choose another place with -o.",
        ) from None  # fmt: skip


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
