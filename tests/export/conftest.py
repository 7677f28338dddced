"""Two students, converted once for the whole session: tracing costs most of these tests' time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from chains import Chain, build


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
