import numpy as np
import planted
import pytest
import torch

from distill.cache import teacher_outputs
from distill.live import LiveOutputs
from distill.methods.dlink import DLink
from distill.mic import MiC, MiCConfig
from distill.teachers import build_teacher
from distill.training import FitOptions, StudentTask, WindowSet, fit, history


@pytest.fixture(scope="module")
def teachers(windows):
    torch.manual_seed(0)
    return {
        name: build_teacher(name, windows.signal, 2, n_layers=2).eval()
        for name in ("labram", "cbramod")
    }


@pytest.mark.parametrize("name", ["labram", "cbramod"])
def test_a_window_gives_the_same_whoever_shares_its_batch(teachers, windows, name):
    live = LiveOutputs(teachers[name], windows)
    logits, tokens = live.batch(np.array([4, 9, 1]))
    for k, row in enumerate((4, 9, 1)):
        alone, its = live.batch(np.array([row]))
        assert torch.equal(alone[0], logits[k])
        assert torch.equal(its.hidden()[0], tokens.hidden()[k])
    np.testing.assert_array_equal(live.logits[[4, 9, 1]], logits)


def test_the_teacher_learns_nothing_and_keeps_its_mode(teachers, windows):
    teacher = teachers["labram"].train()
    logits, _ = LiveOutputs(teacher, windows).batch(np.array([0]))
    assert not logits.requires_grad
    assert teacher.training
    teacher.eval()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_distillation_with_a_cache_and_one_without_end_alike(tmp_path, dtype):
    data, val, teacher = planted.windows(24), planted.windows(12, seed=1), planted.teacher()
    found = {
        "cached": teacher_outputs(teacher, data, tmp_path / "cache", dtype=dtype),
        "live": LiveOutputs(teacher, data, dtype=dtype),
    }
    ends = {}
    for name, outputs in found.items():
        torch.manual_seed(0)
        sizes = MiCConfig(spatial=8, width=8, compress=8, dropout=0.25)
        student = MiC(4, 64, 3, patch=planted.D, d=planted.D, config=sizes)
        options = FitOptions(epochs=3, batch=8, lr=1e-2, weight_decay=1e-2, seed=0)
        method = DLink(2, teacher.layout, 3, student.mimic_chans)
        task = StudentTask(student, method, 3, options)
        fit(task, WindowSet(data, outputs), WindowSet(val), tmp_path / name, name="test")
        ends[name] = (task.state_dict(), history(tmp_path / name))
    (one, log), (other, other_log) = ends.values()
    assert all(torch.equal(one[key], value) for key, value in other.items())
    assert log == other_log
    assert log["train_mimic"][-1] < log["train_mimic"][0]
