"""The whole way on real EEG, as short as it can be: every command, one after the other.

The training is too short to be good; what is tested is that the parts fit, and exactness: the int8
student on the emulated Cortex-M4, in TensorFlow Lite Micro and in LiteRT's reference kernels gives
the same bytes on 100 windows of people it has never seen.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from distill.recipe import DATA_DEFAULT, DATA_VARIABLE

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
DATA = Path(os.environ.get(DATA_VARIABLE, DATA_DEFAULT)).resolve()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (DATA / "eegmat").is_dir(), reason="no data"),
]
CHANGES = {
    "seeds = [0, 1, 2]": "seeds = [0]",
    'train = ["00-19"]\nval = ["20-23"]\ntest = ["24-27"]':
        'train = ["00-02"]\nval = ["03"]\ntest = ["04-07"]',
    "Subject(?P<subject>\\\\d+)": "Subject(?P<subject>0[0-7])",
    "epochs = 8\n": "n_layers = 1\nepochs = 1\n",
    "epochs = 30\nbatch = 32\nlr = 3e-4": "epochs = 20\nbatch = 16\nlr = 2e-3",
}  # fmt: skip


def call(*args, cwd, code=0):
    done = subprocess.run(
        [str(BIN / args[0]), *map(str, args[1:])], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "DLINK_DATA": str(DATA)},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Distil, export, bench: the folder holds run, artefact and results.json."""
    folder = tmp_path_factory.mktemp("eegmat")
    recipe = (ROOT / "examples" / "eegmat.toml").read_text()
    for old, new in CHANGES.items():
        assert recipe.count(old) == 1, old
        recipe = recipe.replace(old, new)
    (folder / "recipe.toml").write_text(recipe)
    call("dlink-distill", "recipe.toml", "-o", "run", cwd=folder)
    call("dlink-export", "run", "-o", "artefact", "--with-teacher", cwd=folder)
    call("dlink-bench", "artefact", "-t", "host", "-t", "nucleo-l4r5zi", "--runs", 20, cwd=folder)
    return folder


def test_emulated_firmware_micro_and_reference_kernels_agree_on_100_real_windows(folder):
    from export.runtimes import MicroModel, TfliteModel

    content = (folder / "artefact" / "student.int8.tflite").read_bytes()
    with np.load(folder / "artefact" / "golden.npz") as arrays:
        inputs, kept = arrays["inputs_int8"], arrays["outputs_int8"]
    assert inputs.shape == (100, 19 * 800)
    assert len(np.unique(kept, axis=0)) > 20  # the outputs differ between windows
    reference = TfliteModel(content, reference=True).run_int8(inputs)
    assert np.count_nonzero(reference != kept) == 0
    assert np.count_nonzero(MicroModel(content).run_int8(inputs) != kept) == 0
    optimised = TfliteModel(content).run_int8(inputs)
    assert np.abs(optimised.astype(int) - kept).max() <= 2
    results = json.loads((folder / "results.json").read_text())
    differing = [m for m in results["measurements"] if m["metric"] == "golden_differing_bytes"]
    assert [(m["value"], m["evidence"]) for m in differing] == [(0, "emulated")]
    assert "of 200 output bytes, 100 windows" in differing[0]["note"]


def test_verify_passes_and_the_gate_judges(folder):
    assert "verified" in call("dlink-export", "verify", "artefact", cwd=folder)
    (folder / "budgets.toml").write_text(
        'schema_version = 1\n[[budget]]\ntarget = "nucleo-l4r5zi"\nmodel = "student"\n'
        'metric = "instructions"\nlimit = "12 M"\n'
    )
    call("dlink-gate", "results.json", "--budgets", "budgets.toml", cwd=folder)
    page = (folder / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    tight = (folder / "budgets.toml").read_text().replace("12 M", "1 k")
    (folder / "tight.toml").write_text(tight)
    call("dlink-gate", "results.json", "--budgets", "tight.toml", cwd=folder, code=1)


def test_nobody_tested_was_trained_or_calibrated_on(folder):
    manifest = json.loads((folder / "artefact" / "manifest.json").read_text())
    assert manifest["metrics"]["subjects"] == ["04", "05", "06", "07"]
    assert set(manifest["calibration"]["subjects"]) == {"00", "01", "02"}
