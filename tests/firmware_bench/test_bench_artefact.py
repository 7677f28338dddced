"""The artefact is verified before anything is measured."""

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


def test_an_edited_manifest_and_a_broken_seal_are_refused(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("5818372", "581837"))
    with pytest.raises(InputError, match=r"manifest\.sha256 do not agree"):
        load(folder)
    (folder / "manifest.json").write_text(text)
    load(folder)
    (folder / "manifest.sha256").unlink()
    with pytest.raises(InputError, match="do not agree"):
        load(folder)


def test_a_file_that_nobody_listed_is_refused(folder):
    (folder / "c" / "extra.c").write_text("int main(void) { return 0; }\n")
    with pytest.raises(InputError, match=r"extra\.c: file is not in the manifest"):
        load(folder)


def test_no_folder_and_no_manifest(tmp_path):
    with pytest.raises(InputError, match="artefact folder not found"):
        load(tmp_path / "none")
    with pytest.raises(InputError, match="no artefact here"):
        load(tmp_path)


def test_missing_golden_arrays_are_named(folder):
    np.savez(folder / "golden.npz", windows=np.zeros((1, 2, 3)))
    seal(folder)
    with pytest.raises(InputError, match="lack inputs_int8"):
        load(folder).golden("windows", "inputs_int8")
