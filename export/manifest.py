"""The artefact's manifest: what is in the folder, for which signal, from where; its checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from distill.signal import SignalSpec
from targets.errors import InputError
from targets.files import read_json, sha256

MANIFEST, SEAL = "manifest.json", "manifest.sha256"
SCHEMA_VERSION = 2


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(_Part):
    """sha256 (hexadecimal) and size of one file."""

    sha256: str
    bytes: int


class TensorEntry(_Part):
    """One input or output of a model file; scale and zero point are None for float tensors."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    layout: str


class Tensors(_Part):
    """Inputs and outputs of a model file."""

    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]


class Calibration(_Part):
    """Where the int8 scales come from; test subjects are never among `subjects`."""

    windows: int
    hash: str
    subjects: tuple[str, ...]
    split: Literal["train"]
    test_subjects_excluded: bool


class SourceEntry(_Part):
    """What was exported, and the hash of its weights and shape."""

    kind: Literal["run", "braindecode", "module", "onnx"]
    what: str
    hash: str


class Gate(_Part):
    """What int8 may lose on validation windows."""

    max_drop: float
    min_agreement: float
    windows: int


class Quantisation(_Part):
    """How the integer forms came about; quantisation.json has all of it.

    `wide` names the operators with 16-bit values; `passed_by` the rung of the ladder that passed
    the gate, or None without validation windows.
    """

    method: str
    passed_by: str | None
    gate: Gate | None
    wide: tuple[str, ...] = ()
    fine_tuned: bool = False


class Memory(_Part):
    """Bytes of the C library: arena, arena with input and output, constant arrays."""

    arena_bytes: int
    ram_bytes: int
    weight_bytes: int
    stream_bytes: int = 0


class Manifest(_Part):
    """manifest.json; docs/artefact.md explains it, docs/artefact.schema.json is its schema.

    Attributes
    ----------
    files : every file but the manifest and its seal.
    source, targets : what was exported, and for which boards formats were chosen.
    left_out : format -> why it could not be made.
    signal, labels : the contract, and the class names.
    tensors, operators : of each model file.
    models : counts of "student" and, where known, "teacher".
    memory : of the C library; None without one.
    calibration, quantisation : None where nothing is quantised.
    golden : "test", "val", "train", or "noise" where there were no recordings.
    preprocessing : facts of the causal preprocessor; None without one.
    provenance, metrics : where it comes from, how good it is.
    """

    schema_version: Literal[2]
    name: str
    created: str
    files: dict[str, FileEntry]
    source: SourceEntry
    targets: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    signal: SignalSpec
    labels: tuple[str, ...]
    tensors: dict[str, Tensors]
    operators: dict[str, tuple[str, ...]]
    models: dict[str, dict[str, Any]]
    memory: Memory | None = None
    calibration: Calibration | None = None
    quantisation: Quantisation | None = None
    golden: str = "test"
    preprocessing: dict[str, Any] | None = None
    provenance: dict[str, Any]
    metrics: dict[str, Any]


def json_schema() -> dict[str, Any]:
    """JSON schema of manifest.json, as docs/artefact.schema.json publishes it."""
    return Manifest.model_json_schema()


def files_of(folder: Path) -> dict[str, FileEntry]:
    """Every file below `folder` except the manifest and its seal, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in (MANIFEST, SEAL):
            found[name] = FileEntry(sha256=sha256(path), bytes=path.stat().st_size)
    return found


def write(manifest: Manifest, folder: Path) -> None:
    """Write the manifest, and its own checksum in the format of ``sha256sum -c``."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    (folder / SEAL).write_text(_seal(folder), encoding="utf-8")


def _seal(folder: Path) -> str:
    """What the seal must say of the manifest that stands in `folder`."""
    return f"{sha256(folder / MANIFEST)}  {MANIFEST}\n"


def load(folder: Path) -> Manifest:
    """Read a manifest and check the seal and every file against it.

    Raises
    ------
    InputError
        No artefact here, or the first file that is missing, changed or not listed: it is named.
    """
    again = "Export the artefact again, or restore the file."
    if not (folder / MANIFEST).is_file():
        raise InputError(
            "no artefact here", where=folder, value=f"no {MANIFEST}",
            todo="Give a folder that dlink-export wrote.",
        )  # fmt: skip
    _check_seal(folder)
    try:
        manifest = Manifest(**read_json(folder / MANIFEST, "manifest"))
    except (ValidationError, TypeError) as err:
        raise InputError(
            f"manifest is not of schema version {SCHEMA_VERSION}: {err}", where=folder / MANIFEST,
            todo=again,
        ) from None  # fmt: skip
    for name, entry in manifest.files.items():
        check_file(folder, name, entry.sha256)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    strange = sorted(present - set(manifest.files) - {MANIFEST, SEAL})
    if strange:
        raise InputError(
            "file is not in the manifest", where=folder / strange[0],
            todo="Remove it, or export the artefact again.",
        )  # fmt: skip
    return manifest


def _check_seal(folder: Path) -> None:
    try:
        seal = (folder / SEAL).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        seal = ""
    if seal != _seal(folder):
        raise InputError(
            f"{MANIFEST} and {SEAL} do not agree: one of them was changed", where=folder,
            todo="Export the artefact again, or restore both files.",
        )  # fmt: skip


def check_file(folder: Path, name: str, digest: str) -> None:
    """Refuse a file of the artefact that is missing, lies outside it, or has another checksum."""
    again = "Export the artefact again, or restore the file."
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            "manifest names a file outside the artefact", where=folder, value=name, todo=again
        )
    if not path.is_file():
        raise InputError("file of the artefact is missing", where=path, todo=again)
    found = sha256(path)
    if found != digest:
        raise InputError(
            "file differs from the manifest", where=path, value=f"sha256 {found[:12]}…",
            limit=f"{digest[:12]}…", todo=again,
        )  # fmt: skip
