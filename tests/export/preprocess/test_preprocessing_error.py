"""scripts/preprocessing_error.py, as it is called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from distill.recipe import DATA_DEFAULT, DATA_VARIABLE

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get(DATA_VARIABLE, DATA_DEFAULT)).resolve()


def call(*args):
    command = [sys.executable, str(ROOT / "scripts" / "preprocessing_error.py"), *map(str, args)]
    env = {**os.environ, DATA_VARIABLE: str(DATA)}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)


def test_bad_input_exits_with_2(tmp_path):
    for args in ((), (tmp_path / "absent.toml",)):
        done = call(*args)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "eegmat").is_dir(), reason="no data")
def test_the_table_of_one_recording():
    done = call("examples/eegmat.toml", "-n", 1, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    correlations = [found[f"iir, high-pass {order}"]["correlation"] for order in (1, 2, 4)]
    assert correlations == sorted(correlations, reverse=True)
    assert found["fir"]["relative_rms_same_clock"] < 1e-4
    assert found["fir"]["delay_seconds"] == pytest.approx(3.695)
