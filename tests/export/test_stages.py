"""Replaying the golden vectors finds a model that is not the one that was exported."""

import shutil

import numpy as np
import pytest

from export.stages import replay
from export.tflite_runtime import find


def test_every_runtime_passes_on_an_exported_artefact(exported):
    rows = dict(replay(exported))
    assert set(rows) == {
        "student.fp32.onnx", "student.int8.onnx", "student.fp32.tflite", "student.int8.tflite",
        "teacher.fp32.onnx", "TFLite reference kernels", "TFLite optimised kernels",
        "TensorFlow Lite Micro", "C library on this machine", "student.dynamic.tflite",
        "student.int16x8.tflite", "int16x8, reference kernels", "int16x8, optimised kernels",
        *(["tflite-runtime"] if find() else []),
    }  # fmt: skip
    assert all(result.passed for result in rows.values())
    assert rows["C library on this machine"].parity.max_abs == 0
    assert rows["TensorFlow Lite Micro"].parity.max_abs == 0


@pytest.mark.parametrize(
    ("array", "failing"),
    [
        ("logits", "student.fp32.onnx"),
        ("teacher_logits", "teacher.fp32.onnx"),
        ("outputs_int8", "C library on this machine"),
    ],
)
def test_another_answer_fails_its_stage(exported, tmp_path, array, failing):
    folder = tmp_path / "a"
    shutil.copytree(exported, folder)
    with np.load(folder / "golden.npz") as arrays:
        content = dict(arrays)
    content[array] = content[array][::-1].copy()
    np.savez_compressed(folder / "golden.npz", **content)
    rows = dict(replay(folder))
    assert not rows[failing].passed
