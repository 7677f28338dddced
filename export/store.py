"""What an export made before: steps whose inputs have not changed are not done again.

An entry is named by a hash of all that decides it: the inputs' hashes, the options, the versions of
the libraries that make it, and dlink's own source. Each carries a checksum: a damaged entry is made
again. Bytes only: nothing that is stored can run code when it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from distill.provenance import versions
from targets.errors import InputError
from targets.files import atomic_path

MAX_BYTES = 2 << 30
_SOURCES = ("export", "distill", "targets")
_SUM = 32  # bytes of a SHA-256, in front of the content


def default_folder() -> Path:
    """$DLINK_CACHE_DIR, or dlink/export in the user's cache folder."""
    given = os.environ.get("DLINK_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "dlink" / "export"


@cache
def _code() -> str:
    """Hash of dlink's own source: a changed step must not find what the old one made."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in _SOURCES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in (".py", ".c", ".h"):
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


class Store:
    """A folder of results by key; without a folder, everything is made anew.

    Attributes
    ----------
    reused, made : names of the steps that were found, and of those that were done.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.reused: list[str] = []
        self.made: list[str] = []

    def bytes(self, step: str, key: Mapping[str, Any], make: Callable[[], bytes]) -> bytes:
        """The content that `make` gives, or gave before for the same step and key."""
        path = self._path(step, key)
        found = None if path is None else _read(path)
        if found is not None:
            self.reused.append(step)
            return found
        content = make()
        self.made.append(step)
        if path is not None:
            with contextlib.suppress(OSError, InputError):  # a full disk costs the cache, no more
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_path(path) as part:
                    part.write_bytes(hashlib.sha256(content).digest() + content)
                self._prune()
        return content

    def json(self, step: str, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
        """The same for what JSON can say."""
        return json.loads(self.bytes(step, key, lambda: json.dumps(make()).encode()))

    def _path(self, step: str, key: Mapping[str, Any]) -> Path | None:
        if self.folder is None:
            return None
        all_of_it = {"step": step, "key": key, "versions": versions(), "code": _code()}
        text = json.dumps(all_of_it, sort_keys=True, default=str)
        return self.folder / step / hashlib.sha256(text.encode()).hexdigest()

    def _prune(self) -> None:
        """Drop what was used longest ago until the folder is below its limit."""
        assert self.folder is not None
        entries = [(p.stat(), p) for p in self.folder.glob("*/*") if p.is_file()]
        total = sum(stat.st_size for stat, _ in entries)
        for stat, path in sorted(entries, key=lambda entry: entry[0].st_mtime):
            if total <= MAX_BYTES:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size


def _read(path: Path) -> bytes | None:
    """The content of an entry, and a note that it was used; None if absent or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[_SUM:]).digest() != content[:_SUM]:
        return None
    with contextlib.suppress(OSError):
        os.utime(path, (time.time(), time.time()))
    return content[_SUM:]
