"""What the tests of distill share: tiny simulated windows, one finished run, the real data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import eeg_files
import pytest
import torch

from distill.dataset import load_windows
from distill.recipe import DATA_DEFAULT, DATA_VARIABLE, Recipe, load_recipe
from distill.run import run
from distill.windows import Windows, split_windows

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return eeg_files.recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="session")
def windows(tiny_recipe: Path) -> Windows:
    """32 windows of 2 s, 4 electrodes: 4 simulated subjects x 8 trials."""
    return load_windows(load_recipe(tiny_recipe))


@pytest.fixture(scope="session")
def splits(tiny_recipe: Path, windows: Windows) -> dict[str, Windows]:
    return split_windows(windows, "cross_subject", load_recipe(tiny_recipe).split.groups())


@dataclass(frozen=True)
class Finished:
    """A run that has ended: do not write into its folder."""

    recipe_path: Path
    recipe: Recipe
    folder: Path
    results: dict[str, Any]


@pytest.fixture(scope="session")
def finished(tiny_recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    results = run(tiny_recipe, folder)
    return Finished(tiny_recipe, load_recipe(tiny_recipe), folder, results)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    folder = Path(os.environ.get(DATA_VARIABLE, DATA_DEFAULT))
    if not folder.is_dir():
        pytest.skip("no data")
    return folder
