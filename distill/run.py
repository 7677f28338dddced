"""One distillation run: windows, then for each seed a teacher, a distilled and a matched student.

Each seed is a whole replicate, so that the spread between seeds includes the teacher's. The run
folder is complete when run.json says so; before that every stage that finished is kept and a
`--resume` goes on after it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distill.batches import batches
from distill.cache import teacher_outputs
from distill.checkpoints import load_strict, read_state, save_weights, state_hash
from distill.counts import count
from distill.dataset import load_windows
from distill.methods.base import Method, Setting
from distill.methods.dlink import DLink
from distill.methods.none import Labels
from distill.methods.registry import build_method
from distill.metrics import agreement, by_subject, evaluate, mean_std, selection_metric
from distill.mic import MiC
from distill.provenance import git_commit, versions
from distill.recipe import Recipe, load_recipe
from distill.router import entropy
from distill.teachers import BraindecodeTeacher, architecture, build_teacher
from distill.training import FitOptions, StudentTask, TeacherTask, WindowSet, fit, history, predict
from distill.windows import Windows, split_windows
from targets.errors import InputError
from targets.files import atomic_path, check_writable, read_json, write_json, write_text

ARMS = ("teacher", "distilled", "matched")


@dataclass(frozen=True)
class Launch:
    """Where to run: devices > 1 is data-parallel."""

    devices: int = 1
    accelerator: str = "cpu"


def run(recipe_path: Path, out: Path, *, resume: bool = False, launch: Launch | None = None) -> Any:
    """Run a recipe into the folder `out`; return the content of its results.json.

    Raises
    ------
    InputError
        Bad recipe or data, unwritable output, an existing run without `resume`, a resumed run
        whose recipe has changed.
    """
    recipe = load_recipe(recipe_path)
    started = _check_folder(out, recipe, recipe_path, resume)
    if started and read_json(out / "run.json", "run")["status"] == "complete":
        return read_json(out / "results.json", "results")
    folder = out / "windows"
    windows = Windows.load(folder) if folder.exists() else load_windows(recipe)
    recipe.signal_spec().check(windows.signal, where=folder)
    splits = split_windows(windows, recipe.split.kind, recipe.split.groups())
    # What is wrong with checkpoint or sizes shows here: before the folder is there, and before
    # hours of training.
    make_teacher(recipe, splits["train"], recipe.seeds[0])
    make_student(recipe, splits["train"], recipe.seeds[0])
    if not started:
        _start_folder(out, recipe, recipe_path)
    if not folder.exists():
        windows.save(folder)
    for seed in recipe.seeds:
        run_seed(recipe, splits, out / f"seed_{seed}", seed, launch or Launch())
    results = summarise(recipe, splits, out)
    write_json(out / "results.json", results)
    state = read_json(out / "run.json", "run")
    write_json(out / "run.json", {**state, "status": "complete", "windows_hash": windows.hash})
    return results


def _check_folder(out: Path, recipe: Recipe, recipe_path: Path, resume: bool) -> bool:
    """Whether a run of this recipe stands in `out`, to be continued; refuse anything else there."""
    check_writable(out)
    state_path = out / "run.json"
    if state_path.exists():
        if not resume:
            raise InputError(
                "a run is already here", where=out,
                todo="Continue it with --resume, or choose another folder with -o.",
            )  # fmt: skip
        state = read_json(state_path, "run")
        if state.get("recipe_hash") != recipe.hash:
            raise InputError(
                "the recipe has changed since this run began", where=recipe_path,
                value=recipe.hash, limit=str(state.get("recipe_hash")),
                todo="Start another folder with -o; a run is of one recipe.",
            )  # fmt: skip
        for part in out.rglob(".*.part"):  # what a killed process was writing
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        return True
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            "output folder is not empty and holds no run" if out.is_dir() else
            "output is a file, not a folder", where=out, todo="Choose another folder with -o.",
        )  # fmt: skip
    return False


def _start_folder(out: Path, recipe: Recipe, recipe_path: Path) -> None:
    """Make the run folder, whole or not at all: what stands there can always be resumed."""
    state = {
        "status": "running",
        "recipe_hash": recipe.hash,
        "recipe": json.loads(recipe.model_dump_json()),
        "versions": versions(),
        "git": git_commit(),
    }
    with atomic_path(out) as part:
        part.mkdir()
        write_text(part / "recipe.toml", recipe_path.read_text(encoding="utf-8"))
        write_json(part / "run.json", state)


def make_student(recipe: Recipe, windows: Windows, seed: int) -> MiC:
    """A freshly initialised student; the same seed gives the same weights in every arm."""
    torch.manual_seed(seed)
    arch, signal = architecture(recipe.teacher.name), windows.signal
    return MiC(
        signal.n_chans, signal.n_times, windows.n_outputs, patch=arch.needs.patch, d=arch.d,
        config=recipe.student.sizes(),
    )  # fmt: skip


def make_teacher(recipe: Recipe, windows: Windows, seed: int) -> BraindecodeTeacher:
    """The recipe's teacher, with its checkpoint if it has one."""
    torch.manual_seed(seed)
    t = recipe.teacher
    return build_teacher(
        t.name, windows.signal, windows.n_outputs, n_layers=t.n_layers, dropout=t.dropout,
        checkpoint=t.checkpoint,
    )  # fmt: skip


def run_seed(
    recipe: Recipe, splits: dict[str, Windows], folder: Path, seed: int, launch: Launch
) -> None:
    """Teacher, distilled and matched student of one seed; finished stages are not repeated."""
    if (folder / "scores.json").exists():
        return
    train, val = splits["train"], splits["val"]
    t, s = recipe.teacher, recipe.student
    teacher = make_teacher(recipe, train, seed)
    if t.epochs:
        options = FitOptions(
            t.epochs, t.batch, t.lr, t.weight_decay, seed, t.head_lr, t.label_smoothing,
            launch.devices, launch.accelerator,
        )  # fmt: skip
        task = TeacherTask(teacher, train.n_outputs, options)
        fit(task, WindowSet(train), WindowSet(val), folder / "teacher",
            name=f"seed {seed} teacher")  # fmt: skip
    teacher.eval().requires_grad_(False)
    save_weights(teacher.model, folder / "teacher" / "weights.safetensors")
    options = FitOptions(s.epochs, s.batch, s.lr, s.weight_decay, seed, devices=launch.devices,
                         accelerator=launch.accelerator)  # fmt: skip
    networks: dict[str, torch.nn.Module] = {"teacher": teacher}
    outputs = teacher_outputs(teacher, train, folder / "cache")
    for arm in ("distilled", "matched"):
        student = make_student(recipe, train, seed)
        method: Method = Labels()
        if arm == "distilled":
            setting = Setting(student, teacher, train, outputs, train.signal.ch_names, seed)
            method = build_method(recipe.method, setting)
        task_s = StudentTask(student, method, train.n_outputs, options)
        data = WindowSet(train, outputs if method.needs_teacher else None)
        fit(task_s, data, WindowSet(val), folder / arm, name=f"seed {seed} {arm}")
        save_weights(student, folder / arm / "weights.safetensors")
        networks[arm] = student
        if isinstance(method, DLink):
            routing = _routing(method, teacher, val)
            write_json(folder / "router.json", routing)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    write_json(folder / "scores.json", _scores(networks, splits))


def _routing(method: DLink, teacher: BraindecodeTeacher, windows: Windows) -> dict[str, Any]:
    """Alpha per layer on validation windows: mean and spread between inputs, and the entropy."""
    method.eval()
    with torch.no_grad():
        alpha = torch.cat(
            [method.router(teacher.hidden(x)[1]).weights for x in batches(windows.x, 64)]
        )
    return {
        "mode": method.config.router,
        "layers": list(teacher.layers),
        "mean_weight": alpha.mean(0).tolist(),
        "std_weight": alpha.std(0).tolist(),
        "entropy": float(entropy(alpha)),
    }


def _scores(networks: dict[str, torch.nn.Module], splits: dict[str, Windows]) -> dict[str, Any]:
    """Metrics of every arm on validation and test, agreement with the teacher, per subject."""
    found: dict[str, Any] = {}
    for split in ("val", "test"):
        data = splits[split]
        logits: dict[str, NDArray[np.float32]] = {
            arm: predict(net, data.x) for arm, net in networks.items()
        }
        found[split] = {
            arm: {
                **evaluate(out, data.y),
                "teacher_agreement": agreement(out, logits["teacher"]),
                "by_subject": by_subject(out, data.y, data.subject),
            }
            for arm, out in logits.items()
        }
    return found


def summarise(recipe: Recipe, splits: dict[str, Windows], out: Path) -> dict[str, Any]:
    """Mean and std over seeds, counts, curves and routing of the best seed (by validation)."""
    scores = {seed: read_json(out / f"seed_{seed}" / "scores.json", "scores")
              for seed in recipe.seeds}  # fmt: skip
    metric = selection_metric(splits["train"].n_outputs)
    best = max(recipe.seeds, key=lambda seed: scores[seed]["val"]["distilled"][metric])
    names = [k for k in scores[best]["test"]["teacher"] if k != "by_subject"]
    arms = {
        arm: {
            **{n: mean_std([scores[s]["test"][arm][n] for s in recipe.seeds]) for n in names},
            "by_subject": {
                subject: mean_std([scores[s]["test"][arm]["by_subject"][subject]
                                   for s in recipe.seeds])
                for subject in scores[best]["test"][arm]["by_subject"]
            },
        }
        for arm in ARMS
    }  # fmt: skip
    folder = out / f"seed_{best}"
    teacher = load_trained_teacher(recipe, splits["train"], folder)
    return {
        "name": recipe.name,
        "labels": list(splits["train"].labels),
        "split": {k: {"subjects": list(v.subjects), "windows": len(v)} for k, v in splits.items()},
        "split_kind": recipe.split.kind,
        "seeds": list(recipe.seeds),
        "selected_seed": best,
        "selected_by": f"val_{metric} of the distilled student",
        "arms": arms,
        "models": _model_counts(recipe, teacher, splits["train"]),
        "teacher_hash": state_hash(teacher.model),
        "curves": {arm: history(folder / arm) for arm in ARMS},
        "router": read_json(folder / "router.json", "router"),
    }


def _model_counts(recipe: Recipe, teacher: BraindecodeTeacher, windows: Windows) -> dict[str, Any]:
    example = torch.from_numpy(np.array(windows.x[:1]))
    student = make_student(recipe, windows, 0).deploy()
    return {
        "teacher": {
            "name": f"{recipe.teacher.name} ({len(teacher.layers)} layers)",
            **count(teacher, example, "model.final_layer.").to_dict(),
        },
        "student": {"name": "MiC", **count(student, example, "readout.").to_dict()},
    }


def load_trained_teacher(recipe: Recipe, windows: Windows, folder: Path) -> BraindecodeTeacher:
    """The fine-tuned teacher of a seed folder."""
    t = recipe.teacher
    return build_teacher(
        t.name, windows.signal, windows.n_outputs, n_layers=t.n_layers,
        checkpoint=folder / "teacher" / "weights.safetensors",
    ).eval()  # fmt: skip


def load_trained_student(recipe: Recipe, windows: Windows, folder: Path, arm: str) -> MiC:
    """The trained student of a seed folder and arm ("distilled", "matched")."""
    student = make_student(recipe, windows, 0)
    path = folder / arm / "weights.safetensors"
    load_strict(student, read_state(path), where=path)
    return student.eval()
