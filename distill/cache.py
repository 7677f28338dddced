"""Teacher outputs, computed once and read from disk (memory-mapped).

The key is (teacher weights, windows with their contract): any change of either is another entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from distill.batches import batches
from distill.checkpoints import state_hash
from distill.teachers import BraindecodeTeacher
from distill.windows import Windows
from targets.files import atomic_path


@dataclass(frozen=True)
class TeacherOutputs:
    """logits (n, n_outputs); hidden (n, layers, n_chans, n_patches, d); float32, memory-mapped."""

    logits: NDArray[np.float32]
    hidden: NDArray[np.float32]


def teacher_outputs(
    teacher: BraindecodeTeacher, windows: Windows, folder: Path, *, batch: int = 64
) -> TeacherOutputs:
    """Outputs of a frozen teacher on all windows, from `folder` if they are there.

    Parameters
    ----------
    folder : where entries live, one subfolder a key; written atomically.
    batch : windows per forward pass.
    """
    entry = folder / f"{state_hash(teacher)}-{windows.hash}"
    if not entry.exists():
        _write(teacher, windows, entry, batch)
    return TeacherOutputs(
        np.load(entry / "logits.npy", mmap_mode="r", allow_pickle=False),
        np.load(entry / "hidden.npy", mmap_mode="r", allow_pickle=False),
    )


def _write(teacher: BraindecodeTeacher, windows: Windows, entry: Path, batch: int) -> None:
    teacher.eval()
    lay, n = teacher.layout, len(windows)
    shape = (n, len(teacher.layers), lay.n_chans, lay.n_patches, lay.d)
    with atomic_path(entry) as part, torch.no_grad():
        part.mkdir()
        hidden = np.lib.format.open_memmap(
            part / "hidden.npy", mode="w+", dtype=np.float32, shape=shape
        )
        logits, start = [], 0
        for x in batches(windows.x, batch):
            out, states = teacher.hidden(x)
            hidden[start : start + len(x)] = states.numpy()
            logits.append(out.numpy())
            start += len(x)
        hidden.flush()
        np.save(part / "logits.npy", np.concatenate(logits))
