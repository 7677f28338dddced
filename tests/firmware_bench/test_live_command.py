"""The command as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from live_rig import HOP_MS, artefact, recording

from firmware_bench.live.command import live


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    return artefact(folder / "artefact"), recording(folder / "a.edf")


def call(small, *arguments):
    folder, _ = small
    return CliRunner().invoke(live, [str(folder), *map(str, arguments)])


def test_the_summary_and_every_decision_are_written(small, tmp_path):
    out = tmp_path / "live.json"
    result = call(small, "--replay", small[1], "--speed", "max", "--hop", HOP_MS, "--out", out)
    assert result.exit_code == 0, result.output
    for text in (
        "names: EEG T3-REF is T7", "sfreq: 200 != 100 Hz (resampled)", "101 decisions",
        "group delay of the preprocessor (stated, on top):", "deadline misses: 0",
        "real-time factor", "student.fp32.onnx",
    ):  # fmt: skip
        assert text in result.output
    found = json.loads(out.read_text())
    assert (found["schema"], found["evidence"]) == ("dlink-live-1", "measured")
    assert len(found["each"]) == found["decisions"] == 101
    assert sum(found["by_label"].values()) == 101
    first = found["each"][0]
    assert first["seconds"] == 1.0
    assert sum(first["probabilities"]) == pytest.approx(1)
    assert {"times_ms", "samples", "environment", "preprocessing", "model"} <= set(found)


def test_json_prints_the_summary_alone_and_seconds_end_the_run(small):
    result = call(small, "--replay", small[1], "--speed", "max", "--seconds", 3, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["ended"] == "time is over"
    assert found["stream"]["seconds"] == pytest.approx(3, abs=0.05)
    assert found["decisions"] == 21
    assert "each" not in found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "one source is needed"),
        (("--replay", "a.edf", "--lsl", "x"), "one source is needed"),
        (("--lsl", "x", "--speed", "2"), "--speed does not belong to --lsl"),
        (("--lsl", "x", "--offline-preprocessing"), "does not belong to --lsl"),
        (("--replay", "a.edf", "--board-param", "a=b"), "does not belong to --replay"),
        (("--replay", "a.edf", "--offline-preprocessing", "--kind", "fir"), "filters of its own"),
        (("--replay", "a.edf", "--speed", "0"), "no positive number"),
        (("--replay", "a.edf", "--speed", "fast"), "no positive number"),
        (("--replay", "a.edf", "--hop", "3"), "Take 10 ms"),
        (("--replay", "a.edf", "--format", "int8.tflite"), "allowed fp32.onnx"),
        (("--replay", "gone.edf"), "recording not found"),
        (("--brainflow", "synthetic", "--board-param", "serial_port"), "not KEY=VALUE"),
    ],
)
def test_bad_options_end_with_code_2(small, arguments, words):
    arguments = [str(small[1]) if one == "a.edf" else one for one in arguments]
    result = call(small, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_with_the_summary(small, tmp_path, number):
    out = tmp_path / "live.json"
    code = "from firmware_bench.live.command import live; live()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code, small[0], "--replay", small[1], "--speed", "0.1",
         "--out", out, "--hop", "10"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("model:"):
            break
    time.sleep(0.5)
    process.send_signal(number)
    rest = process.communicate(timeout=30)[0]
    assert process.returncode == 0
    assert "ended: interrupted" in rest
    assert json.loads(out.read_text())["ended"] == "interrupted"


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom firmware_bench.live.command import live\n"
        "live(['--help'], standalone_mode=False)\n"
        "assert not {'numpy', 'mne', 'rich', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
