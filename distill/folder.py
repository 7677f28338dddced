"""The run folder: what stands where, and how it begins, goes on and ends.

recipe.toml, run.json     what was asked, versions, status
windows/                  all windows, memory-mapped
teacher/ or seed_K/teacher/            the fine-tuned teacher: once, or one a seed
seed_K/ARM/ or labelled_N/seed_K/ARM/  a student: weights, log, scores
cache/                    the teacher's outputs, while the run lasts
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.arms import Arm, Job, arms_of
from distill.provenance import git_commit, versions
from distill.recipe import Recipe, load_recipe
from distill.windows import Windows, split_windows
from targets.errors import InputError
from targets.files import atomic_path, check_writable, read_json, write_json, write_text


@dataclass(frozen=True)
class RunFolder:
    """An opened run folder."""

    path: Path
    recipe: Recipe
    comparison: bool = False

    @cached_property
    def windows(self) -> Windows:
        """All windows, on disk."""
        return Windows.load(self.path / "windows")

    @cached_property
    def splits(self) -> dict[str, Windows]:
        """train, val, test, and teacher where the recipe gives it subjects of its own."""
        split = self.recipe.split
        return split_windows(self.windows, split.kind, split.groups())

    @property
    def arms(self) -> dict[str, Arm]:
        """Arms by name."""
        return arms_of(self.recipe, self.comparison)

    def arm(self, name: str) -> Arm:
        """The arm of a name, or an error that lists the names."""
        if name not in self.arms:
            raise InputError(
                "this run has no such arm", where=self.path, value=name,
                limit=", ".join(self.arms),
            )  # fmt: skip
        return self.arms[name]

    def teacher(self, seed: int) -> Path:
        """Folder of the teacher that a seed's students learn from."""
        once = self.recipe.teacher.once
        return self.path / "teacher" if once else self.path / f"seed_{seed}" / "teacher"

    def job(self, job: Job) -> Path:
        """Folder of one student."""
        top = self.path if job.labelled is None else self.path / f"labelled_{job.labelled}"
        return top / f"seed_{job.seed}" / job.arm

    @property
    def cache(self) -> Path:
        """Where teacher outputs lie while the run lasts."""
        return self.path / "cache"

    @property
    def state(self) -> dict[str, Any]:
        """Content of run.json."""
        return dict(read_json(self.path / "run.json", "run"))

    @property
    def complete(self) -> bool:
        """Whether all of it is done."""
        return bool(self.state["status"] == "complete")

    def discard(self) -> None:
        """Leave nothing behind of a run that cannot begin."""
        shutil.rmtree(self.path, ignore_errors=True)

    def finish(self) -> None:
        """Say that all is done, and drop the cache."""
        shutil.rmtree(self.cache, ignore_errors=True)
        state = {**self.state, "status": "complete", "windows_hash": self.windows.hash}
        write_json(self.path / "run.json", state)


def open_folder(path: Path) -> RunFolder:
    """Open a run folder as it stands.

    Raises
    ------
    InputError
        There is no run.
    """
    if not (path / "run.json").is_file():
        raise InputError(
            "no run here", where=path, value="no run.json",
            todo="Give a folder that dlink-distill wrote.",
        )  # fmt: skip
    state = read_json(path / "run.json", "run")
    return RunFolder(path, load_recipe(path / "recipe.toml"), state.get("kind") == "comparison")


def find_folder(
    path: Path, recipe: Recipe, recipe_path: Path, *, resume: bool, comparison: bool
) -> RunFolder | None:
    """The run of this recipe that stands in `path`, to be continued; None if nothing is there.

    Raises
    ------
    InputError
        Anything else is there: another run, a run without `resume`, foreign files.
    """
    check_writable(path)
    if not (path / "run.json").exists():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                "output folder is not empty and holds no run" if path.is_dir() else
                "output is a file, not a folder", where=path,
                todo="Choose another folder with -o.",
            )  # fmt: skip
        return None
    if not resume:
        raise InputError(
            "a run is already here", where=path,
            todo="Continue it with --resume, or choose another folder with -o.",
        )  # fmt: skip
    state = read_json(path / "run.json", "run")
    wanted = "comparison" if comparison else "run"
    if state.get("kind", "run") != wanted:
        raise InputError(
            f"this folder holds a {state.get('kind', 'run')}, not a {wanted}", where=path,
            todo="Choose another folder with -o.",
        )  # fmt: skip
    if state.get("recipe_hash") != recipe.hash:
        raise InputError(
            "the recipe has changed since this run began", where=recipe_path,
            value=recipe.hash, limit=str(state.get("recipe_hash")),
            todo="Start another folder with -o; a run is of one recipe.",
        )  # fmt: skip
    for part in path.rglob(".*.part"):  # what a killed process was writing
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    return RunFolder(path, recipe, comparison)


def start_folder(path: Path, recipe: Recipe, recipe_path: Path, *, comparison: bool) -> RunFolder:
    """Make the run folder, whole or not at all: what stands there can always be resumed."""
    state = {
        "status": "running",
        "kind": "comparison" if comparison else "run",
        "recipe_hash": recipe.hash,
        "recipe": json.loads(recipe.model_dump_json()),
        "versions": versions(),
        "git": git_commit(),
    }
    with atomic_path(path) as part:
        part.mkdir()
        write_text(part / "recipe.toml", recipe_path.read_text(encoding="utf-8"))
        write_json(part / "run.json", state)
    return RunFolder(path, recipe, comparison)
