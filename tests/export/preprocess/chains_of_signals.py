"""Contracts and signals of the preprocessing tests."""

import numpy as np

from distill.signal import SignalSpec
from export.preprocess.design import design

CH_NAMES = ("Fp1", "Fp2", "T7", "Cz")
#: The device: more channels, another order, an older name.
DEVICE = ("A1", "T3", "Cz", "Fp2", "X", "Fp1")


def contract(**changes):
    base = {"ch_names": CH_NAMES, "sfreq": 200, "n_times": 400, "band": (0.5, 45.0), "notch": 50.0,
            "reference": "average", "unit": "uV", "scale": 100.0}  # fmt: skip
    return SignalSpec(**{**base, **changes})


def chain(kind="iir", input_sfreq=500.0, signal=None, **options):
    options = {"input_unit": "uV", "input_ch_names": DEVICE, **options}
    return design(signal or contract(), input_sfreq=input_sfreq, kind=kind, **options)


def eeg(n_chans, n, sfreq, offset=0.0, seed=0):
    """Noise of 1/f spectrum, an alpha rhythm, mains, and electrodes' offsets, in microvolts."""
    rng = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(n, 1 / sfreq)
    spectrum = np.fft.rfft(rng.standard_normal((n_chans, n))) / np.maximum(freqs, 0.2) ** 0.5
    noise = np.fft.irfft(spectrum, n)
    t = np.arange(n) / sfreq
    waves = 0.5 * np.sin(2 * np.pi * 10 * t) + 0.5 * np.sin(2 * np.pi * 50 * t + 1)
    return 20 * (noise / noise.std() + waves) + offset * rng.standard_normal((n_chans, 1))
