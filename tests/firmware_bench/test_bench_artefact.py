"""The artefact is verified before anything is measured."""

import json
import shutil

import numpy as np
import pytest
from artefacts import N_CHANS, N_TIMES, WINDOWS, seal

from firmware_bench.artefact import load
from targets.errors import InputError


@pytest.fixture
def folder(tmp_path, artefact_folder):
    copy = tmp_path / "copy"
    shutil.copytree(artefact_folder, copy)
    return copy


def test_reads_models_facts_and_golden(folder):
    artefact = load(folder)
    keys = list(artefact.models())
    assert keys[0] == ("student", "fp32.onnx")
    assert keys[-1] == ("teacher", "fp32.onnx")
    assert artefact.facts("teacher")["params"] == 5_818_372
    assert artefact.golden("windows")["windows"].shape == (WINDOWS, N_CHANS, N_TIMES)
    assert artefact.training["router"]["entropy"] == 0.92


@pytest.mark.parametrize("name", ["student.fp32.onnx", "golden.npz", "training.json"])
def test_one_flipped_byte_is_found_and_named(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(InputError, match="differs from the manifest") as err:
        load(folder)
    assert name in str(err.value)


def test_a_truncated_and_a_missing_file_are_named(folder):
    path = folder / "teacher.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"teacher\.fp32\.onnx: file differs .* sha256"):
        load(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"teacher\.fp32\.onnx: file of the artefact is missing"):
        load(folder)


def test_a_manifest_cannot_point_outside(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"sha256": "0", "bytes": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="outside the artefact"):
        load(folder)


@pytest.mark.parametrize("text", ['{"schema_version": 9, "files": {}}', "[]", "{}"])
def test_a_foreign_manifest_is_refused(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match="not an artefact manifest of this version"):
        load(folder)


def test_no_folder_and_no_manifest(tmp_path):
    with pytest.raises(InputError, match="artefact folder not found"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="manifest file not found"):
        load(tmp_path)


def test_missing_golden_arrays_are_named(folder):
    np.savez(folder / "golden.npz", windows=np.zeros((1, 2, 3)))
    seal(folder)
    with pytest.raises(InputError, match="lack inputs_int8"):
        load(folder).golden("windows", "inputs_int8")
