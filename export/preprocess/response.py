"""What the causal chain does to a sine: how late, how loud, and after what time at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.signal import SignalSpec
from export.preprocess.definition import SETTLED, Biquads, Fir, Preprocessor

Floats = NDArray[np.float64]
_POINTS = 512


def passband(signal: SignalSpec) -> tuple[float, float]:
    """Band of the contract in Hz; without one, up to 90 % of half its rate."""
    return signal.band or (0.0, 0.45 * signal.sfreq)


def response(stage: Biquads | Fir, freqs: Floats, sfreq: float) -> NDArray[np.complex128]:
    """Complex gain of one stage at `freqs` (Hz), its input at `sfreq`; delay included."""
    from scipy.signal import freqz, sosfreqz

    if isinstance(stage, Biquads):
        return np.asarray(sosfreqz(np.asarray(stage.sos), freqs, fs=sfreq)[1])
    gain = freqz(np.asarray(stage.taps) / stage.up, 1, freqs, fs=sfreq * stage.up)[1]
    return np.asarray(gain)


def gain_at(preprocessor: Preprocessor, freqs: Floats) -> Floats:
    """Magnitude of the whole chain at `freqs` in Hz, without the conversion of units."""
    gain = np.ones(len(freqs), np.complex128)
    for stage in preprocessor.stages:
        gain *= response(stage, freqs, preprocessor.input_sfreq)
    return np.asarray(np.abs(gain), np.float64)


def stage_delay(stage: Biquads | Fir, freqs: Floats, sfreq: float) -> float:
    """Group delay in seconds, median over `freqs` (Hz).

    A FIR here is symmetric: half its length at every frequency. Of sections, the phase's slope.
    """
    if isinstance(stage, Fir):
        return (len(stage.taps) - 1) / 2 / (sfreq * stage.up)
    from scipy.signal import group_delay

    total = np.zeros(len(freqs))
    for row in np.asarray(stage.sos):
        # The slope is even there where a notch has gain zero; scipy cannot say, and warns.
        off = freqs + 1e-4 * sfreq * (np.abs(_gain(row, freqs, sfreq)) < 1e-6)
        total += group_delay((row[:3], row[3:]), off, fs=sfreq)[1]
    return float(np.median(total)) / sfreq


def _gain(row: Floats, freqs: Floats, sfreq: float) -> Floats:
    z = np.exp(-2j * np.pi * freqs / sfreq)[:, None] ** np.arange(3)
    return np.asarray(np.abs((z @ row[:3]) / (z @ row[3:])), np.float64)


def delay_seconds(preprocessor: Preprocessor) -> float:
    """Group delay of the whole chain: the sum of its stages' medians, in seconds."""
    freqs = _grid(preprocessor.signal)
    return sum(stage_delay(s, freqs, preprocessor.input_sfreq) for s in preprocessor.stages)


def _grid(signal: SignalSpec) -> Floats:
    low, high = passband(signal)
    step = (high - low) / _POINTS
    return np.asarray(low + step * (np.arange(_POINTS) + 0.5), np.float64)


def settle_seconds(preprocessor: Preprocessor) -> float:
    """Time after which a start from nothing has died down by 60 dB.

    A FIR forgets after its length; a section decays with its slowest pole.
    """
    seconds = 0.0
    for stage in preprocessor.stages:
        if isinstance(stage, Fir):
            seconds += (len(stage.taps) - 1) / (stage.up * preprocessor.input_sfreq)
        else:
            radius = max(float(np.abs(np.roots(row[3:])).max()) for row in stage.sos)
            samples = math.log(SETTLED) / math.log(radius) if radius > 0 else 2.0
            seconds += samples / preprocessor.input_sfreq
    return seconds


def macs_per_second(preprocessor: Preprocessor) -> int:
    """Multiplications a second of the filters, all channels: 7 a section, one a tap."""
    total = 0.0
    for stage in preprocessor.stages:
        if isinstance(stage, Biquads):
            total += 7 * len(stage.sos) * preprocessor.input_sfreq
        else:
            total += (stage.history + 1) * preprocessor.input_sfreq * stage.up / stage.down
    return round(total * preprocessor.n_chans)


def facts(preprocessor: Preprocessor) -> dict[str, Any]:
    """Delays by stage and in all, gain at the band's edges, settling time, cost: JSON-ready.

    The delay of "fir" holds for all frequencies; that of "iir" is the median over the passband,
    and `spread_seconds` the least and the most within it.
    """
    rate, signal = preprocessor.input_sfreq, preprocessor.signal
    freqs = _grid(signal)
    stages = []
    for stage in preprocessor.stages:
        late = stage_delay(stage, freqs, rate)
        stages.append({"name": stage.name, "seconds": late, "samples": late * rate})
    total = delay_seconds(preprocessor)
    edges = np.asarray(passband(signal))
    with np.errstate(divide="ignore"):
        decibels = 20 * np.log10(gain_at(preprocessor, edges))
    return {
        "kind": preprocessor.kind,
        "delay": {
            "seconds": total,
            "samples": total * signal.sfreq,
            "spread_seconds": _spread(preprocessor, freqs),
            "stages": stages,
        },
        "edges": [
            {"hz": float(f), "db": float(v) if np.isfinite(v) else None}
            for f, v in zip(edges, decibels, strict=True)
        ],
        "settle_seconds": settle_seconds(preprocessor),
        "macs_per_second": macs_per_second(preprocessor),
    }


def _spread(preprocessor: Preprocessor, freqs: Floats) -> list[float]:
    """Least and greatest delay over the passband."""
    per = np.array([
        sum(stage_delay(s, np.array([f]), preprocessor.input_sfreq) for s in preprocessor.stages)
        for f in freqs[:: _POINTS // 64]
    ])  # fmt: skip
    return [float(per.min()), float(per.max())]
