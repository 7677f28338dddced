"""The host's copy of a board's journal: what is kept of a run that did not come to its end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from targets.errors import InputError

#: An older journal is of another day, another temperature: it is not gone on with.
KEPT_S = 24 * 3600.0


@contextlib.contextmanager
def journal(digest: str, host: str) -> Iterator[Path]:
    """Yield the journal's path for a job on a host; it is removed when the block succeeds.

    Raises
    ------
    InputError
        The same job is being done on the same host already.
    """
    folder = _cache()
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(f"{digest} {host}".encode()).hexdigest()[:20]
    path = folder / f"{name}.jsonl"
    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            "this job is being done on this board already", where=host,
            todo="Wait for the other command to end.",
        ) from None  # fmt: skip
    try:
        _forget_old(folder)
        yield path
        path.unlink(missing_ok=True)
        (folder / f"{name}.lock").unlink(missing_ok=True)
    finally:
        lock.release()


def _forget_old(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink()


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dlink" / "pi"
