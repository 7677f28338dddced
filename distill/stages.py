"""The stages of a run: a teacher, then students. Each is done once and resumes where it stopped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from distill.arms import Arm, Job
from distill.batches import batches
from distill.cache import teacher_outputs
from distill.checkpoints import load_strict, read_state, save_weights
from distill.folder import RunFolder
from distill.methods.base import Method, Setting
from distill.methods.dlink import DLink
from distill.methods.none import Labels
from distill.methods.registry import build_method
from distill.metrics import agreement, by_subject, evaluate
from distill.plots import plot_losses, plot_router
from distill.recipe import Recipe
from distill.recipe.student import StudentTable
from distill.router import entropy
from distill.students import build_student, student_columns
from distill.teachers import TappedTeacher, build, layout, needs
from distill.training import (
    UNLABELLED,
    FitOptions,
    StudentTask,
    TeacherTask,
    WindowSet,
    fit,
    history,
    predict,
)
from distill.windows import Windows, label_subset
from targets.errors import InputError
from targets.files import atomic_path, read_json, write_json

SCORED = ("val", "test")
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Launch:
    """Where to run: devices > 1 is data-parallel."""

    devices: int = 1
    accelerator: str = "cpu"


def make_teacher(recipe: Recipe, windows: Windows, seed: int) -> TappedTeacher:
    """The recipe's teacher, with its checkpoint if it has one."""
    torch.manual_seed(seed)
    return build(recipe.teacher, windows.signal, windows.n_outputs)


def make_student(
    recipe: Recipe, windows: Windows, seed: int, table: StudentTable | None = None
) -> Any:
    """A freshly initialised student; the same seed gives the same weights in every arm."""
    torch.manual_seed(seed)
    signal, n_outputs = windows.signal, windows.n_outputs
    return build_student(
        table or recipe.student, signal, n_outputs, patch=needs(recipe.teacher).patch,
        d=layout(recipe.teacher, signal, n_outputs).d,
    )  # fmt: skip


def fit_teacher(run: RunFolder, seed: int, launch: Launch | None = None) -> TappedTeacher:
    """The fine-tuned teacher of a seed, trained if it is not there yet; frozen, in eval mode."""
    recipe, folder, at = run.recipe, run.teacher(seed), launch or Launch()
    table = recipe.teacher
    first = recipe.seeds[0] if table.once else seed
    train = run.splits.get("teacher", run.splits["train"])
    if (folder / "scores.json").exists():
        return load_teacher(run, seed)
    teacher = make_teacher(recipe, train, first)
    if table.epochs:
        options = FitOptions(
            table.epochs, table.batch, table.lr, table.weight_decay, first, table.head_lr,
            table.label_smoothing, at.devices, at.accelerator,
        )  # fmt: skip
        task = TeacherTask(teacher, train.n_outputs, options)
        who = "teacher" if table.once else f"seed {seed} teacher"
        fit(task, WindowSet(train), WindowSet(run.splits["val"]), folder, name=who)
    teacher.eval().requires_grad_(False)
    save_weights(teacher.model, folder / "weights.safetensors")
    _write_scores(folder, teacher, run.splits, None, None)
    return teacher


def load_teacher(run: RunFolder, seed: int) -> TappedTeacher:
    """The fine-tuned teacher that stands in the run folder."""
    train = run.splits["train"]
    path = run.teacher(seed) / "weights.safetensors"
    teacher = build(run.recipe.teacher, train.signal, train.n_outputs, checkpoint=path)
    return teacher.eval().requires_grad_(False)


def load_student(run: RunFolder, job: Job) -> Any:
    """The trained student that stands in the run folder."""
    student = make_student(run.recipe, run.splits["train"], 0, run.arm(job.arm).student)
    path = run.job(job) / "weights.safetensors"
    load_strict(student, read_state(path), where=path)
    return student.eval()


def fit_student(run: RunFolder, job: Job, launch: Launch | None = None) -> None:
    """Train one student and score it; nothing is done where scores stand.

    Raises
    ------
    InputError
        No such arm, or its teacher is not trained yet.
    """
    arm, folder, at = run.arm(job.arm), run.job(job), launch or Launch()
    if (folder / "scores.json").exists():
        return
    if not (run.teacher(job.seed) / "scores.json").exists():
        raise InputError(
            "the teacher of this seed is not trained yet", where=run.teacher(job.seed),
            todo="Run the teacher's stage first.",
        )  # fmt: skip
    train, rows = _training_windows(run, arm, job)
    student = make_student(run.recipe, train, job.seed, arm.student)
    method, data = _method(run, arm, job, student, train, rows)
    columns = student_columns(arm.student, train.signal) if arm.student.ch_names else None
    s = arm.student
    options = FitOptions(
        s.epochs, s.batch, s.lr, s.weight_decay, job.seed, devices=at.devices,
        accelerator=at.accelerator, epoch_windows=s.epoch_windows,
    )  # fmt: skip
    task = StudentTask(student, method, train.n_outputs, options, columns)
    name = f"seed {job.seed} {arm.name}" + (f" {job.labelled}" if job.labelled else "")
    fit(task, data, WindowSet(run.splits["val"]), folder, name=name)
    save_weights(student, folder / "weights.safetensors")
    curves = history(folder)
    plot_losses(curves, folder / "losses.png")
    if isinstance(method, DLink):
        found = routing(run, method, job.seed)
        write_json(folder / "router.json", found)
        plot_router(curves, found["layers"], folder / "router.png")
    _write_scores(folder, student, run.splits, columns, run.teacher(job.seed))


def _training_windows(run: RunFolder, arm: Arm, job: Job) -> tuple[Windows, NDArray[np.int64]]:
    """What an arm learns from, and the rows of it in the training split.

    Withheld labels are those that the labelled count leaves out: an arm drops these windows or,
    with `unlabelled`, learns from the teacher's view of them.
    """
    train = run.splits["train"]
    count = job.labelled or run.recipe.split.labelled
    kept = np.ones(len(train), dtype=bool)
    if count is not None:
        kept = label_subset(train, count, job.seed)
    if not arm.unlabelled:
        return train.select(kept), np.flatnonzero(kept)
    return replace(train, y=np.where(kept, train.y, UNLABELLED)), np.arange(len(train))


def _method(
    run: RunFolder, arm: Arm, job: Job, student: Any, train: Windows, rows: NDArray[np.int64]
) -> tuple[Method, WindowSet]:
    """An arm's method, and the training windows with what it needs of the teacher."""
    if arm.method.name == "none":
        return Labels(), WindowSet(train)
    teacher = load_teacher(run, job.seed)
    whole = teacher_outputs(teacher, run.splits["train"], run.cache)
    outputs = whole.select(rows)
    names = arm.student.ch_names or train.signal.ch_names
    method = build_method(arm.method, Setting(student, teacher, train, outputs, names, job.seed))
    return method, WindowSet(train, outputs)


def routing(run: RunFolder, method: DLink, seed: int) -> dict[str, Any]:
    """Alpha per layer on validation windows: mean and spread between inputs, and the entropy."""
    teacher = load_teacher(run, seed)
    method.eval()
    with torch.no_grad():
        alpha = torch.cat(
            [method.router(teacher.hidden(x)[1]).weights for x in batches(run.splits["val"].x, 64)]
        )
    return {
        "mode": method.config.router,
        "layers": list(teacher.layers),
        "mean_weight": alpha.mean(0).tolist(),
        "std_weight": alpha.std(0).tolist(),
        "entropy": float(entropy(alpha)),
    }


def _write_scores(
    folder: Path, network: nn.Module, splits: dict[str, Windows], columns: list[int] | None,
    teacher: Path | None,
) -> None:  # fmt: skip
    """Metrics on validation and test, per subject, agreement with the teacher; and the logits."""
    found: dict[str, Any] = {}
    for split in SCORED:
        data = splits[split]
        out: Logits = predict(network, data.x, columns=columns)
        path = f"{split}_logits.npy"
        against = out if teacher is None else np.load(teacher / path, allow_pickle=False)
        found[split] = {
            **evaluate(out, data.y),
            "teacher_agreement": agreement(out, against),
            "by_subject": by_subject(out, data.y, data.subject),
        }
        with atomic_path(folder / path) as part, part.open("wb") as handle:
            np.save(handle, out)
    write_json(folder / "scores.json", found)


def read_scores(folder: Path) -> dict[str, Any]:
    """Scores of a teacher's or student's folder."""
    return dict(read_json(folder / "scores.json", "scores"))
