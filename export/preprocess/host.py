"""The generated chain on this machine: compiled by the host's C compiler, called by ctypes."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.c.host import DEFAULT_FLAGS, compile_library
from targets.errors import InputError

_SHIM = """
#include "preprocess_model.h"
const size_t dlink_host_n_in = DLINK_PREPROCESS_N_IN;
const size_t dlink_host_n_chans = DLINK_PREPROCESS_N_CHANS;
const size_t dlink_host_up = DLINK_PREPROCESS_UP;
const size_t dlink_host_down = DLINK_PREPROCESS_DOWN;
const size_t dlink_host_float_state = sizeof(dlink_preprocess_float_state_t);
#ifdef DLINK_PREPROCESS_COUNTS_VALUES
const size_t dlink_host_counts_state = sizeof(dlink_preprocess_counts_state_t);
#endif
"""


class HostChain:
    """One form of a generated chain, with its state.

    Parameters
    ----------
    c_dir : folder that :func:`export.preprocess.generate.generate` wrote.
    form : "float" or "counts".

    Raises
    ------
    InputError
        No compiler, a folder that does not compile, or no such form in it.
    """

    def __init__(
        self, c_dir: Path, form: str = "float", flags: Sequence[str] = DEFAULT_FLAGS
    ) -> None:
        with tempfile.TemporaryDirectory(prefix="dlink-host-") as temp:
            path = compile_library(Path(c_dir), Path(temp), flags, _SHIM)
            self.library = ctypes.CDLL(str(path))
        if not hasattr(self.library, f"dlink_preprocess_{form}_start"):
            raise InputError("chain has no such form", where=c_dir, value=form)
        self.form = form
        self.dtype = np.dtype(np.float32 if form == "float" else np.int32)
        self.n_in_chans, self.n_chans = self._size("n_in"), self._size("n_chans")
        self.up, self.down = self._size("up"), self._size("down")
        self.state = np.zeros(-(-self._size(f"{form}_state") // 4), np.int32)
        self._push = getattr(self.library, f"dlink_preprocess_{form}_push")
        pointer, int32 = ctypes.c_void_p, ctypes.c_int32
        self._push.argtypes = [pointer, pointer, int32, pointer, int32, pointer]
        self.reset()

    def _size(self, name: str) -> int:
        return int(ctypes.c_size_t.in_dll(self.library, f"dlink_host_{name}").value)

    def reset(self) -> None:
        """Forget all samples."""
        start = getattr(self.library, f"dlink_preprocess_{self.form}_start")
        start.argtypes = [ctypes.c_void_p]
        if start(self.state.ctypes.data) != 0:
            raise RuntimeError("dlink_preprocess_start failed")

    def push_raw(self, *arguments: int) -> int:
        """The C function itself: addresses (0 is NULL) and counts in, status code out."""
        return int(self._push(*arguments))

    def push(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """Samples (n_in_chans, n) of the form's type -> (n_chans, m): model input, or signals."""
        rows = np.ascontiguousarray(chunk.T, self.dtype)
        room = -(-len(rows) * self.up // self.down)
        output, made = np.zeros((room, self.n_chans), self.dtype), ctypes.c_int32(-1)
        status = self.push_raw(
            self.state.ctypes.data, rows.ctypes.data, len(rows), output.ctypes.data, room,
            ctypes.addressof(made),
        )  # fmt: skip
        if status != 0:
            raise RuntimeError(f"dlink_preprocess_{self.form}_push returned {status}")
        return np.ascontiguousarray(output[: made.value].T)

    def convert(self, name: str, values: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """One of the conversions (``counts_to_float``, ``..._to_int8``) over an array."""
        function = getattr(self.library, f"dlink_preprocess_{name}")
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32]
        function.restype = None
        rows, output = np.ascontiguousarray(values, self.dtype), np.zeros(values.shape, dtype)
        function(rows.ctypes.data, output.ctypes.data, rows.size)
        return output
