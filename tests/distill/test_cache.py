import numpy as np
import pytest
import torch

from distill.cache import teacher_outputs
from distill.teachers import build_teacher


@pytest.fixture(scope="module")
def teacher(windows):
    torch.manual_seed(0)
    return build_teacher("labram", windows.signal, 2, n_layers=2).eval()


def test_outputs_are_the_teachers_own(teacher, splits, tmp_path):
    windows = splits["train"]
    found = teacher_outputs(teacher, windows, tmp_path, batch=5)  # 16 windows: a last batch of 1
    with torch.no_grad():
        logits, hidden = teacher.hidden(torch.from_numpy(windows.x))
    assert found.hidden.shape == (16, 2, 4, 2, 200)
    assert isinstance(found.hidden, np.memmap)
    np.testing.assert_allclose(found.logits, logits, atol=1e-5)
    np.testing.assert_allclose(found.hidden, hidden, atol=1e-4)


def test_a_second_call_computes_nothing(teacher, splits, tmp_path, monkeypatch):
    first = teacher_outputs(teacher, splits["val"], tmp_path)
    monkeypatch.setattr(teacher, "hidden", None)
    again = teacher_outputs(teacher, splits["val"], tmp_path)
    np.testing.assert_array_equal(first.hidden, again.hidden)


def test_dropout_is_off(teacher, splits, tmp_path):
    teacher.train()
    a = teacher_outputs(teacher, splits["val"], tmp_path / "a").hidden
    b = teacher_outputs(teacher.train(), splits["val"], tmp_path / "b").hidden
    np.testing.assert_array_equal(a, b)


def test_other_weights_or_windows_are_another_entry(teacher, splits, tmp_path):
    teacher_outputs(teacher, splits["val"], tmp_path)
    teacher_outputs(teacher, splits["test"], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    before = teacher_outputs(teacher, splits["val"], tmp_path).logits.copy()
    with torch.no_grad():
        teacher.model.final_layer.bias.add_(1.0)
    after = teacher_outputs(teacher, splits["val"], tmp_path).logits
    assert len(list(tmp_path.iterdir())) == 3
    np.testing.assert_allclose(after, before + 1, atol=1e-5)


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
    assert list(tmp_path.iterdir()) == []
