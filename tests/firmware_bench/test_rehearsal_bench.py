"""An artefact rehearsed: over ssh, then counted; each figure says that it is no measurement."""

import re

import pytest
from artefacts import build
from rehearsal_rig import machine_or_skip
from rich.console import Console

from firmware_bench import artefact as artefacts
from firmware_bench import console as tables
from firmware_bench.estimate import mca
from firmware_bench.rehearsal import bench as rehearsing
from firmware_bench.rehearsal import userland
from firmware_bench.rehearsal.table import print_rehearsals, rehearsed
from firmware_bench.results import Interval, Results, TargetRun, figure
from targets.errors import InputError
from targets.target import load

needs_board = pytest.mark.skipif(
    not userland.is_built("arm64"), reason="skipped: rehearsal board is not built (make rehearsal)"
)


def results(*measurements):
    from firmware_bench.results import Environment

    run = TargetRun(target=load("rpi4b"), environment=Environment(description="an emulator"))
    return Results(created="2026-01-01T00:00:00+00:00", runs=(run,), manifest={},
                   training=None, measurements=tuple(measurements))  # fmt: skip


def rows():
    band = Interval(low=0.5, high=1.0, kind="model band")
    for model, fmt, count, ms in (
        ("teacher", "fp32.onnx", 200_000_000, 170.0), ("student", "int8.onnx", 4_000_000, 0.75),
    ):  # fmt: skip
        same = {"format": fmt, "runtime": "onnxruntime 1"}
        yield figure("rpi4b", model, "instructions", count, "emulated", **same)
        yield figure("rpi4b", model, "latency_estimated", ms, "estimated", interval=band, **same)
        yield figure("any", model, "file_size", count // 1000, "measured", format=fmt)


def printed(found):
    console = Console(width=120, record=True)
    print_rehearsals(console, found)
    return console.export_text()


def test_the_table_has_teacher_student_ratio_band_and_evidence():
    found = results(*rows())
    assert rehearsed(found, found.runs[0])
    text = printed(found)
    for word in ("emulated", "estimated", "measured"):
        assert word in text
    assert re.search(r"teacher fp32\.onnx +onnxruntime 1 .*200\.00 M", text)
    assert re.search(r"int8\.onnx .*4\.00 M 1/50 .*0\.75 ms \(0\.5\d*-1\.0\d*\) 1/227", text)


def test_a_time_that_cannot_be_estimated_says_why():
    same = {"format": "int8.tflite", "runtime": "tflite-runtime 2.14.0"}
    found = results(
        figure("rpi4b", "student", "instructions", 1000, "emulated", **same),
        figure("rpi4b", "student", "latency_estimated", None, "estimated", reason="32 bit", **same),
    )
    assert "no time for student int8.tflite, tflite-runtime 2.14.0: 32 bit" in printed(found)


def test_a_measured_board_is_no_rehearsal():
    same = {"format": "int8.tflite", "runtime": "litert 2"}
    found = results(figure("rpi4b", "student", "latency_median", 1.0, "measured", **same))
    assert not rehearsed(found, found.runs[0])
    assert printed(found).strip() == ""
    tables.print_results(Console(width=120, record=True), found)


def test_another_word_size_and_an_artefact_without_models_are_refused(tmp_path):
    artefact = artefacts.load(build(tmp_path / "a"))
    with pytest.raises(InputError, match="arm64, armhf"):
        rehearsing.bench(artefact, load("rpi4b"), "x86")


@needs_board
@pytest.mark.slow
def test_an_artefact_is_run_over_ssh_and_counted(tmp_path):
    with machine_or_skip("rpi4b", "arm64"):
        pass
    artefact = artefacts.load(build(tmp_path / "a"))
    steps = []
    run, found = rehearsing.bench(artefact, load("rpi4b"), "arm64", steps.append)
    assert run.environment.faults[0].rule == "emulated"
    assert {one.evidence for one in found} <= {"emulated", "estimated"}
    counted = {
        (one.model, one.format, one.runtime.split()[0]): one.value
        for one in found if one.metric == "instructions"
    }  # fmt: skip
    assert (
        counted["teacher", "fp32.onnx", "onnxruntime"]
        > 5 * (counted["student", "fp32.onnx", "onnxruntime"])
    )
    assert all(one.value > 10e6 for one in found if one.metric == "peak_rss")
    times = [one for one in found if one.metric == "latency_estimated"]
    if mca.available():
        assert all(one.interval.low < one.value < one.interval.high for one in times if one.value)
