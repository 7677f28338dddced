"""The windows that become golden vectors: people whom no weight and no scale has seen, if any."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from distill.signal import SignalSpec
from distill.windows import Windows
from export.golden import spread

NOISE = "noise"


def chosen(
    splits: Mapping[str, Windows], signal: SignalSpec, labels: tuple[str, ...], n: int
) -> tuple[Windows, str]:
    """Up to `n` windows that cover subjects and classes, and the split that they are from.

    Where there are no recordings at all the split is "noise": it shows that two forms compute the
    same, and nothing about anybody's EEG.
    """
    for split in ("test", "val", "train"):
        windows = splits.get(split)
        if windows is not None and len(windows):
            return windows.select(spread(windows, n)), split
    return noise(signal, labels, n), NOISE


def noise(signal: SignalSpec, labels: tuple[str, ...], n: int) -> Windows:
    """Windows of 1/f noise of standard deviation 1 in the contract's unit; always the same.

    EEG's spectrum falls off like this, so that slow filters see something too.
    """
    rng = np.random.default_rng(0)
    shape = (n, signal.n_chans, signal.n_times)
    spectrum = np.fft.rfft(rng.standard_normal(shape))
    spectrum[..., 1:] /= np.sqrt(np.arange(1, spectrum.shape[-1]))
    spectrum[..., 0] = 0
    x = np.fft.irfft(spectrum, signal.n_times)
    x = (x / x.std(axis=-1, keepdims=True)).astype(np.float32)
    names = np.full(n, NOISE)
    return Windows(x, np.arange(n) % len(labels), names, names, labels, signal)
