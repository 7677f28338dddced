"""The whole export of models that no run of dlink made, and what it reuses."""

import json

import numpy as np
import pytest
from made_sources import source_of, without

from export import manifest
from export.artefact import build
from export.options import Options
from export.runtimes import TfliteModel
from export.stages import replay
from export.store import Store
from targets.errors import InputError

SMALL = Options(n_calibration=64, n_golden=12)


@pytest.fixture
def source(mic):
    return source_of(mic.proto, mic.windows.shape[2])


def quiet(text):
    pass


def test_an_onnx_model_becomes_every_format(source, tmp_path):
    said = []
    found = build(source, tmp_path / "a", SMALL, said.append)
    assert found.source.kind == "onnx"
    assert found.left_out == {}
    assert {"student.int16x8.tflite", "c/model.c", "student.dynamic.tflite"} <= set(found.files)
    assert found.calibration.subjects == ("A", "B")
    assert found.calibration.test_subjects_excluded
    assert found.quantisation.passed_by == "int8"
    assert found.metrics["subjects"] == ["D", "E"]
    assert set(found.metrics["formats"]["int8.tflite"]["by_subject"]) == {"D", "E"}
    assert found.memory.ram_bytes > found.memory.arena_bytes
    assert all(result.passed for _, result in replay(tmp_path / "a"))
    assert manifest.load(tmp_path / "a") == found
    assert any("passed the gate by int8" in line for line in said)


def test_without_any_recordings_there_are_float_formats_and_noise(source, tmp_path):
    bare = without(source, "train", "val", "test")
    found = build(bare, tmp_path / "a", SMALL, quiet)
    assert found.golden == "noise"
    assert found.calibration is None
    assert found.quantisation is None
    assert found.metrics["formats"] == {}
    assert set(found.left_out) == {
        "int8.onnx", "int8.tflite", "int16x8.tflite", "c",
    }  # fmt: skip
    assert "student.dynamic.tflite" in found.files


def test_without_validation_windows_nothing_is_judged_and_it_says_so(source, tmp_path):
    found = build(without(source, "val"), tmp_path / "a", SMALL, quiet)
    assert found.quantisation.gate is None
    assert found.quantisation.passed_by is None
    assert json.loads((tmp_path / "a" / "quantisation.json").read_text())["rungs"] == []


def test_there_is_no_teacher_to_export(source, tmp_path):
    with pytest.raises(InputError, match="there is no teacher"):
        build(source, tmp_path / "a", Options(with_teacher=True), quiet)
    assert list(tmp_path.iterdir()) == []


def test_int16_keeps_a_window_that_int8_clips(source, tmp_path):
    """A blink three times as large as anything in the calibration set."""
    build(source, tmp_path / "a", SMALL, quiet)
    x = (
        3
        * np.abs(source.splits["train"].x).max()
        * np.ones((1, *source.splits["test"].x.shape[1:]))
    )
    wide, narrow = (
        TfliteModel(tmp_path / "a" / f"student.{name}.tflite").quantise_input(x)
        for name in ("int16x8", "int8")
    )
    assert narrow.max() == 127
    assert wide.max() < 32767


def test_a_second_export_redoes_only_what_depends_on_what_changed(source, tmp_path):
    folder = tmp_path / "steps"
    first = Store(folder)
    build(source, tmp_path / "a", SMALL, quiet, first)
    assert {"simplify", "observe", "ladder", "logits"} <= set(first.made)
    second = Store(folder)
    build(source, tmp_path / "b", Options(n_calibration=64, n_golden=12, hop=20), quiet, second)
    assert second.made == []
    assert (tmp_path / "b" / "c" / "dlink_stream.c").exists()
    third = Store(folder)
    build(source, tmp_path / "c", Options(n_calibration=48, n_golden=12), quiet, third)
    assert "simplify" in third.reused
    assert {"observe", "ladder"} <= set(third.made)


def test_reused_steps_give_the_same_bytes(source, tmp_path):
    one = build(source, tmp_path / "a", SMALL, quiet, Store(tmp_path / "steps"))
    two = build(source, tmp_path / "b", SMALL, quiet, Store(tmp_path / "steps"))
    other = build(source, tmp_path / "c", SMALL, quiet, Store(None))
    models = [name for name in one.files if name.endswith((".onnx", ".tflite", ".c", ".h"))]
    assert len(models) > 10
    for name in models:
        assert one.files[name] == two.files[name] == other.files[name], name
