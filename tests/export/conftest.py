"""Made once for the whole session: two converted students, one finished run, one artefact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import runs
from chains import Chain, build

from distill.run import run
from export.artefact import build as build_artefact
from export.options import Options
from export.sources import open_run


@pytest.fixture(autouse=True)
def no_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory) -> None:
    """Commands run by a test keep their steps where the test ends."""
    monkeypatch.setenv("DLINK_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Chain]:
    folder, built = tmp_path_factory.mktemp("chains"), {}

    def get(name: str) -> Chain:
        if name not in built:
            built[name] = build(name, folder)
        return built[name]

    return get


@pytest.fixture(scope="session", params=["student", "eegnet"])
def chain(request: pytest.FixtureRequest, chains: Callable[[str], Chain]) -> Chain:
    """Each student in turn."""
    return chains(request.param)


@pytest.fixture(scope="session")
def mic(chains: Callable[[str], Chain]) -> Chain:
    """The spatial-first student alone."""
    return chains("student")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run; do not write into it."""
    folder = tmp_path_factory.mktemp("runs")
    run(runs.recipe(folder), folder / "small")
    return folder / "small"


@pytest.fixture(scope="session")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact with its teacher; do not write into it."""
    out = tmp_path_factory.mktemp("artefacts") / "small"
    options = Options(with_teacher=True, n_calibration=48, n_golden=24)
    build_artefact(open_run(finished_run), out, options, lambda text: None)
    return out
