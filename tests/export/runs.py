"""A real finished run, as small as one can be that still learns."""

from __future__ import annotations

from pathlib import Path

RECIPE = """
name = "small"
seeds = [0, 1]

[data]
source = "simulate"

[data.simulate]
n_subjects = 6
n_trials = 24
trial_seconds = 2.0
difficulty = 0.5

[signal]
ch_names = ["C3", "Cz", "C4", "Fz", "P3", "P4"]
seconds = 2.0
band = [0.5, 45.0]

[split]
kind = "cross_subject"
train = ["S00-S03"]
val = ["S04"]
test = ["S05"]

[teacher]
name = "cbramod"
n_layers = 1
epochs = 2
lr = 1e-3

[student]
epochs = 8
lr = 2e-3
batch = 16
"""


def recipe(folder: Path) -> Path:
    """Write the recipe."""
    path = folder / "recipe.toml"
    path.write_text(RECIPE)
    return path
