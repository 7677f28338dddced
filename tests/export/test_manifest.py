"""One changed byte anywhere in an artefact is found, and the file is named."""

import json
import shutil
from pathlib import Path

import pytest

from export import manifest
from targets.errors import InputError


@pytest.fixture
def copy(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "a")
    return tmp_path / "a"


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_of_any_file_is_found_and_named(copy):
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        before = path.read_bytes()
        for at in (0, len(before) // 2, len(before) - 1):
            flip(path, at)
            with pytest.raises(InputError) as err:
                manifest.load(copy)
            assert path.name in str(err.value), str(err.value)
            path.write_bytes(before)
    manifest.load(copy)


def test_a_missing_and_a_foreign_file_are_named(copy):
    (copy / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.txt: file is not in the manifest"):
        manifest.load(copy)
    (copy / "notes.txt").unlink()
    (copy / "c" / "model.c").unlink()
    with pytest.raises(InputError, match=r"model\.c: file of the artefact is missing"):
        manifest.load(copy)


def test_a_manifest_cannot_name_a_file_outside(copy):
    content = json.loads((copy / "manifest.json").read_text())
    content["files"]["../outside"] = {"sha256": "0" * 64, "bytes": 1}
    manifest.write(manifest.Manifest(**content), copy)
    with pytest.raises(InputError, match="outside the artefact"):
        manifest.load(copy)


def test_another_schema_is_refused(copy):
    content = json.loads((copy / "manifest.json").read_text())
    text = json.dumps({**content, "schema_version": 9})
    (copy / "manifest.json").write_text(text)
    (copy / "manifest.sha256").write_text(
        f"{manifest.sha256(copy / 'manifest.json')}  manifest.json\n"
    )
    with pytest.raises(InputError, match="schema version 2"):
        manifest.load(copy)


def test_no_artefact_is_said_plainly(tmp_path):
    with pytest.raises(InputError, match="no artefact here"):
        manifest.load(tmp_path)


def test_the_published_schema_is_the_one_that_is_checked():
    path = Path(__file__).parents[2] / "docs" / "artefact.schema.json"
    assert json.loads(path.read_text()) == manifest.json_schema()
