"""One distillation run: windows, then for each seed a teacher, a distilled and a matched student.

Each seed is a whole replicate, so that the spread between seeds includes the teacher's (unless the
recipe trains one teacher for all). The run folder is complete when run.json says so; before that
every stage that finished is kept and a `--resume` goes on after it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.arms import PLAIN, Job, jobs
from distill.checkpoints import state_hash
from distill.counts import count
from distill.dataset import write_windows
from distill.folder import RunFolder, find_folder, open_folder, start_folder
from distill.metrics import mean_std, selection_metric
from distill.recipe import load_recipe
from distill.stages import (
    Launch,
    fit_student,
    fit_teacher,
    load_teacher,
    make_student,
    make_teacher,
    read_scores,
)
from distill.students import student_columns
from distill.training import history
from targets.errors import InputError
from targets.files import read_json, write_json

__all__ = ["ARMS", "Job", "Launch", "job_folder", "jobs", "prepare", "run", "run_job",
           "run_teacher", "teacher_folder"]  # fmt: skip

ARMS = ("teacher", *PLAIN)


def prepare(
    recipe_path: Path, out: Path, *, resume: bool = False, comparison: bool = False
) -> RunFolder:
    """Check everything that can be checked before hours of training, and make the run folder.

    Raises
    ------
    InputError
        Bad recipe or data, unwritable output, an existing run without `resume`, a resumed run
        whose recipe has changed, a checkpoint or sizes that do not fit.
    """
    recipe = load_recipe(recipe_path)
    if comparison and recipe.compare is None:
        raise InputError(
            "recipe has no [compare] table", where=recipe_path,
            todo="Add [compare] with [[compare.arms]]: docs/comparing.md shows one.",
        )  # fmt: skip
    recipe.signal_spec()
    found = find_folder(out, recipe, recipe_path, resume=resume, comparison=comparison)
    run = found or start_folder(out, recipe, recipe_path, comparison=comparison)
    try:
        write_windows(recipe, out / "windows")
        make_teacher(recipe, run.splits["train"], recipe.seeds[0])
        for arm in run.arms.values():
            make_student(recipe, run.splits["train"], recipe.seeds[0], arm.student)
    except BaseException:
        if found is None:
            run.discard()  # a run that never began leaves nothing behind
        raise
    return run


def run(recipe_path: Path, out: Path, *, resume: bool = False, launch: Launch | None = None) -> Any:
    """Run a recipe into the folder `out`; return the content of its results.json.

    Raises
    ------
    InputError
        As :func:`prepare`.
    """
    if resume and (out / "run.json").exists():
        found = find_folder(out, load_recipe(recipe_path), recipe_path, resume=True,
                            comparison=False)  # fmt: skip
        if found is not None and found.complete:
            return read_json(out / "results.json", "results")
    here = prepare(recipe_path, out, resume=resume)
    for seed in here.recipe.seeds:
        fit_teacher(here, seed, launch)
        for arm in PLAIN:
            fit_student(here, Job(arm, seed), launch)
    results = summarise(here)
    write_json(out / "results.json", results)
    here.finish()
    return results


def teacher_folder(out: Path, seed: int) -> Path:
    """Folder of a seed's teacher in the run folder `out`."""
    return open_folder(out).teacher(seed)


def job_folder(out: Path, job: Job) -> Path:
    """Folder of a job in the run folder `out`."""
    return open_folder(out).job(job)


def run_teacher(out: Path, seed: int) -> None:
    """Train a seed's teacher in the run folder `out`, and cache what it makes of the windows."""
    from distill.cache import teacher_outputs

    here = open_folder(out)
    teacher = fit_teacher(here, seed)
    teacher_outputs(teacher, here.splits["train"], here.cache)


def run_job(out: Path, job: Job) -> None:
    """Train and score one student in the run folder `out`."""
    fit_student(open_folder(out), job)


def summarise(run: RunFolder) -> dict[str, Any]:
    """Mean and std over seeds, counts, curves and routing of the best seed (by validation)."""
    seeds, splits = run.recipe.seeds, run.splits
    folders = {
        seed: {"teacher": run.teacher(seed), **{arm: run.job(Job(arm, seed)) for arm in PLAIN}}
        for seed in seeds
    }
    scores = {s: {arm: read_scores(f) for arm, f in folders[s].items()} for s in seeds}
    metric = selection_metric(splits["train"].n_outputs)
    best = max(seeds, key=lambda seed: scores[seed]["distilled"]["val"][metric])
    test = {arm: [scores[s][arm]["test"] for s in seeds] for arm in ARMS}
    names = [k for k in test["teacher"][0] if k != "by_subject"]
    arms = {
        arm: {
            **{n: mean_std([entry[n] for entry in test[arm]]) for n in names},
            "by_subject": {
                subject: mean_std([entry["by_subject"][subject] for entry in test[arm]])
                for subject in test[arm][0]["by_subject"]
            },
        }
        for arm in ARMS
    }
    teacher = load_teacher(run, best)
    router = folders[best]["distilled"] / "router.json"
    return {
        "name": run.recipe.name,
        "labels": list(splits["train"].labels),
        "split": {k: {"subjects": list(v.subjects), "windows": len(v)} for k, v in splits.items()},
        "split_kind": run.recipe.split.kind,
        "seeds": list(seeds),
        "selected_seed": best,
        "selected_by": f"val_{metric} of the distilled student",
        "arms": arms,
        "models": _model_counts(run, teacher),
        "teacher_hash": state_hash(teacher.model),
        "curves": {arm: history(folder) for arm, folder in folders[best].items()},
        "router": read_json(router, "router") if router.exists() else None,
    }


def _model_counts(run: RunFolder, teacher: Any) -> dict[str, Any]:
    train = run.splits["train"]
    example = torch.from_numpy(np.array(train.x[:1]))
    student = make_student(run.recipe, train, 0).deploy()
    columns = student_columns(run.recipe.student, train.signal)
    return {
        "teacher": {
            "name": f"{run.recipe.teacher.name} ({len(teacher.layers)} layers)",
            **count(teacher, example, f"model.{teacher.head_prefix}").to_dict(),
        },
        "student": {
            "name": run.recipe.student.label,
            **count(student, example[:, columns], "readout.").to_dict(),
        },
    }
