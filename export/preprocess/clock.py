"""The clock of the offline resampling, and a signal read on another clock.

``Raw.resample`` pads to a power of two, resamples all of it by Fourier transform to a whole number
of samples and cuts a whole number off: its samples stand up to half a sample beside their nominal
times and drift by parts per million (``mne.filter._resample_fft``). A polyphase resampler stands
on them. The two can be compared to more than that only on one clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_HALF, _BETA = 48, 12.0  # windowed sinc: errors about 1e-7 up to 80 % of half the rate
_ROUNDS = 4


def read_at(signal: Floats, times: Floats) -> Floats:
    """Band-limited `signal` (n_chans, n) at fractional sample `times` (m,), by a windowed sinc.

    Times must lie 48 samples inside.
    """
    nearest = np.rint(times).astype(int)
    reach = np.arange(-_HALF, _HALF + 1)
    away = (times - nearest)[:, None] - reach
    inside = np.clip(1 - (away / (_HALF + 0.5)) ** 2, 0, None)
    weights = np.sinc(away) * np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA)
    windows = signal[:, nearest[:, None] + reach]
    return np.asarray(np.einsum("cmk,mk->cm", windows, weights))


def fit_clock(reference: Floats, signal: Floats) -> tuple[float, float]:
    """Offset (samples, at the start) and drift (samples per sample) of `reference` on `signal`.

    Gauss-Newton on the squared difference of both (n_chans, n), from no offset.
    """
    n = reference.shape[1]
    steps = np.arange(_HALF + 1, n - _HALF - 1)
    wanted, offset, drift = reference[:, steps], 0.0, 0.0
    for _ in range(_ROUNDS):
        times = steps + offset + drift * steps
        found = read_at(signal, times)
        slope = (read_at(signal, times + 1e-3) - read_at(signal, times - 1e-3)) / 2e-3
        design = np.stack([slope.ravel(), (slope * steps).ravel()], axis=1)
        change = np.linalg.lstsq(design, (wanted - found).ravel(), rcond=None)[0]
        offset, drift = offset + float(change[0]), drift + float(change[1])
        # Beyond one sample it is no clock but another delay: do not run away.
        offset = float(np.clip(offset, -1, 1))
    return offset, drift


def on_clock(signal: Floats, offset: float, drift: float) -> tuple[Floats, slice]:
    """`signal` read on the clock, and the samples of the other one that it belongs to."""
    kept = slice(_HALF + 2, signal.shape[1] - _HALF - 2)
    steps = np.arange(signal.shape[1])[kept]
    return read_at(signal, steps + offset + drift * steps), kept
