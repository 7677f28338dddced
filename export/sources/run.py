"""A run folder as the input of an export: the selected seed's student, its windows, its teacher."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distill.arms import Job
from distill.folder import RunFolder, open_folder
from distill.recipe import SimulatedData
from distill.recipe.student import StudentTable
from distill.stages import load_student, load_teacher
from distill.students import student_columns, student_signal
from distill.training import predict
from distill.windows import Windows
from export.sources.base import Source
from targets.errors import InputError
from targets.files import read_json, sha256


def open_run(folder: Path, arm: str = "distilled") -> Source:
    """The student that a finished run selected, MiC or a baseline.

    Parameters
    ----------
    folder : as dlink-distill wrote it.
    arm : "distilled", or "matched" for the student that was trained without the teacher.

    Returns
    -------
    Source
        `facts` holds "results" (results.json), "selected_seed", "arm", "recipe_name",
        "simulated" (whether the recordings were), and "weights": path below the run folder, and
        SHA-256 of the file.

    Raises
    ------
    InputError
        No run, one that was interrupted, a comparison, an unknown arm, damaged weights.
    """
    run = open_finished(folder)
    results = read_json(folder / "results.json", "results")
    job = Job(arm, int(results["selected_seed"]))
    table = run.arm(arm).student
    student = load_student(run, job).deploy()
    weights = run.job(job) / "weights.safetensors"
    checksum = sha256(weights)
    shape = hashlib.sha256(f"{checksum}{table.model_dump_json()}".encode())
    splits = {name: seen_by(table, part) for name, part in run.splits.items()}
    return Source(
        name=run.recipe.name,
        kind="run",
        what=f"{table.label} student of {folder.absolute().name}, {arm}, seed {job.seed}",
        signal=splits["train"].signal,
        labels=splits["train"].labels,
        splits=splits,
        student=student,
        proto=None,
        weights_hash=shape.hexdigest(),
        make_teacher=None if table.ch_names else lambda: load_teacher(run, job.seed),
        no_teacher=_other_electrodes(table),
        soft_targets=lambda: predict(load_teacher(run, job.seed), run.splits["train"].x, batch=16),
        facts={
            "results": results,
            "selected_seed": job.seed,
            "arm": arm,
            "recipe_name": run.recipe.name,
            "simulated": isinstance(run.recipe.data, SimulatedData),
            "weights": {"file": weights.relative_to(folder).as_posix(), "sha256": checksum},
        },
        provenance=provenance(run, results),
    )


def open_finished(folder: Path) -> RunFolder:
    """A run folder that dlink-distill finished and that holds one student a seed and arm.

    Raises
    ------
    InputError
        No run, an interrupted run, or a comparison.
    """
    run = open_folder(folder)
    if not run.complete:
        raise InputError(
            "the run is not finished", where=folder, value=run.state["status"],
            todo=f"Finish it: dlink-distill {folder / 'recipe.toml'} -o {folder} --resume",
        )  # fmt: skip
    if run.comparison:
        raise InputError(
            "this folder holds a comparison, whose students are many", where=folder,
            todo="Put the arm that won into [student] and [method] and run dlink-distill RECIPE.",
        )  # fmt: skip
    return run


def seen_by(student: StudentTable, windows: Windows) -> Windows:
    """Windows with the student's electrodes only, in its order; all of them if it names none."""
    if not student.ch_names:
        return windows
    columns = student_columns(student, windows.signal)
    signal = student_signal(student, windows.signal)
    return replace(windows, x=np.asarray(windows.x)[:, columns], signal=signal)


def provenance(run: RunFolder, results: Any) -> dict[str, Any]:
    """What the run was made of: recipe, hashes, versions."""
    state = run.state
    return {
        "recipe": state["recipe"],
        "recipe_hash": state["recipe_hash"],
        "windows_hash": state["windows_hash"],
        "teacher_hash": results["teacher_hash"],
        "distilled_with": {"versions": state["versions"], "git": state["git"]},
    }


def _other_electrodes(student: StudentTable) -> str:
    if not student.ch_names:
        return ""
    return "the teacher sees other electrodes than the student: one contract serves one set"
