"""Arms and jobs: which students a run trains, with what method, on how many labelled windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distill.methods.none import LabelsConfig
from distill.recipe.recipe import Recipe
from distill.recipe.student import StudentTable

PLAIN = ("distilled", "matched")


@dataclass(frozen=True)
class Arm:
    """One way to train a student.

    Attributes
    ----------
    student, method : its tables of the recipe.
    unlabelled : whether it also learns from training windows whose label is withheld.
    """

    name: str
    student: StudentTable
    method: Any
    unlabelled: bool = False


@dataclass(frozen=True)
class Job:
    """One student to train: an arm, a seed, and how many labelled windows (None: as [split])."""

    arm: str
    seed: int
    labelled: int | None = None


def arms_of(recipe: Recipe, comparison: bool) -> dict[str, Arm]:
    """The arms of a plain run (distilled and matched), or of the recipe's [compare]."""
    if comparison:
        assert recipe.compare is not None
        return {
            arm.name: Arm(
                arm.name, recipe.student.replaced(arm.student), arm.method, arm.unlabelled
            )
            for arm in recipe.compare.arms
        }
    return {
        "distilled": Arm(
            "distilled", recipe.student, recipe.method, recipe.split.unlabelled == "distill"
        ),
        "matched": Arm("matched", recipe.student, LabelsConfig()),
    }


def jobs(recipe: Recipe) -> list[Job]:
    """Every job of the recipe's [compare], seed by seed so that early results are whole rows."""
    assert recipe.compare is not None
    counts: tuple[int | None, ...] = recipe.compare.labelled or (None,)
    return [
        Job(arm.name, seed, count)
        for seed in recipe.seeds
        for count in counts
        for arm in recipe.compare.arms
        if not arm.labelled or count in arm.labelled
    ]
