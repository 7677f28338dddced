"""The moment in which a new file or folder takes the place of an old one, and its leftovers.

A replaced folder is exchanged in one step where the kernel and the file system can (Linux,
``renameat2`` with ``RENAME_EXCHANGE``), else by two renames; a kill between those two is mended by
:func:`sweep`. A work folder is locked (``flock``) for as long as its process lives, so that a later
process can tell a leftover from work in progress.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import time
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_CANNOT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
#: Where the two renames keep the old folder in between.
PREVIOUS = "previous"
#: A folder is made a moment before it is locked: one whose process id is in use is left this long.
_YOUNG_S = 10.0


def put_in_place(work: Path, target: Path) -> None:
    """Rename `work` to `target`; what stood at `target` is left in the folder of `work`.

    Both lie on one file system. Their data is on the disk before the name changes, so that a power
    cut leaves one whole version too.
    """
    _flush(work)
    if target.is_dir() and work.is_dir():
        if not _exchange(work, target):
            _two_renames(work, target)
    else:
        work.replace(target)
    _flush_entry(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places; False where the platform cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):  # no glibc of 2018 or later
        return False
    answer = renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE)
    )
    if answer == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _two_renames(work: Path, target: Path) -> None:
    previous = work.parent / PREVIOUS
    target.rename(previous)
    try:
        work.rename(target)
    except OSError:
        previous.rename(target)
        raise


def _flush(path: Path) -> None:
    """Bring a file, or a folder with all that it holds, to the disk."""
    if not path.is_dir() or path.is_symlink():
        _flush_entry(path)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _flush_entry(Path(folder, name))
        _flush_entry(Path(folder))


def _flush_entry(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # a dangling link has no data
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.fsync(handle)
        except OSError as err:
            if err.errno not in (errno.EINVAL, errno.EROFS):  # no file system can be asked twice
                raise
        finally:
            os.close(handle)


def prefix(name: str) -> str:
    """Start of a work folder's name: hidden, with the target's name and this process's id."""
    return f".{name}.{os.getpid()}-"


#: End of a work folder's name.
SUFFIX = ".part"


def lock(folder: Path) -> int | None:
    """Lock a folder for this process; returns the handle to close, None if another one has it.

    Raises
    ------
    OSError
        The folder is gone, or its file system knows no locks.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except OSError:
        os.close(handle)
        raise
    return handle


def sweep(target: Path) -> None:
    """Clear what killed processes left beside `target`; never what a living one works on.

    A folder that a kill caught between the two renames is put back under its name first.
    """
    pattern = re.compile(
        rf"\.{re.escape(target.name)}\.(?:(?P<pid>\d+)-)?[a-z0-9_]{{8}}{re.escape(SUFFIX)}"
    )
    with os.scandir(target.parent) as entries:
        found = [
            (entry.path, match) for entry in entries if (match := pattern.fullmatch(entry.name))
        ]
    for path, match in found:
        folder = Path(path)
        with contextlib.suppress(OSError):
            if match["pid"] and _alive(int(match["pid"])) and _age(folder) < _YOUNG_S:
                continue
            handle = lock(folder)
            if handle is None:
                continue
            try:
                _clear(folder, target)
            finally:
                os.close(handle)


def _clear(folder: Path, target: Path) -> None:
    previous = folder / PREVIOUS
    if previous.exists() and (folder / target.name).exists() and not target.exists():
        previous.rename(target)
    shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _age(folder: Path) -> float:
    return time.time() - folder.stat().st_mtime
