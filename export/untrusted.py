"""Model files that are not ours, opened so that no file can crash, fill memory or read elsewhere.

First the bytes are walked with every length checked, then every size, name and reference of the
model, in Python and without following any of them. Only then may a parser of C++ see the file, and
what runs it sees it first in a process of its own, with a limit on memory and time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from targets.errors import InputError
from targets.units import human

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Limits:
    """How large a file that is not ours may be, and what it may claim.

    Attributes
    ----------
    file_bytes : of the file; 2 GiB is protobuf's own limit.
    fields : protobuf fields, or nodes and tensors of a TFLite file: each costs memory when parsed.
    elements : of one tensor.
    nodes, axes, depth, name : nodes of a graph, axes of a tensor, graphs within graphs, and
        characters of a name.
    trial_bytes, trial_seconds : memory and time of the trial run.
    """

    file_bytes: int = (2 << 30) - 1
    fields: int = 1_000_000
    elements: int = 1 << 28
    nodes: int = 20_000
    axes: int = 8
    depth: int = 3
    name: int = 512
    trial_bytes: int = 16 << 30
    trial_seconds: float = 120.0


LIMITS = Limits()


def load_onnx(path: Path, limits: Limits = LIMITS, *, trial: bool = True) -> onnx.ModelProto:
    """An ONNX model from a file of unknown origin.

    Parameters
    ----------
    trial : also run it once, on zeros, in a process of its own: a second or two.

    Raises
    ------
    InputError
        Naming file, node or tensor, value, limit and remedy: no ONNX; data outside the file; sizes
        that are huge or disagree with the data; cycles and names made twice; operators that are
        not ONNX's own; whatever the checker or the runtime refuses, or does not survive.
    """
    from export.untrusted_onnx import check_model, parse

    data = read(path, limits, "ONNX file")
    proto = parse(data, path, limits)
    check_model(proto, path, limits)
    if trial:
        from export.untrusted_trial import try_model

        try_model("onnx", data, path, limits)
    return proto


def load_tflite(path: Path, limits: Limits = LIMITS, *, trial: bool = True) -> bytes:
    """The bytes of a TFLite model from a file of unknown origin, float or quantised.

    Raises
    ------
    InputError
        As :func:`load_onnx`: no TFLite; an offset, index or size that leads out of the file;
        tensors whose shape disagrees with their data; more than one graph; cycles; operators that
        are not TFLite's own; whatever the runtime refuses, or does not survive.
    """
    from export.untrusted_tflite import check_tflite

    data = read(path, limits, "TFLite file")
    check_tflite(data, path, limits)
    if trial:
        from export.untrusted_trial import try_model

        try_model("tflite", data, path, limits)
    return data


def check_models(folder: Path, limits: Limits = LIMITS) -> None:
    """Refuse an artefact, which may be anyone's, if one of its models is not what it should be.

    Checksums prove that nothing was changed since; not that its maker meant well. The bytes are
    read and checked; no runtime sees them here.
    """
    for path in sorted(folder.glob("*.onnx")):
        load_onnx(path, limits, trial=False)
    for path in sorted(folder.glob("*.tflite")):
        load_tflite(path, limits, trial=False)


def read(path: Path, limits: Limits = LIMITS, what: str = "file") -> bytes:
    """All bytes of a regular file that is neither empty nor beyond the limit."""
    try:
        if not path.is_file():
            raise InputError(
                "is no file" if path.exists() else f"{what} not found", where=path,
                todo="Check the path.",
            )  # fmt: skip
        with path.open("rb") as handle:
            # One byte more than allowed: a file may grow after it was measured.
            data = handle.read(min(path.stat().st_size, limits.file_bytes) + 1)
    except OSError as err:
        raise InputError(f"{what} cannot be read", where=path, value=err.strerror) from None
    if not data or len(data) > limits.file_bytes:
        raise InputError(
            f"{what} is {'too large' if data else 'empty'}", where=path,
            value=None if not data else f"over {human(limits.file_bytes, 'B')}",
            todo="Export the model again, in one file.",
        )  # fmt: skip
    return data
