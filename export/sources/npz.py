"""Windows from an .npz file of the user's: arrays only, never a pickle, sizes checked first."""

from __future__ import annotations

import json
import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from distill.windows import SPLIT_NAMES, Windows
from export.sources.signal_file import Contract, check_labels, parse_signal
from targets.errors import InputError
from targets.target import suggestion

NEEDED = ("x", "y", "subject", "split", "labels")
OPTIONAL = ("signal", "session")
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
MOST_BYTES = 8 << 30
_AS_FOLDER = "Save them as a folder (distill.windows.Windows.save), which stays on disk."
_TODO = "docs/inputs.md shows how to write one."


def read_npz(path: Path, given: Contract | None) -> tuple[Windows, NDArray[np.str_]]:
    """All windows, and the split of each.

    Parameters
    ----------
    path : file of numpy.savez with x float32 (N, n_chans, n_times), y int (N,), subject and split
        str (N,), labels str (n_outputs,); if wanted session str (N,) and signal, JSON text.
    given : the contract, where the file does not hold one; where both do, they must agree.

    Raises
    ------
    InputError
        What is missing, of another kind, size or value than that.
    """
    arrays = _arrays(path)
    contract = _contract(arrays, given, path)
    labels = check_labels(_texts(arrays, "labels", path).tolist(), where=f"{path}: labels")
    x = _samples(arrays["x"], contract, path)
    n = len(x)
    y = arrays["y"]
    if y.dtype.kind not in "iu" or y.shape != (n,) or y.min() < 0 or y.max() >= len(labels):
        raise InputError(
            "y must hold one class index a window", where=f"{path}: y",
            value=_described(y) + (f", {y.min()} to {y.max()}" if y.size and y.dtype.kind in "iu"
                                   else ""),
            limit=f"int ({n},), 0 to {len(labels) - 1}", todo=_TODO,
        )  # fmt: skip
    subject, split = _texts(arrays, "subject", path, n), _texts(arrays, "split", path, n)
    unknown = sorted(set(split.tolist()) - set(SPLIT_NAMES))
    if unknown:
        raise InputError("unknown split", where=f"{path}: split", value=", ".join(unknown[:5]),
                         limit=", ".join(SPLIT_NAMES))  # fmt: skip
    session = _texts(arrays, "session", path, n) if "session" in arrays else np.full(n, "0")
    windows = Windows(x, y.astype(np.int64), subject, session, labels, contract.signal)
    return windows, split


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The file's arrays by name; the size that each claims is checked before it is made."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            _check_names(list(members), path)
            whole = sum(entry.file_size for entry in members.values())
            if whole > MOST_BYTES:
                raise InputError(
                    "the arrays would take more memory than .npz windows may", where=path,
                    value=f"{whole} bytes", limit=MOST_BYTES, todo=_AS_FOLDER,
                )  # fmt: skip
            found = {}
            for name, entry in members.items():
                with archive.open(entry) as handle:
                    _check_size(handle, entry.file_size, f"{path}: {name}")
                with archive.open(entry) as handle:
                    found[name] = np.lib.format.read_array(handle, allow_pickle=False)
            return found
    except FileNotFoundError:
        raise InputError("data file not found", where=path, todo="Check the path.") from None
    except MemoryError:
        raise InputError(
            "the windows do not fit into memory", where=path, todo=_AS_FOLDER
        ) from None
    except InputError:
        raise
    except Exception as err:
        # zipfile, zlib and numpy's header reader fail on damaged files with many types.
        raise InputError(
            f"data file is no .npz that can be read: {err}", where=path, todo=_TODO
        ) from None


def _check_names(names: list[str], path: Path) -> None:
    known = [*NEEDED, *OPTIONAL]
    foreign = sorted(set(names) - set(known))
    missing = [name for name in NEEDED if name not in names]
    if missing or foreign or len(set(names)) < len(names):
        raise InputError(
            "data file has not the arrays that it must have", where=path,
            value=", ".join(sorted(names)) or "none",
            limit=f"{', '.join(NEEDED)}; optional {', '.join(OPTIONAL)}",
            todo=" ".join([*(suggestion(name, known) for name in foreign[:1]), _TODO]).strip(),
        )  # fmt: skip


def _check_size(handle: IO[bytes], size: int, where: str) -> None:
    """The header's shape must be what the member holds: numpy would allocate it unread."""
    version = np.lib.format.read_magic(handle)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in read:
        raise InputError("array of an unknown format version", where=where, value=version)
    shape, _, dtype = read[version](handle)
    if dtype.hasobject:
        raise InputError(
            "array holds Python objects and is not loaded", where=where,
            todo="Make it an array of numbers or texts: np.asarray(names, dtype=str).",
        )  # fmt: skip
    expected = prod(shape) * dtype.itemsize
    if any(n < 0 for n in shape) or expected != size - handle.tell():
        raise InputError(
            "array's shape disagrees with its bytes", where=where,
            value=f"{shape} of {dtype}: {expected} bytes", limit=size - handle.tell(),
        )  # fmt: skip


def _contract(arrays: dict[str, NDArray[Any]], given: Contract | None, path: Path) -> Contract:
    if "signal" not in arrays:
        if given is None:
            raise InputError(
                "nothing says what the windows are", where=path, value="no array signal",
                todo="Give the contract with --signal FILE, or store its JSON text as signal.",
            )  # fmt: skip
        return given
    where = f"{path}: signal"
    text = arrays["signal"]
    try:
        fields = json.loads(str(text)) if text.dtype.kind == "U" and text.ndim == 0 else None
    except (ValueError, RecursionError):
        fields = None
    own = parse_signal(fields, where=where)
    if given is not None:
        given.signal.check(own, where=where)
    return Contract(own)


def _samples(x: NDArray[Any], contract: Contract, path: Path) -> NDArray[np.float32]:
    signal = contract.signal
    if x.dtype.kind != "f" or x.ndim != 3 or not len(x) or x.shape[1:] != (
        signal.n_chans, signal.n_times
    ):  # fmt: skip
        raise InputError(
            "x is not what the signal contract says", where=f"{path}: x", value=_described(x),
            limit=f"float32 (N, {signal.n_chans}, {signal.n_times}), N at least 1",
            todo="Order it windows, channels, samples, in the unit and scale of the contract.",
        )  # fmt: skip
    return np.ascontiguousarray(x, dtype=np.float32)


def _texts(
    arrays: dict[str, NDArray[Any]], name: str, path: Path, n: int | None = None
) -> NDArray[np.str_]:
    found = arrays[name]
    if found.dtype.kind != "U" or found.ndim != 1 or (n is not None and len(found) != n):
        raise InputError(
            f"{name} must be texts", where=f"{path}: {name}", value=_described(found),
            limit=f"str ({'n_outputs' if n is None else n},)", todo=_TODO,
        )  # fmt: skip
    return found


def _described(array: NDArray[Any]) -> str:
    return f"{array.dtype} {array.shape}"
