"""Every model file of an artefact under the runtimes of a target, on this machine."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

sys.path.append(str(Path(__file__).parent / "c"))
from build import T, build, constant, options

from export import verify_runtimes
from export.runtimes import TfliteModel
from export.tflite_runtime import VARIABLE, find
from targets.errors import InputError
from targets.target import load

HOST = load("host")


@pytest.fixture
def folder(mic, tmp_path, monkeypatch):
    """A folder with the converted student, as an artefact has it; without tflite-runtime."""
    monkeypatch.setenv(VARIABLE, "")
    onnx.save(mic.proto, tmp_path / "student.fp32.onnx")
    onnx.save(mic.qdq, tmp_path / "student.int8.onnx")
    (tmp_path / "student.fp32.tflite").write_bytes(mic.fp32)
    (tmp_path / "student.int8.tflite").write_bytes(mic.int8)
    np.savez(tmp_path / "golden.npz", windows=mic.windows[:16], logits=mic.logits[:16])
    return tmp_path


def verdicts(folder, target=HOST):
    return dict(verify_runtimes.on_this_machine(folder, target))


def test_every_file_runs_under_the_runtime_that_reads_it(folder):
    found = verdicts(folder)
    assert [what.split(" ")[:2] for what in found] == [
        ["student.fp32.onnx,", "onnxruntime"],
        ["student.int8.onnx,", "onnxruntime"],
        ["student.fp32.tflite,", "litert"],
        ["student.int8.tflite,", "litert"],
    ]
    assert all(verdict.passed for verdict in found.values())
    assert [verdict.stage for verdict in found.values()] == [
        "onnx.fp32", "onnx.int8", "tflite.fp32", "int8.runtimes",
    ]  # fmt: skip


@pytest.mark.skipif(find() is None, reason="no .venv-tflite: run make setup")
def test_tflite_runtime_runs_in_its_own_environment(folder, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    found = verdicts(folder)
    (what,) = [w for w in found if w.startswith("student.int8.tflite, tflite-runtime 2.14.0")]
    assert found[what].passed
    assert max(map(abs, found[what].lsb)) <= 2


def test_a_boards_rows_say_that_this_machine_ran_them(folder):
    board = verdicts(folder, load("rpi4b"))
    assert all(what.endswith("(here, not on the board)") for what in board)
    assert all(what.endswith("(this machine)") for what in verdicts(folder))


def test_a_wrong_file_fails(folder, mic):
    np.savez(folder / "golden.npz", windows=mic.windows[:16], logits=mic.logits[16:32])
    found = {what.split(",")[0]: verdict for what, verdict in verdicts(folder).items()}
    assert not found["student.fp32.onnx"].passed
    assert not found["student.int8.onnx"].passed
    assert found["student.int8.tflite"].passed, "held to its own reference kernels"


def test_the_stage_of_the_export_is_kept(folder):
    rows = [
        {"what": "student.int8.onnx", "stage": "int8.finetuned"},
        {"what": "student.fp32.onnx", "stage": "no such stage"},
        "no row",
    ]
    (folder / "parity.json").write_text(json.dumps(rows))
    stages = {what.split(",")[0]: verdict.stage for what, verdict in verdicts(folder).items()}
    assert stages["student.int8.onnx"] == "int8.finetuned"
    assert stages["student.fp32.onnx"] == "onnx.fp32"


def test_a_teacher_needs_its_own_logits(folder, mic):
    onnx.save(mic.proto, folder / "teacher.fp32.onnx")
    assert not any(what.startswith("teacher") for what in verdicts(folder))
    arrays = {"windows": mic.windows[:4], "logits": mic.logits[:4]}
    np.savez(folder / "golden.npz", **arrays, teacher_logits=mic.logits[:4])
    (row,) = [v for what, v in verdicts(folder).items() if what.startswith("teacher.fp32.onnx")]
    assert (row.stage, row.passed) == ("teacher.fp32", True)


def test_what_cannot_run_here_is_an_error(folder, monkeypatch):
    with pytest.raises(InputError, match="this runtime cannot be run here"):
        verdicts(folder, HOST.model_copy(update={"runtimes": ("ncnn",)}))
    for path in folder.glob("student.*"):
        path.unlink()
    with pytest.raises(InputError, match="has no file that runs there"):
        verdicts(folder)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(verify_runtimes, "find", lambda: None)
    with pytest.raises(InputError, match="tflite-runtime is not installed, and the target has it"):
        verdicts(folder)


def test_int8_is_compared_in_raw_steps(folder, monkeypatch):
    honest = TfliteModel.run_raw

    def run_raw(self, inputs):
        raw = honest(self, inputs)
        reference = "REF" in str(self.resolver)
        return raw if reference else np.clip(raw.astype(int) + 3, -128, 127).astype(np.int8)

    made = TfliteModel.__init__

    def init(self, model, *, reference=False, keep_all=False):
        made(self, model, reference=reference, keep_all=keep_all)
        self.resolver = "REF" if reference else ""

    monkeypatch.setattr(TfliteModel, "__init__", init)
    monkeypatch.setattr(TfliteModel, "run_raw", run_raw)
    found = {what.split(",")[0]: verdict for what, verdict in verdicts(folder).items()}
    assert found["student.int8.tflite"].failed[0].startswith("max_abs")


def dense(scales):
    """Return an int8 dense layer of 8 values to 3, with these scales of its weights."""
    weights = constant(np.arange(24, dtype=np.int8).reshape(3, 8), scales)
    ends = T((1, 1, 4, 2), 0.5), T((1, 3), 4.0)
    return build("FULLY_CONNECTED", [ends[0], weights, None], ends[1], options("FullyConnected"))


def test_a_file_that_crashes_on_arm_alone_is_found(tmp_path, monkeypatch):
    assert verify_runtimes.crashes_on_arm(dense([0.1, 0.2, 0.3]))
    assert not verify_runtimes.crashes_on_arm(dense([0.1]))
    (tmp_path / "student.int8.tflite").write_bytes(dense([0.1, 0.2, 0.3]))
    np.savez(tmp_path / "golden.npz", windows=np.ones((2, 2, 4), np.float32), logits=np.eye(2, 3))
    only = {"runtimes": ("tflite-runtime",)}
    monkeypatch.setattr(verify_runtimes, "_tflite_runtime", verify_runtimes._litert)
    monkeypatch.setattr(verify_runtimes, "find", lambda: Path(sys.executable))
    assert all(v.passed for v in verdicts(tmp_path, HOST.model_copy(update=only)).values())
    with pytest.raises(InputError, match="crashes on Arm at an int8 dense layer"):
        verdicts(tmp_path, load("rpi4b").model_copy(update=only))
