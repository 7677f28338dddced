"""The runner as a person starts it on the board: in a copied folder, by hand, for real."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from artefacts import TFLITE
from pi_rig import QUICK, artefact, crashing_runtime

import firmware_bench.device
from firmware_bench.device import bench as device_bench
from firmware_bench.device import board
from firmware_bench.device.child import Child
from firmware_bench.device.journal import Journal
from firmware_bench.pi import bundle
from firmware_bench.pi.bench import from_folder
from targets.errors import InputError
from targets.target import load

needs_reference = pytest.mark.skipif(not TFLITE.exists(), reason="skipped: no data")
DEVICE = Path(firmware_bench.device.__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("board")
    bundle.write(artefact(root / "artefact"), load("rpi5"), root / "work", QUICK)
    return root / "work"


def start(folder, *, path="", **extra):
    """Run the job as on a board: no dlink to import, another current folder."""
    environment = {**os.environ, "PYTHONPATH": str(path), "OMP_NUM_THREADS": "1", **extra}
    return subprocess.run(
        [sys.executable, str(folder / "run.py"), str(folder / "job.json")],
        env=environment, cwd="/", capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def units(folder):
    return json.loads((folder / "results.json").read_text())["units"]


@pytest.fixture(scope="module")
def done(folder):
    ran = start(folder)
    assert ran.returncode == 0, ran.stderr
    return units(folder)


def test_every_model_is_measured_alone_and_in_turn(done, folder):
    job = json.loads((folder / "job.json").read_text())
    entries = {key.partition(":")[2] for key in done if key.startswith("alone:")}
    assert {entry.partition("@")[0] for entry in entries} == {one["id"] for one in job["models"]}
    for turn in range(job["rounds"]):
        runs = done[f"round:1:{turn}"]["runs"]
        assert set(runs) == entries
        assert all(len(one["times_ns"]) == job["block"] for one in runs.values())
    assert {key for key in done if key.startswith("paced:")} == {f"paced:{e}" for e in entries}


def test_a_cold_start_is_told_in_stages_and_apart_from_the_first_inference(done):
    starts = done["alone:student.fp32.onnx@onnxruntime"]["starts"]
    assert len(starts) == QUICK.cold_starts
    for one in starts:
        assert one["start_ns"] > 1e6  # an interpreter does not start in less
        assert one["import_ns"] > one["load_ns"] > 0
        assert 0 < one["first_ns"] < one["import_ns"]
        assert len(one["pinned"]) == 1


def test_outputs_are_compared_with_the_golden_ones(done):
    golden = done["alone:teacher.fp32.onnx@onnxruntime"]["golden"]
    assert golden["agreement"] == 1.0
    assert golden["max_abs"] <= 1e-4 * golden["scale"]
    if "alone:student.int8.tflite@litert" in done:  # another net than the fp32 file: it differs
        assert done["alone:student.int8.tflite@litert"]["golden"]["max_abs"] > 1e-3


def test_the_memory_of_a_model_is_more_than_that_of_its_runtime(done):
    teacher = done["alone:teacher.fp32.onnx@onnxruntime"]["memory"]["peak_rss"]
    assert teacher > done["bare:onnxruntime"]["peak_rss"] + 1e6


def test_a_run_by_hand_is_taken_over_as_measurements(done, folder):
    run, found = from_folder(folder, load("rpi5"))
    medians = [m for m in found if m.metric == "latency_median"]
    assert {m.model for m in medians} == {"student", "teacher"}
    assert all(m.value and m.evidence == "measured" for m in medians)
    assert "wrong-board" in {fault.rule for fault in run.environment.faults}
    with pytest.raises(InputError, match="of another target"):
        from_folder(folder, load("rpi4b"))


def test_models_that_do_not_fit_in_memory_together_are_loaded_one_at_a_time(
    folder, tmp_path, monkeypatch
):
    job = json.loads((folder / "job.json").read_text()) | {"rounds": 2}
    real, most = board.state, [0]

    class Counted(Child):
        def __init__(self, request):
            super().__init__(request)
            most[0] = max(most[0], len(Child.living))

    monkeypatch.setattr(board, "state", lambda: real() | {"available_bytes": 1})
    monkeypatch.setattr(device_bench, "Child", Counted)
    bench = device_bench.Bench(job, folder, Journal(tmp_path / "journal", "digest"))
    bench.all()
    assert most[0] == 1
    assert set(bench.journal["round:1:1"]["runs"]) == set(bench._live())


def test_a_cut_loses_one_step_and_repeats_none(done, folder, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for entry in folder.rglob("*"):
        target = copy / entry.relative_to(folder)
        target.mkdir() if entry.is_dir() else target.write_bytes(entry.read_bytes())
    (copy / "results.json").unlink()
    lines = (copy / "journal.jsonl").read_text().splitlines(keepends=True)
    cut = next(k for k, line in enumerate(lines) if line.startswith('{"key":"round:1:3"'))
    (copy / "journal.jsonl").write_text("".join(lines[:cut]) + lines[cut][:40])
    again = start(copy)
    assert again.returncode == 0, again.stderr
    assert "going on where an earlier run stopped" in again.stdout
    found = units(copy)
    assert "start:1" in found
    for key in ("round:1:2", "alone:student.fp32.onnx@onnxruntime"):
        assert found[key] == done[key]
    assert found["round:1:3"] != done["round:1:3"]
    assert set(done) <= set(found)


def test_the_journal_of_another_job_is_refused(done, folder):
    path = folder / "job.json"
    text = path.read_text()
    try:
        path.write_text(text.replace('"rounds": 6', '"rounds": 7'))
        ran = start(folder)
    finally:
        path.write_text(text)
    assert ran.returncode == 2
    assert "is of another job; remove it" in ran.stderr


@pytest.mark.slow
@needs_reference
def test_a_model_that_crashes_is_its_own_result_and_the_others_go_on(tmp_path):
    bundle.write(artefact(tmp_path / "artefact"), load("rpi5"), tmp_path / "work", QUICK)
    ran = start(tmp_path / "work", path=crashing_runtime(tmp_path / "site"))
    assert ran.returncode == 0, ran.stderr
    found = units(tmp_path / "work")
    fault = found["fault:student.int8.tflite@tflite-runtime"]
    assert fault["signal"] == "SIGSEGV"
    assert "alone:student.int8.tflite@tflite-runtime" not in found
    assert set(found["round:1:0"]["runs"]) == {
        "student.int8.tflite@litert", "student.fp32.onnx@onnxruntime",
        "teacher.fp32.onnx@onnxruntime",
    }  # fmt: skip


def test_a_damaged_model_file_is_not_run(tmp_path):
    bundle.write(artefact(tmp_path / "artefact"), load("rpi5"), tmp_path / "work", QUICK)
    with (tmp_path / "work/models/student.fp32.onnx").open("r+b") as handle:
        handle.write(b"\0\0\0\0")
    assert start(tmp_path / "work").returncode == 0
    found = units(tmp_path / "work")
    assert found["files"]["student.fp32.onnx"]["whole"] is False
    assert "alone:student.fp32.onnx@onnxruntime" not in found
    assert "alone:teacher.fp32.onnx@onnxruntime" in found


@pytest.mark.parametrize("text", ["{", '{"schema": 99}'])
def test_a_bad_job_is_one_line_and_exit_2(tmp_path, text):
    for path in DEVICE.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "job.json").write_text(text)
    ran = start(tmp_path)
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert "Traceback" not in ran.stderr


def test_the_device_side_is_python_3_9_and_knows_nothing_of_dlink():
    allowed = {"numpy", *sys.stdlib_module_names}
    for path in DEVICE.glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module.split(".")[0] in allowed
            assert not isinstance(node, ast.Match)
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip":
                assert not node.keywords  # strict= came with 3.10
