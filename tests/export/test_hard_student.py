"""The script that makes a student hard to quantise, on a real finished run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from distill.training import predict
from export import from_onnx
from export.quantisation.ladder import Gate, LadderWindows, climb
from export.sources.run import open_run
from export.trace import export_onnx
from targets.errors import InputError

SCRIPT = Path(__file__).parents[2] / "scripts" / "hard_student.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hard_student", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("how", ["channel", "outlier-weight"])
def test_the_float_function_stays_and_equalisation_mends_int8(
    script: ModuleType, finished_run: Path, tmp_path: Path, how: str
) -> None:
    moved = script.harden(finished_run, tmp_path / "hard", how, None, 1, "distilled")
    plain, hard = open_run(finished_run), open_run(tmp_path / "hard")
    train, val = hard.splits["train"], hard.splits["val"]
    want = predict(plain.student, val.x)
    np.testing.assert_allclose(predict(hard.student, val.x), want, atol=max(10 * moved, 1e-5))
    assert hard.facts["results"] == plain.facts["results"]
    assert hard.weights_hash != plain.weights_hash
    export_onnx(hard.student, torch.from_numpy(np.array(val.x[:1])), tmp_path / "hard.onnx")
    graph = from_onnx.read(tmp_path / "hard.onnx")
    windows = LadderWindows(np.asarray(train.x), val)
    gate = Gate(max_drop=0.0, min_agreement=1.0)
    found = climb(graph, windows, gate, print, method="minmax", rungs=("equalisation",))
    after = found.rungs[-1].after
    assert found.rungs[0].after.rmse > 5 * after.rmse


def test_what_would_change_the_function_is_refused(
    script: ModuleType, finished_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match='reference = "average"'):
        script.harden(finished_run, tmp_path / "hard", "common-mode", None, 0, "distilled")
    assert not (tmp_path / "hard").exists()
    with pytest.raises(InputError, match="output exists"):
        script.harden(finished_run, tmp_path, "channel", None, 0, "distilled")
