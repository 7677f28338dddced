"""The script that says which goals against the peer are met."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from artefacts import REFERENCE

SCRIPT = Path(__file__).parents[2] / "scripts" / "peer_table.py"


def run(*args, **options):
    command = [sys.executable, str(SCRIPT), *args]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.mark.skipif(
    not (
        (REFERENCE / "ad.tflite").exists()
        and shutil.which("arm-none-eabi-gcc")
        and shutil.which("qemu-system-arm")
    ),
    reason="needs DLINK_REFERENCE, the cross compiler and the emulator",
)
def test_rows_goals_and_exit_code():
    done = run("ad", "--json", "--models", str(REFERENCE))
    data = json.loads(done.stdout)
    assert data["differing_bytes"] == 0
    assert len(data["rows"]) == 4 * 5
    goals = [row for row in data["rows"] if row["goal"] is not None]
    assert len(goals) == data["goals"] == 4 * 3
    assert data["met"] == sum(row["met"] for row in goals)
    assert all(row["met"] == (row["ours"] / row["peer"] <= row["goal"] + 1e-4) for row in goals)
    assert done.returncode == (0 if data["met"] == data["goals"] else 1)


def test_no_folder_and_no_model_are_refused(tmp_path):
    for args, message in ((["ad"], "no folder of models"), (["x", "--models", "."], "not found")):
        environment = {key: value for key, value in os.environ.items() if key != "DLINK_REFERENCE"}
        done = run(*args, env=environment, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert message in done.stderr
