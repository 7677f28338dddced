"""dlink-export as people call it: exit codes, sentences, tables."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from export.cli import main

SCRIPT = str(Path(sys.executable).parent / "dlink-export")


def call(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def test_export_verify_inspect(finished_run, tmp_path):
    done = call(finished_run, "-o", tmp_path / "a", "--calibration", 16, "--golden", 8)
    assert done.exit_code == 0, done.output
    assert "student.int8.tflite" in done.output
    assert "accuracy by format" in done.output
    done = call("verify", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert "verified" in done.output
    assert call("inspect", tmp_path / "a").exit_code == 0


def test_verify_names_the_flipped_file_and_exits_with_2(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "a")
    path = tmp_path / "a" / "student.int8.tflite"
    data = bytearray(path.read_bytes())
    data[1000] ^= 4
    path.write_bytes(data)
    done = subprocess.run([SCRIPT, "verify", str(tmp_path / "a")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "student.int8.tflite: file differs from the manifest" in done.stderr


def test_bad_input_is_one_sentence_and_exit_2(tmp_path):
    done = subprocess.run(
        [SCRIPT, str(tmp_path / "none"), "-o", "/dev/null/x"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("dlink-export: error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["verify artefacts/eegmat", "runs/eegmat -o artefacts/eegmat"])
def test_help_shows_examples_and_is_quick(tmp_path, word):
    (tmp_path / "export.py").write_text("raise SystemExit('the wrong export was imported')")
    code = (
        "import sys; sys.argv = ['dlink-export', '--help']\n"
        "from export.cli import main\n"
        "try: main()\n"
        "finally: print('heavy:', [m for m in ('torch', 'onnx', 'mne') if m in sys.modules])"
    )
    done = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert word in done.stdout
    light = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "heavy: []" in light.stdout
