"""Which windows calibrate, and the golden vectors that are replayed on every runtime and device."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from distill.windows import Windows
from targets.errors import InputError


class Golden(TypedDict, total=False):
    """Arrays of golden.npz.

    windows : float32 (n, n_chans, n_times), test subjects, under the signal contract.
    labels : int64 (n,), true classes.
    logits : float32 (n, n_outputs), the folded student in torch.
    teacher_logits : float32 (n, n_outputs), the teacher in torch; only with the teacher.
    inputs_int8, outputs_int8 : int8 (n, bytes), of the TFLite reference kernels.
    inputs_int16, outputs_int16 : int16 (n, values), of the int16x8 form likewise.
    """

    windows: NDArray[np.float32]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    teacher_logits: NDArray[np.float32]
    inputs_int8: NDArray[np.int8]
    outputs_int8: NDArray[np.int8]
    inputs_int16: NDArray[np.int16]
    outputs_int16: NDArray[np.int16]


def spread(windows: Windows, n: int) -> NDArray[np.int64]:
    """Indices of up to `n` windows that cover subjects and classes evenly, in order of time.

    Windows are dealt round-robin from the (subject, class) groups, evenly spaced within each.
    """
    _, subject = np.unique(windows.subject, return_inverse=True)
    labelled = np.flatnonzero(windows.y >= 0)
    key = subject[labelled] * windows.n_outputs + windows.y[labelled]
    order = np.argsort(key, kind="stable")
    groups = np.split(labelled[order], np.flatnonzero(np.diff(key[order])) + 1)
    share, extra = divmod(min(n, len(windows)), len(groups))
    chosen: list[int] = []
    for k, group in enumerate(groups):
        want = min(len(group), share + (k < extra))
        if want:
            chosen += group[np.linspace(0, len(group) - 1, want).round().astype(int)].tolist()
    return np.asarray(sorted(chosen), dtype=np.int64)


def load(folder: Path, *keys: str) -> Golden:
    """Read golden.npz of an artefact (no pickles): the arrays named, or all of them.

    Raises
    ------
    InputError
        File or array missing, or damaged.
    """
    path = folder / "golden.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = [key for key in keys if key not in arrays]
            if not missing:
                return cast(Golden, {key: arrays[key] for key in keys or arrays.files})
    except (OSError, ValueError) as err:
        raise InputError(f"golden vectors cannot be read: {err}", where=path) from None
    raise InputError(
        f"golden vectors lack {', '.join(missing)}", where=path,
        todo="Export the artefact again with dlink-export.",
    )  # fmt: skip
