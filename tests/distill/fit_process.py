"""A training process for the tests of resuming: cache, then a distillation, killed on request."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path
from typing import Any

import planted
import torch

from distill.cache import teacher_outputs
from distill.methods.dlink import DLink
from distill.mic import MiC, MiCConfig
from distill.training import FitOptions, StudentTask, WindowSet, fit, history

OPTIONS = FitOptions(epochs=5, batch=8, lr=1e-2, weight_decay=1e-2, seed=3, epoch_windows=40)


def train(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, list[float]]]:
    """Fill the cache, distil; weights of the best epoch and the log."""
    data, val = planted.windows(32), planted.windows(24, seed=1)
    teacher = planted.teacher()
    outputs = teacher_outputs(teacher, data, folder / "cache")
    torch.manual_seed(0)
    sizes = MiCConfig(spatial=8, width=8, compress=8, dropout=0.25)
    student = MiC(4, 64, 3, patch=planted.D, d=planted.D, config=sizes)
    method = DLink(2, teacher.layout, 3, student.mimic_chans)
    task = StudentTask(student, method, 3, OPTIONS)
    fit(task, WindowSet(data, outputs), WindowSet(val), folder / "fit", name="test")
    return task.state_dict(), history(folder / "fit")


def die_at(moment: str, n: int) -> None:
    """Let this process be killed, as by kill -9, at the n-th time that a moment comes.

    "cache": a window of the teacher; "step": a training step; "save": half of a checkpoint is on
    disk; "saved": it stands under its name.
    """
    left = [n]

    def count() -> bool:
        left[0] -= 1
        return left[0] == 0

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def dying(call: Any) -> Any:
        def wrapped(*args: Any, **more: Any) -> Any:
            if count():
                die()
            return call(*args, **more)

        return wrapped

    save = torch.save

    def half(state: Any, path: Path) -> None:
        last = count()
        if last and moment == "save":
            whole = io.BytesIO()
            save(state, whole)
            path.write_bytes(whole.getvalue()[: whole.tell() // 2])
            die()
        save(state, path)
        if last:
            os.rename(path, path.parents[1] / path.name)  # what the writer does next
            die()

    if moment == "cache":
        planted.Planted.forward = dying(planted.Planted.forward)
    elif moment == "step":
        StudentTask.training_step = dying(StudentTask.training_step)
    else:
        torch.save = half


def main(folder: Path, moment: str | None = None, n: int = 0) -> None:
    """What the process does."""
    torch.set_num_threads(1)
    if moment is not None:
        die_at(moment, n)
    train(folder)
