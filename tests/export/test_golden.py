"""Choosing windows evenly, and reading golden vectors."""

import numpy as np
import pytest

from distill.signal import SignalSpec
from distill.windows import Windows
from export import golden
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3",), sfreq=100, n_times=4)


def made(counts):
    """Windows with counts[subject][label] members."""
    subject, y = [], []
    for name, by_label in counts.items():
        for label, n in enumerate(by_label):
            subject += [name] * n
            y += [label] * n
    n = len(y)
    x = np.zeros((n, 1, 4), np.float32)
    names = np.asarray(subject)
    return Windows(x, np.asarray(y), names, np.full(n, "0"), ("a", "b"), SIGNAL)


@pytest.mark.parametrize("n", [4, 8, 11])
def test_subjects_and_classes_are_covered_evenly(n):
    windows = made({"p": (10, 10), "q": (10, 10)})
    chosen = windows.select(golden.spread(windows, n))
    assert len(chosen) == n
    counts = [
        int(np.sum((chosen.subject == s) & (chosen.y == k))) for s in ("p", "q") for k in (0, 1)
    ]
    assert max(counts) - min(counts) <= 1


def test_each_window_at_most_once_and_no_more_than_there_are():
    windows = made({"p": (3, 1), "q": (2, 0)})
    chosen = golden.spread(windows, 100)
    assert len(set(chosen.tolist())) == len(chosen) <= 6
    assert chosen.tolist() == sorted(chosen.tolist())


def test_the_choice_spans_the_recording():
    windows = made({"p": (100, 100)})
    chosen = golden.spread(windows, 4)
    assert chosen.tolist() == [0, 99, 100, 199]


def test_golden_vectors_of_an_artefact_are_whole(exported):
    found = golden.load(exported)
    assert found["windows"].shape == (24, 6, 400)
    assert found["logits"].shape == found["teacher_logits"].shape == (24, 2)
    assert found["inputs_int8"].dtype == found["outputs_int8"].dtype == np.int8
    assert set(found["labels"].tolist()) == {0, 1}


def test_pickles_and_damage_are_refused(tmp_path):
    np.savez(tmp_path / "golden.npz", windows=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        golden.load(tmp_path)
