"""The whole export on a real run: what is in the folder, and that nothing half-done is left."""

import json
import shutil

import numpy as np
import onnx
import pytest

from distill.windows import Windows
from export import artefact, manifest
from export.artefact import ParityFailureError, build
from export.options import Options
from export.parity import TOLERANCES, Tolerance
from export.runtimes import OnnxModel, TfliteModel
from export.sources import open_run
from targets.errors import InputError
from targets.files import DiskFullError

FILES = {
    "MODEL_CARD.md", "golden.npz", "labels.txt", "parity.json", "training.json",
    "student.fp32.onnx", "student.int8.onnx", "student.fp32.tflite", "student.int8.tflite",
    "student.dynamic.tflite", "student.int16x8.tflite", "teacher.fp32.onnx", "quantisation.json",
    "plots/confusion.png", "plots/sensitivity.png",
}  # fmt: skip
# What TensorFlow Lite Micro has and the student needs: no transpose, no pad, no lone activation.
OPERATORS = {"CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "ADD"}


def quiet(text):
    pass


def test_it_holds_every_file_and_lists_each_with_its_checksum(exported):
    found = manifest.load(exported)
    names = set(found.files)
    assert names >= FILES
    assert {"c/model.c", "c/model.h", "c/golden.h", "c/CMakeLists.txt", "c/main.c"} <= names
    assert (exported / "labels.txt").read_text() == "left_hand\nright_hand\n"


def test_the_graphs_are_what_a_device_can_run(exported):
    found = manifest.load(exported)
    for name in ("student.fp32.tflite", "student.int8.tflite"):
        assert set(found.operators[name]) <= OPERATORS
        assert found.tensors[name].inputs[0].shape == (1, 1, 400, 6)
    entry = found.tensors["student.int8.tflite"].inputs[0]
    assert (entry.dtype, entry.scale is not None, entry.zero_point is not None) == (
        "int8", True, True,
    )  # fmt: skip
    assert found.tensors["student.fp32.onnx"].inputs[0].shape == (1, 6, 400)
    onnx.checker.check_model(onnx.load(exported / "student.fp32.onnx"), full_check=True)
    assert "QuantizeLinear" in found.operators["student.int8.onnx"]


def test_int8_decides_as_torch_does_on_all_test_windows(exported, finished_run):
    windows = Windows.load(finished_run / "windows")
    test = windows.select(windows.subject == "S05")
    full = OnnxModel(exported / "student.fp32.onnx").run(test.x)
    int8 = TfliteModel(exported / "student.int8.tflite").run(test.x)
    assert np.mean(full.argmax(1) == int8.argmax(1)) >= 0.95
    formats = manifest.load(exported).metrics["formats"]
    assert formats["int8.tflite"]["top1_agreement"] >= 0.95
    assert abs(formats["fp32.tflite"]["accuracy_drop"]) < 1e-9


def test_scales_come_from_training_subjects_alone(exported, finished_run):
    calibration = manifest.load(exported).calibration
    assert calibration.test_subjects_excluded
    assert set(calibration.subjects) <= {"S00", "S01", "S02", "S03"}
    assert calibration.windows == 48


def test_provenance_says_teacher_recipe_and_versions(exported, finished_run):
    found = manifest.load(exported)
    state = json.loads((finished_run / "run.json").read_text())
    assert found.provenance["recipe_hash"] == state["recipe_hash"]
    assert found.provenance["windows_hash"] == Windows.load(finished_run / "windows").hash
    assert len(found.provenance["teacher_hash"]) == 16
    assert found.models["teacher"]["weights_int8_bytes"] > 300_000
    assert found.models["student"]["arena_int8_bytes"] < 32_768
    assert found.metrics["seeds"] == [0, 1]
    assert set(found.metrics["arms"]) == {"teacher", "distilled", "matched"}


def test_the_matched_student_can_be_exported_and_without_teacher(finished_run, tmp_path):
    options = Options(n_calibration=16, n_golden=8)
    found = build(open_run(finished_run, "matched"), tmp_path / "a", options, quiet)
    assert "teacher.fp32.onnx" not in found.files
    assert found.models["student"]["arm"] == "matched"


def test_a_missed_tolerance_leaves_nothing_behind(finished_run, tmp_path, monkeypatch):
    strict = Tolerance("no int8 model is exact", max_abs=0.0)
    for stage in ("tflite.int8", "int8.finetuned"):  # whichever the ladder ended with
        monkeypatch.setitem(TOLERANCES, stage, strict)
    with pytest.raises(ParityFailureError, match=r"student\.int8\.tflite: max_abs .* <= 0"):
        build(open_run(finished_run), tmp_path / "a", Options(n_calibration=16, n_golden=8), quiet)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_previous_artefact(exported, finished_run, tmp_path, monkeypatch):
    out = tmp_path / "a"
    shutil.copytree(exported, out)

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artefact, "generate", fail)
    with pytest.raises(DiskFullError, match="disk is full"):
        build(open_run(finished_run), out, Options(n_calibration=16, n_golden=8), quiet)
    assert manifest.load(out).files == manifest.load(exported).files
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_unfinished_run_and_a_foreign_folder_are_refused(finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    state = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**state, "status": "running"}))
    with pytest.raises(InputError, match=r"the run is not finished.*--resume"):
        build(open_run(run), tmp_path / "a", Options(), quiet)
    with pytest.raises(InputError, match="no run here"):
        build(open_run(tmp_path / "nothing"), tmp_path / "a", Options(), quiet)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="holds no artefact"):
        build(open_run(finished_run), tmp_path / "mine", Options(), quiet)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "precious"
