"""One real artefact, built once for all tests that measure it."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def artefact_folder(tmp_path_factory):
    from artefacts import build

    return build(tmp_path_factory.mktemp("artefacts") / "eegmat", with_c=True)
