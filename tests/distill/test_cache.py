import errno
import subprocess
import sys

import numpy as np
import pytest
import torch

from distill import cache
from distill.cache import StoredHidden, teacher_outputs
from distill.live import LiveOutputs
from distill.teachers import build_teacher
from targets.errors import InputError


@pytest.fixture(scope="module")
def teacher(windows):
    torch.manual_seed(0)
    return build_teacher("labram", windows.signal, 2, n_layers=2).eval()


def entries(folder):
    return [path for path in folder.iterdir() if path.is_dir()]


def test_outputs_are_the_teachers_own(teacher, splits, tmp_path):
    windows = splits["train"]
    found = teacher_outputs(teacher, windows, tmp_path, batch=5)  # 16 windows: a last batch of 1
    with torch.no_grad():
        logits, hidden = teacher.hidden(torch.from_numpy(np.array(windows.x)))
    assert found.hidden.shape == (16, 2, 4, 2, 200)
    assert isinstance(found.hidden, StoredHidden)
    np.testing.assert_allclose(found.logits, logits, atol=1e-5)
    np.testing.assert_allclose(found.hidden, hidden, atol=1e-4)


def test_a_second_call_computes_nothing(teacher, splits, tmp_path, monkeypatch):
    first = np.asarray(teacher_outputs(teacher, splits["val"], tmp_path).hidden)
    monkeypatch.setattr(cache, "_write", None)
    again = teacher_outputs(teacher, splits["val"], tmp_path)
    np.testing.assert_array_equal(first, again.hidden)


def test_dropout_is_off_and_the_mode_comes_back(teacher, splits, tmp_path):
    a = teacher_outputs(teacher.train(), splits["val"], tmp_path / "a").hidden
    b = teacher_outputs(teacher, splits["val"], tmp_path / "b").hidden
    assert teacher.training
    teacher.eval()
    np.testing.assert_array_equal(a, b)


def test_other_weights_windows_or_precision_are_another_entry(teacher, splits, tmp_path):
    before = teacher_outputs(teacher, splits["val"], tmp_path).logits.copy()
    teacher_outputs(teacher, splits["test"], tmp_path)
    teacher_outputs(teacher, splits["val"], tmp_path, dtype="float16")
    assert len(entries(tmp_path)) == 3
    with torch.no_grad():
        teacher.model.final_layer.bias.add_(1.0)
    after = teacher_outputs(teacher, splits["val"], tmp_path).logits
    with torch.no_grad():
        teacher.model.final_layer.bias.sub_(1.0)
    assert len(entries(tmp_path)) == 4
    np.testing.assert_allclose(after, before + 1, atol=1e-5)


def test_half_precision_halves_the_disk_and_rounds_little(teacher, splits, tmp_path):
    whole = teacher_outputs(teacher, splits["val"], tmp_path / "a")
    half = teacher_outputs(teacher, splits["val"], tmp_path / "b", dtype="float16")
    sizes = [sum(p.stat().st_size for p in (tmp_path / k).rglob("*.npy")) for k in "ab"]
    assert 0.49 < sizes[1] / sizes[0] < 0.55
    spread = np.asarray(whole.hidden).std()
    np.testing.assert_allclose(half.hidden, whole.hidden, atol=5e-3 * spread)
    with pytest.raises(InputError, match=r"cannot be stored so.*float32, float16"):
        teacher_outputs(teacher, splits["val"], tmp_path, dtype="int8")


def test_the_cache_equals_the_teacher_that_runs_when_asked_bit_for_bit(teacher, splits, tmp_path):
    windows = splits["train"]
    stored = teacher_outputs(teacher, windows, tmp_path)
    live = LiveOutputs(teacher, windows)
    for rows in (np.array([3, 0, 7]), np.array([7]), np.arange(16)[::-1]):
        (a, first), (b, second) = stored.batch(rows), live.batch(rows)
        assert torch.equal(a, b)
        assert torch.equal(first.hidden(), second.hidden())
        assert torch.equal(first.mean(), second.mean())
        weights = torch.softmax(torch.randn(len(rows), 2), -1), torch.softmax(torch.randn(3, 4), -1)
        for x, y in zip(first.mixed(*weights), second.mixed(*weights), strict=True):
            assert torch.equal(x, y)


def test_a_selection_reads_its_rows_in_its_order(teacher, splits, tmp_path):
    whole = teacher_outputs(teacher, splits["train"], tmp_path)
    rows = np.array([5, 2, 9])
    part = whole.select(rows)
    assert len(part) == 3
    np.testing.assert_array_equal(part.hidden, whole.hidden[rows])
    np.testing.assert_array_equal(part.logits, whole.logits[rows])
    np.testing.assert_array_equal(part.hidden[1, 1], whole.hidden[2, 1])


@pytest.mark.parametrize("harm", ["cut", "flip", "index", "missing"])
def test_a_damaged_entry_is_computed_again(teacher, splits, tmp_path, capsys, harm):
    good = np.asarray(teacher_outputs(teacher, splits["val"], tmp_path).hidden)
    (entry,) = entries(tmp_path)
    path = entry / "normed.npy"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "flip":
        data = bytearray(path.read_bytes())
        data[-50] ^= 1
        path.write_bytes(bytes(data))
    elif harm == "index":
        (entry / "index.json").write_text("{}")
    else:
        path.unlink()
    again = teacher_outputs(teacher, splits["val"], tmp_path)
    assert "computing it again" in capsys.readouterr().err
    np.testing.assert_array_equal(again.hidden, good)


def test_a_failure_half_way_leaves_nothing(teacher, splits, tmp_path, monkeypatch):
    calls = []

    def once(x):
        if calls:
            raise KeyboardInterrupt
        calls.append(x)
        return type(teacher).hidden(teacher, x)

    monkeypatch.setattr(teacher, "hidden", once)
    with pytest.raises(KeyboardInterrupt):
        teacher_outputs(teacher, splits["train"], tmp_path, batch=4)
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_full_disk_is_said_and_leaves_nothing(teacher, splits, tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache._Summed, "write", full)
    with pytest.raises(InputError, match="no room for the teacher's outputs"):
        teacher_outputs(teacher, splits["val"], tmp_path)
    assert entries(tmp_path) == []


CHILD = """
import sys, torch
from pathlib import Path
from distill.cache import teacher_outputs
from distill.teachers import build_teacher
from distill.windows import Windows
windows = Windows.load(Path(sys.argv[1]))
torch.manual_seed(0)
teacher = build_teacher("labram", windows.signal, 2, n_layers=2).eval()
print(teacher_outputs(teacher, windows, Path(sys.argv[2])).logits.sum())
"""


def test_two_processes_that_ask_for_one_entry_get_the_same(splits, tmp_path):
    splits["val"].save(tmp_path / "windows")
    command = [sys.executable, "-c", CHILD, tmp_path / "windows", tmp_path / "cache"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=300)[0].splitlines()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == said[1]
    assert len(entries(tmp_path / "cache")) == 1
