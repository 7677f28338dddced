"""One comparison at a time in one folder."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from targets.errors import InputError


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder's lock during the block; the kernel lets go of it however we end.

    Raises
    ------
    InputError
        Another process holds it.
    """
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "another comparison is running here", where=folder.parent,
                todo="Wait for it, or stop it with Ctrl-C.",
            ) from None  # fmt: skip
        except OSError:
            pass  # a file system without locks
        yield
