"""The generated library on this machine: compiled by the host's C compiler, called by ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets.errors import InputError

# The sizes live in the header as macros: let the compiler read them.
_SHIM = """
#include "model.h"
const size_t dlink_host_input_bytes = DLINK_MODEL_INPUT_BYTES;
const size_t dlink_host_output_bytes = DLINK_MODEL_OUTPUT_BYTES;
const size_t dlink_host_outputs = DLINK_MODEL_N_OUTPUTS;
const size_t dlink_host_arena_bytes = DLINK_MODEL_ARENA_BYTES;
const size_t dlink_host_arena_align = DLINK_MODEL_ARENA_ALIGN;
const char dlink_host_name[] = DLINK_MODEL_NAME;
const char dlink_host_hash[] = DLINK_MODEL_HASH;
#ifdef DLINK_MODEL_HOP
const size_t dlink_host_hop = DLINK_MODEL_HOP;
const size_t dlink_host_sample_bytes = DLINK_MODEL_SAMPLE_BYTES;
const size_t dlink_host_stream_bytes = DLINK_MODEL_STREAM_BYTES;
#endif
"""
DEFAULT_FLAGS = ("-std=c99", "-O2")


class HostModel:
    """A generated library, ready to run here.

    Parameters
    ----------
    c_dir : Path
        Folder that :func:`export.c.generate.generate` wrote.
    flags : sequence of str
        Compiler flags; the compiler is ``$CC`` or ``cc``.

    Raises
    ------
    InputError
        If there is no compiler or the folder does not compile.
    """

    def __init__(self, c_dir: Path, flags: Sequence[str] = DEFAULT_FLAGS) -> None:
        c_dir = Path(c_dir)
        if not (c_dir / "model.c").is_file():
            raise InputError(
                "no generated library here (model.c is missing)",
                where=c_dir,
                todo="Give the folder c/ of an artefact.",
            )
        with tempfile.TemporaryDirectory(prefix="dlink-host-") as temp:
            self._library = ctypes.CDLL(str(compile_library(c_dir, Path(temp), flags, _SHIM)))
        self.input_bytes = self._size("input_bytes")
        self.output_bytes = self._size("output_bytes")
        self.arena_bytes = self._size("arena_bytes")
        self.arena_align = self._size("arena_align")
        self.dtype = np.dtype(f"int{8 * self.output_bytes // self._size('outputs')}")
        self.name = self._text("name")
        self.hash = self._text("hash")
        self._arena = np.zeros(self.arena_bytes + self.arena_align, np.int8)
        self._invoke = self._library.dlink_model_invoke
        pointer = ctypes.c_void_p
        self._invoke.argtypes = [pointer, pointer, pointer, ctypes.c_size_t]
        self._invoke.restype = ctypes.c_int

    def _size(self, name: str) -> int:
        return int(ctypes.c_size_t.in_dll(self._library, f"dlink_host_{name}").value)

    def _text(self, name: str) -> str:
        address = ctypes.addressof(ctypes.c_char.in_dll(self._library, f"dlink_host_{name}"))
        return ctypes.string_at(address).decode("ascii")

    def invoke(self, source: int, target: int, arena: int, arena_bytes: int) -> int:
        """The C function itself: addresses (0 is NULL) in, status code out."""
        return int(self._invoke(source, target, arena, arena_bytes))

    def run(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Outputs (N, values) of inputs (N, values), both of the model's `dtype`."""
        size = self.dtype.itemsize
        wanted = self.input_bytes // size
        if inputs.dtype != self.dtype or inputs.ndim != 2 or inputs.shape[1] != wanted:
            raise InputError(
                "inputs do not fit the model",
                where=self.name,
                value=f"{inputs.dtype} {inputs.shape}",
                limit=f"{self.dtype} (N, {wanted})",
            )
        rows = np.ascontiguousarray(inputs)
        outputs = np.zeros((len(rows), self.output_bytes // size), self.dtype)
        arena = self._arena.ctypes.data
        arena += -arena % self.arena_align
        for row, output in zip(rows, outputs, strict=True):
            status = self.invoke(row.ctypes.data, output.ctypes.data, arena, self.arena_bytes)
            if status != 0:
                raise RuntimeError(f"dlink_model_invoke returned {status}")
        return outputs


class StreamModel(HostModel):
    """A generated library with the streaming interface."""

    def __init__(self, c_dir: Path, flags: Sequence[str] = DEFAULT_FLAGS) -> None:
        super().__init__(c_dir, flags)
        if not hasattr(self._library, "dlink_model_push"):
            raise InputError(
                "library has no streaming interface",
                where=c_dir,
                todo="Generate it with a hop.",
            )
        self.hop = self._size("hop")
        self.sample_bytes = self._size("sample_bytes")
        self.stream_bytes = self._size("stream_bytes")
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._start = self._library.dlink_model_stream_start
        self._start.argtypes = [pointer, size]
        self._push = self._library.dlink_model_push
        self._push.argtypes = [pointer, size, pointer, ctypes.c_int32, pointer, pointer]
        self.block = np.zeros(-(-self.stream_bytes // 4), np.int32)

    def start(self) -> None:
        """Forget all samples."""
        self._check(self._start(self.block.ctypes.data, self.stream_bytes))

    def push(self, samples: NDArray[np.int8]) -> NDArray[np.int8] | None:
        """Samples (count, values of one), at most a hop; the output if a window ended."""
        rows = np.ascontiguousarray(samples, np.int8)
        output, made = np.zeros(self.output_bytes, np.int8), ctypes.c_int32(-1)
        self._check(
            self.push_raw(
                self.block.ctypes.data,
                self.stream_bytes,
                rows.ctypes.data,
                len(rows),
                output.ctypes.data,
                ctypes.addressof(made),
            )
        )
        return output if made.value else None

    def push_raw(
        self, stream: int, size: int, samples: int, count: int, output: int, made: int
    ) -> int:
        """The C function itself: addresses (0 is NULL) in, status code out."""
        return int(self._push(stream, size, samples, count, output, made))

    def stream(self, samples: NDArray[np.int8], chunk: int) -> NDArray[np.int8]:
        """Outputs (windows, values) of a new stream of samples, pushed `chunk` at a time."""
        self.start()
        parts = (samples[i : i + chunk] for i in range(0, len(samples), chunk))
        outputs = [output for part in parts if (output := self.push(part)) is not None]
        return np.stack(outputs) if outputs else np.zeros((0, self.output_bytes), np.int8)

    @staticmethod
    def _check(status: int) -> None:
        if status != 0:
            raise RuntimeError(f"the streaming interface returned {status}")


def find_compiler() -> str | None:
    """Path of ``$CC`` or ``cc``; None where there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def compile_library(c_dir: Path, temp: Path, flags: Sequence[str], more: str) -> Path:
    """All C files of a folder but main.c, and the C text `more`, as a shared library in `temp`.

    Raises
    ------
    InputError
        No compiler, or the folder does not compile.
    """
    compiler = find_compiler()
    if compiler is None:
        raise InputError(
            "no C compiler found",
            where=os.environ.get("CC", "cc"),
            todo="Install one (apt-get install gcc) or name it in CC.",
        )
    shim, library = temp / "shim.c", temp / "model.so"
    shim.write_text(more, encoding="ascii")
    sources = [str(path) for path in sorted(c_dir.glob("*.c")) if path.name != "main.c"]
    command = [compiler, *flags, "-shared", "-fPIC", f"-I{c_dir}", *sources, str(shim)]
    done = subprocess.run(
        [*command, "-o", str(library)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr)
        raise InputError(
            f"generated library does not compile: {first.strip()}",
            where=c_dir,
            todo="Generate it again.",
        )
    return library
