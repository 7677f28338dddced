"""Windows on disk, written recording by recording: a data set may be larger than memory.

A finished folder holds x.npy (float32, n_windows x n_chans x n_times) and index.json. While it is
written it is called NAME.partial, and journal.jsonl in it says, a line a recording, what is safely
on disk: a writer that is killed goes on after the last line.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich.progress import track

from distill.rows import BLOCK_BYTES, blocks
from distill.signal import SignalSpec
from distill.windows import COLUMNS, Windows, begin_hash, write_index
from targets.errors import InputError
from targets.files import check_writable


@dataclass(frozen=True)
class Source:
    """One or more recordings of a data set, read only when their turn comes.

    Attributes
    ----------
    name : what errors and the journal call it: a path, or data set and subject.
    read : its windows, recording by recording.
    """

    name: str
    read: Callable[[], Iterable[Windows]]


def store(
    sources: Sequence[Source],
    signal: SignalSpec,
    labels: tuple[str, ...],
    folder: Path,
    *,
    key: str = "",
) -> Windows:
    """Write the windows of `sources`, in order, to `folder`; return them memory-mapped.

    One recording is in memory at a time. The folder stands whole or not at all. What a killed
    process left in NAME.partial is taken up if it is of the same sources, contract, classes, key.

    Parameters
    ----------
    key : whatever else decides what the sources give.

    Raises
    ------
    InputError
        Unwritable folder, another process at work on it, no window, or what a source refuses.
    """
    check_writable(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    (partial / "x.npy").touch()
    with (partial / "x.npy").open("r+b") as samples:
        try:
            fcntl.flock(samples, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                "another process is writing these windows", where=folder,
                todo="Wait until it has finished.",
            ) from None  # fmt: skip
        _Writer(partial, samples, signal, labels).write(sources, key)
        partial.rename(folder)
    return Windows.load(folder)


class _Writer:
    """Appends to x.npy and to the journal; a line stands only for samples that are on disk."""

    def __init__(
        self, partial: Path, samples: BinaryIO, signal: SignalSpec, labels: tuple[str, ...]
    ) -> None:
        self._partial, self._samples = partial, samples
        self._signal, self._labels = signal, labels
        self._digest = begin_hash(signal)
        self._entries: list[dict[str, Any]] = []

    def write(self, sources: Sequence[Source], key: str) -> None:
        """All of it: what stands is kept, the other sources are read, the index closes it."""
        text = "\n".join((key, self._signal.hash, *self._labels, "", *(s.name for s in sources)))
        head = {"of": hashlib.sha256(text.encode()).hexdigest()}
        path = self._partial / "journal.jsonl"
        lines = _whole_lines(path)
        self._entries = lines[1:] if lines[:1] == [head] else []
        self._take_up()
        with path.open("w", encoding="utf-8") as journal:
            for line in (head, *self._entries):
                journal.write(json.dumps(line) + "\n")
            for source in track(
                sources[len(self._entries) :], "reading recordings",
                disable=not sys.stderr.isatty(), transient=True,
            ):  # fmt: skip
                self._entries.append(self._append(source))
                journal.write(json.dumps(self._entries[-1]) + "\n")
                journal.flush()
        self._close()
        path.unlink()

    @property
    def _rows(self) -> int:
        return sum(len(entry["y"]) for entry in self._entries)

    def _header(self) -> None:
        """x.npy's header for the rows that the journal holds.

        numpy leaves room in it for the first axis to grow, so that its length stays the same.
        """
        self._samples.seek(0)
        shape = (self._rows, self._signal.n_chans, self._signal.n_times)
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._samples, described)

    def _take_up(self) -> None:
        """Hash the samples that the journal vouches for; cut off what comes after them."""
        self._header()
        start, one = self._samples.tell(), 4 * self._signal.n_chans * self._signal.n_times
        if self._samples.seek(0, os.SEEK_END) < start + one * self._rows:
            self._entries = []  # the journal outlived its samples
        self._samples.truncate(start + one * self._rows)
        self._samples.seek(start)
        while block := self._samples.read(BLOCK_BYTES):
            self._digest.update(block)

    def _append(self, source: Source) -> dict[str, Any]:
        """One source's samples to the end of x.npy; its line for the journal."""
        entry: dict[str, Any] = {"source": source.name, "y": [], "subject": [], "session": []}
        for part in source.read():
            self._signal.check(part.signal, where=source.name)
            for block in blocks(part.x):
                self._samples.write(block.data)
                self._digest.update(block)
            for key in COLUMNS:
                entry[key] += getattr(part, key).tolist()
        self._samples.flush()
        os.fsync(self._samples.fileno())
        return entry

    def _close(self) -> None:
        """The header with the final count, and index.json with the hash."""
        if not self._rows:
            raise InputError("no recording gave a window", where=self._partial)
        self._header()
        self._samples.flush()
        os.fsync(self._samples.fileno())
        columns = {key: [v for entry in self._entries for v in entry[key]] for key in COLUMNS}
        write_index(self._partial, columns, self._labels, self._signal, self._digest)


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a journal up to the first that was not written to its end."""
    found: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
