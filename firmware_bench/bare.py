"""A bare .tflite file as the thing to bench: its C library is generated here, on the spot.

Without an artefact there are no golden vectors. The windows are made: first the one on which the
peer's recorded figures were taken, then a few seeded random ones; what they must give comes from
LiteRT's reference kernels, run here on the same bytes.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.c.choose import Preference
from export.c.generate import GeneratedLibrary, generate
from export.runtimes import TfliteModel
from firmware_bench.mcu import Subject
from firmware_bench.results import Measurement, figure
from firmware_bench.stream_m import Stream
from targets.budget import ANY_TARGET
from targets.errors import InputError
from targets.files import sha256

RANDOM_WINDOWS = 4
HOPS = 3  # windows of a stream that are compared and counted, the last ones
_SEED = 2026
_LIBRARY = "c"

Bytes = npt.NDArray[np.int8]


@dataclass(frozen=True)
class BareModel:
    """A .tflite file with its generated library, windows and reference outputs.

    Attributes
    ----------
    format : str
        "int8.tflite" or "int16x8.tflite", by the input tensor.
    constant_bytes : int
        Weights and biases as the file stores them: what any engine must hold.
    """

    path: Path
    sha256: str
    format: str
    library: GeneratedLibrary
    constant_bytes: int
    inputs: Bytes
    expected: Bytes
    stream: Stream | None = None

    @property
    def manifest(self) -> dict[str, Any]:
        """What results.json says of the model, in place of an artefact's manifest."""
        library = self.library
        return {
            "name": self.path.name.removesuffix(".tflite"),
            "sha256": self.sha256,
            "format": self.format,
            "macs": library.macs,
            "constant_bytes": self.constant_bytes,
            "weight_bytes": library.weight_bytes,
            "arena_lower_bound_bytes": library.arena_lower_bound_bytes,
            "operators": {self.path.name: list(library.operators)},
            **({"hop": library.hop} if library.hop is not None else {}),
        }

    def subject(self) -> Subject:
        """Return what a board runs."""
        facts = {"macs": self.library.macs, "constant_bytes": self.constant_bytes}
        return Subject(self.library.out_dir, self.inputs, self.expected, facts, stream=self.stream)

    def measurements(self) -> list[Measurement]:
        """Return the figures that need no run."""
        size = self.path.stat().st_size
        return [
            figure(ANY_TARGET, "student", "file_size", size, "measured", format=self.format),
            figure(
                ANY_TARGET, "student", "macs", self.library.macs, "measured",
                note="of convolutions and dense layers, padding included",
            ),
        ]  # fmt: skip


@contextlib.contextmanager
def opened(
    path: Path,
    keep: Path | None = None,
    hop: int | None = None,
    prefer: Preference = "balanced",
) -> Iterator[BareModel]:
    """Generate the library of the model at `path`; it lives as long as the context.

    Parameters
    ----------
    keep : Path, optional
        Folder that gets the library as ``c/`` and keeps it.
    hop : int, optional
        The library gets the streaming interface too, a window every `hop` samples.
    prefer : "speed", "balanced" or "memory"
        What the library is generated for.

    Raises
    ------
    InputError
        No such file, a model that is not quantised or has an operator without a C kernel, or one
        that cannot be streamed with this hop.
    """
    if not path.is_file():
        raise InputError("model file not found", where=path, todo="Check the path.")
    with tempfile.TemporaryDirectory(prefix="dlink-bare-") as temp:
        folder = Path(keep) if keep is not None else Path(temp)
        library = generate(path, folder / _LIBRARY, name=_c_name(path), hop=hop, prefer=prefer)
        reference = TfliteModel(path, reference=True)
        dtype = np.dtype(reference.interpreter.get_input_details()[0]["dtype"])
        inputs = windows(int(np.prod(reference.input_shape)) * dtype.itemsize)
        yield BareModel(
            path=path,
            sha256=sha256(path),
            format="int16x8.tflite" if dtype == np.int16 else "int8.tflite",
            library=library,
            constant_bytes=constant_bytes(path.read_bytes()),
            inputs=inputs,
            expected=reference_outputs(reference, inputs),
            stream=None if hop is None else _stream(library, reference, hop),
        )


def windows(input_bytes: int, count: int = RANDOM_WINDOWS) -> Bytes:
    """Return the windows of a bare model, int8 (1 + count, input_bytes), the peer's first."""
    random = np.random.default_rng(_SEED).integers(-128, 128, (count, input_bytes))
    return np.concatenate([peer_window(input_bytes)[None], random.astype(np.int8)])


def _stream(library: GeneratedLibrary, model: TfliteModel, hop: int) -> Stream:
    """Random samples until the first window is full and for a few hops more, a hop a push."""
    from export.c.stream_nodes import windows_of

    shape = library.input_shape
    times = library.stream_samples
    values = int(np.prod(shape)) // times
    count = -(-times // hop) + HOPS
    shape_of_all = (count * hop, values)
    samples: Bytes = np.random.default_rng(_SEED).integers(-128, 128, shape_of_all, dtype=np.int8)
    expected = reference_outputs(model, windows_of(samples, shape, times, hop)[-HOPS:])
    return Stream(library.out_dir, hop, library.stream_bytes, samples.reshape(count, -1), expected)


def peer_window(input_bytes: int) -> Bytes:
    """Return the window of the peer's recorded counts: the high bytes of a linear congruence.

    s = 1664525 s + 1013904223 (mod 2^32) from s = 12345 on; each byte is s >> 24 after a step.
    """
    state, found = 12345, bytearray(input_bytes)
    for index in range(input_bytes):
        state = (state * 1664525 + 1013904223) & 0xFFFF_FFFF
        found[index] = state >> 24
    return np.frombuffer(bytes(found), np.int8)


def reference_outputs(model: TfliteModel, inputs: Bytes) -> Bytes:
    """Run `model` on raw input bytes (N, input_bytes); returns raw output bytes (N, ...), int8."""
    interpreter = model.interpreter
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = []
    for row in inputs:
        interpreter.set_tensor(entry["index"], row.view(entry["dtype"]).reshape(model.input_shape))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out["index"]).reshape(-1).view(np.int8))
    return np.stack(rows)


def constant_bytes(content: bytes) -> int:
    """Bytes of the constant tensors (weights, biases) of a .tflite file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    used = {graph.Tensors(i).Buffer() for i in range(graph.TensorsLength())}
    return sum(int(model.Buffers(index).DataLength()) for index in used)


def _c_name(path: Path) -> str:
    """Name of the model in the C header: the file's, without what cannot stand there."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.name.removesuffix(".tflite"))
    return name if re.match(r"[A-Za-z0-9]", name) else f"m{name}"
