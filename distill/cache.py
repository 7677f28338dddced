"""Teacher outputs, computed once and read from disk (memory-mapped).

An entry is a folder, named by a hash of everything that decides its content: the teacher's weights,
the signal contract, the windows, the number format, the versions of what computes. So a change of
any of it is another entry, and nothing stale is ever read. index.json holds the key in words and
the size and CRC-32 of every file; an entry that does not match them is computed again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import shutil
import sys
import zlib
from collections.abc import Iterator
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from distill.checkpoints import state_hash
from distill.live import Dtype, forward, grid
from distill.outputs import HiddenStates, Parts, Rows, TeacherOutputs, Tokens, normalise
from distill.teachers import TappedTeacher
from distill.windows import Windows
from targets.errors import InputError
from targets.files import DiskFullError, atomic_path, check_writable, read_json, write_json

__all__ = ["Dtype", "StoredHidden", "TeacherOutputs", "teacher_outputs"]

FORMAT = 2  # of an entry: a change of what the files hold must change it
FILES = ("logits.npy", *(f"{name}.npy" for name in Parts._fields))


def teacher_outputs(
    teacher: TappedTeacher,
    windows: Windows,
    folder: Path,
    *,
    dtype: Dtype = "float32",
    batch: int = 1,
) -> TeacherOutputs:
    """Outputs of a frozen teacher on all windows, from `folder` if they are there.

    Several processes may ask for the same entry: one computes it, the others wait.

    Parameters
    ----------
    folder : where entries live; any of them may be deleted at any time between runs.
    dtype : of the hidden states on disk. "float16" halves disk and reading; its rounding
        (relative 5e-4) stands in docs/training.md.
    batch : windows per forward pass. With 1 the outputs are bit for bit those of
        :class:`distill.live.LiveOutputs`; matrix products of larger batches may round otherwise.

    Raises
    ------
    InputError
        The disk is full or `folder` cannot be written; hidden states that are not finite.
    """
    key = _key(teacher, windows, dtype, batch)
    entry = folder / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    with _one_at_a_time(entry):
        fault = None
        if entry.exists():
            fault = _fault(entry) or _stranger(entry, teacher, windows)
        if fault:
            print(f"  {entry}: {fault}; computing it again", file=sys.stderr, flush=True)
        if fault or not entry.exists():
            _write(teacher, windows, entry, key)
    return TeacherOutputs(_load(entry, "logits.npy"), StoredHidden(entry))


class StoredHidden(HiddenStates):
    """Hidden states of an entry, memory-mapped."""

    def __init__(self, entry: Path) -> None:
        self._entry = entry

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredHidden, (self._entry,)  # another process maps the files itself

    @cached_property
    def _parts(self) -> Parts:
        return Parts(*(torch.from_numpy(_load(self._entry, name)) for name in FILES[1:]))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, layers, n_chans, n_patches, d)."""
        return tuple(self._parts.normed.shape)

    def tokens(self, rows: Rows) -> Tokens:
        """The view of these windows for a batch."""
        return Tokens(self._parts, rows)


def _load(entry: Path, name: str) -> NDArray[Any]:
    """A file of an entry, memory-mapped: private and writable, which is what torch asks for."""
    return np.asarray(np.load(entry / name, mmap_mode="c", allow_pickle=False))


def _key(teacher: TappedTeacher, windows: Windows, dtype: Dtype, batch: int) -> dict[str, Any]:
    """Everything that decides an entry's content."""
    if dtype not in get_args(Dtype):
        raise InputError(
            "teacher outputs cannot be stored so", where="dtype", value=dtype,
            limit=", ".join(get_args(Dtype)),
        )  # fmt: skip
    return {
        "format": FORMAT,
        "teacher": teacher.name,
        "weights": state_hash(teacher),
        "layers": list(teacher.layers),
        "signal": windows.signal.hash,
        "windows": windows.hash,
        "dtype": dtype,
        "batch": batch,
        "versions": {name: version(name) for name in ("torch", "braindecode")},
    }


@contextlib.contextmanager
def _one_at_a_time(entry: Path) -> Iterator[None]:
    """Hold the entry's lock; the system releases it when a process dies.

    Where the file system knows no locks, processes may compute an entry twice; the last rename
    wins, and both have written the same.
    """
    check_writable(entry)
    lock = FileLock(entry.parent / f".{entry.name}.lock")
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print("  waiting for another process that computes the teacher's outputs", flush=True)
            lock.acquire()
    except (NotImplementedError, OSError):
        yield
        return
    try:
        for part in entry.parent.glob(f".{entry.name}.*.part"):  # of a killed process
            shutil.rmtree(part, ignore_errors=True)
        yield
    finally:
        lock.release()


def _fault(entry: Path) -> str | None:
    """What is wrong with an entry: a missing, cut off or altered file; None if it is whole."""
    try:
        stated = read_json(entry / "index.json", "index of the teacher's outputs")["files"]
        for name in FILES:
            path = entry / name
            if path.stat().st_size != stated[name]["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, not {stated[name]['bytes']}"
        for name in FILES:
            if _crc32(entry / name) != stated[name]["crc32"]:
                return f"{name} is damaged"
    except (InputError, OSError, KeyError, TypeError) as err:
        return f"entry is damaged ({err})"
    return None


def _stranger(entry: Path, teacher: TappedTeacher, windows: Windows) -> str | None:
    """Whether another forward made a sound entry: a user's own module has code as well as weights.

    Within a tolerance, because another processor may round otherwise.
    """
    logits = next(forward(teacher, windows.x[:1], 1))[0].numpy()
    if np.allclose(_load(entry, "logits.npy")[:1], logits, rtol=1e-3, atol=1e-3):
        return None
    return "the teacher's code has changed"


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 22):
            value = zlib.crc32(chunk, value)
    return value


class _Summed:
    """A file that is written once, from the start; counts bytes and CRC-32 on the way."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self.bytes, self.crc32 = handle, 0, 0

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        self.crc32 = zlib.crc32(data, self.crc32)
        return self._handle.write(data)

    def header(self, shape: tuple[int, ...], dtype: str) -> None:
        """Begin a .npy file of this shape, row by row."""
        np.lib.format.write_array_header_1_0(
            self, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        )

    def rows(self, values: Tensor, dtype: str) -> None:
        """Append rows."""
        self.write(values.numpy().astype(dtype, copy=False).tobytes())


def _write(teacher: TappedTeacher, windows: Windows, entry: Path, key: dict[str, Any]) -> None:
    """Compute an entry; it appears whole or not at all."""
    n, (layers, chans, patches, d) = len(windows), grid(teacher)
    shapes = {
        "logits.npy": ((n, windows.n_outputs), "float32"),
        "normed.npy": ((n, layers, chans, patches, d), key["dtype"]),
        "pooled.npy": ((n, layers, chans, d), key["dtype"]),
        "mean.npy": ((n, layers, d), "float32"),
        "centre.npy": ((n, layers, chans, patches), "float32"),
        "spread.npy": ((n, layers, chans, patches), "float32"),
    }
    size = sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in shapes.values())
    _check_space(entry, size)
    try:
        with atomic_path(entry) as part, contextlib.ExitStack() as stack:
            part.mkdir()
            files = {}
            for name, (shape, kind) in shapes.items():
                files[name] = _Summed(stack.enter_context((part / name).open("wb")))
                files[name].header(shape, kind)
            for found in _computed(teacher, windows, key, entry):
                for name, values in zip(FILES, found, strict=True):
                    files[name].rows(values, shapes[name][1])
            stack.close()
            sums = {name: {"bytes": f.bytes, "crc32": f.crc32} for name, f in files.items()}
            write_json(part / "index.json", {"key": key, "files": sums})
    except DiskFullError as err:
        raise _full(entry, size, str(err.value)) from None


def _computed(
    teacher: TappedTeacher, windows: Windows, key: dict[str, Any], entry: Path
) -> Iterator[tuple[Tensor, ...]]:
    """What :data:`FILES` hold, a forward pass at a time."""
    dtype, batch = getattr(torch, key["dtype"]), key["batch"]
    passes = forward(teacher, windows.x, batch)
    total = -(-len(windows) // batch)
    for logits, hidden in track(
        passes, "teacher's outputs", total=total, disable=not sys.stderr.isatty(), transient=True
    ):
        if not torch.isfinite(hidden).all():
            raise InputError(
                "teacher's hidden states are not finite", where=entry,
                todo="Train the teacher with a lower lr.",
            )  # fmt: skip
        yield logits, *normalise(hidden, dtype)


def _check_space(entry: Path, size: int) -> None:
    if shutil.disk_usage(entry.parent).free < size:
        raise _full(entry, size, f"{shutil.disk_usage(entry.parent).free / 1e9:.2f} GB free")


def _full(entry: Path, size: int, why: str | None) -> InputError:
    return InputError(
        "no room for the teacher's outputs", where=entry.parent, value=why,
        limit=f"{size / 1e9:.2f} GB needed",
        todo='Free some space, choose another folder, or store them as "float16".',
    )  # fmt: skip
