"""What was found, line by line as it is found, so that a cut loses one step at most."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import SCHEMA

Unit = dict[str, Any]
FIRST = "job"


class WrongJournal(Exception):
    """A journal that belongs to another job."""


class Journal:
    """Steps by key, each a line ``{"key": ..., "value": ...}`` in a file that only grows.

    Parameters
    ----------
    path : Path
        The file; a line that a power cut left half-written is dropped.
    job : str
        Digest of the job; the journal of another job is refused.
    echo : callable
        Gets every line that is written.
    """

    def __init__(self, path: Path, job: str, echo: Callable[[str], None] = lambda line: None):
        self._path, self._echo = path, echo
        self.units = read(path)
        self.resumed = bool(self.units)
        if self.resumed and self.units.get(FIRST) != {"digest": job, "schema": SCHEMA}:
            raise WrongJournal(f"{path} is of another job; remove it to start anew")
        if not self.resumed:
            path.write_bytes(b"")
            self.add(FIRST, {"digest": job, "schema": SCHEMA})
        elif not path.read_bytes().endswith(b"\n"):
            with path.open("ab") as handle:
                handle.write(b"\n")

    def add(self, key: str, value: Unit) -> None:
        """Write a step down, on the disk before this returns."""
        line = json.dumps({"key": key, "value": value}, separators=(",", ":"))
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(line + "\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.units[key] = value
        self._echo(line)

    def __contains__(self, key: str) -> bool:
        return key in self.units

    def __getitem__(self, key: str) -> Unit:
        return self.units[key]

    def number(self, prefix: str) -> int:
        """How many steps have keys that begin so."""
        return sum(key.startswith(prefix) for key in self.units)


def read(path: Path) -> dict[str, Unit]:
    """Steps of a journal, in order; of a key that stands twice, the later one."""
    units: dict[str, Unit] = {}
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return units
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            units[entry["key"]] = entry["value"]
        except (ValueError, KeyError, TypeError):
            continue
    return units


def write_atomically(path: Path, data: Any) -> None:
    """Write JSON under a temporary name beside `path`, then rename it."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as handle:
        json.dump(data, handle, indent=1)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(part, path)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
