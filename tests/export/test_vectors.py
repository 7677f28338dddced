"""Golden windows come from people whom nothing was fitted on, or from noise that says so."""

import numpy as np

from distill.signal import SignalSpec
from distill.windows import Windows
from export.vectors import NOISE, chosen, noise

SIGNAL = SignalSpec(ch_names=("C3", "C4"), sfreq=100, n_times=200)
LABELS = ("rest", "task")


def windows(subject, n=12):
    x = np.zeros((n, 2, 200), np.float32)
    names = np.full(n, subject)
    return Windows(x, np.arange(n) % 2, names, names, LABELS, SIGNAL)


def test_test_subjects_come_first_and_classes_are_covered():
    splits = {"train": windows("A"), "val": windows("B"), "test": windows("C")}
    found, origin = chosen(splits, SIGNAL, LABELS, 5)
    assert (origin, found.subjects, len(found)) == ("test", ("C",), 5)
    assert set(found.y.tolist()) == {0, 1}
    del splits["test"]
    assert chosen(splits, SIGNAL, LABELS, 5)[1] == "val"


def test_without_recordings_it_is_noise_and_says_so():
    found, origin = chosen({}, SIGNAL, LABELS, 4)
    assert origin == NOISE
    assert found.subjects == (NOISE,)
    assert found.x.dtype == np.float32
    np.testing.assert_allclose(found.x.std(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(found.x, noise(SIGNAL, LABELS, 4).x)


def test_the_noise_falls_off_as_eeg_does():
    power = np.abs(np.fft.rfft(noise(SIGNAL, LABELS, 200).x)) ** 2
    low, high = power[..., 1:11].mean(), power[..., 61:71].mean()
    assert 5 < low / high < 40
