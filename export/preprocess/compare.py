"""How far the causal chain is from the offline one, on recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from distill.recordings import pick_channels, prepare, read_raw
from distill.signal import VOLTS_PER_UNIT, SignalSpec
from export.preprocess.clock import fit_clock, on_clock
from export.preprocess.definition import Preprocessor
from export.preprocess.response import delay_seconds, settle_seconds
from export.preprocess.streaming import Streaming
from targets.errors import InputError

if TYPE_CHECKING:
    import mne

#: Seconds at a recording's ends that are left out: there the offline chain has mirrored samples.
EDGE_SECONDS = 4.0


@dataclass(frozen=True)
class Aligned:
    """Both results over the same stretch of one recording, model input units.

    offline, causal : float64 (n_chans, n). first : sample of the recording at the contract's rate
    that stands in column 0. lag : samples by which the causal result was moved back.
    """

    offline: NDArray[np.float64]
    causal: NDArray[np.float64]
    first: int
    lag: int


def device_samples(
    raw: mne.io.BaseRaw, preprocessor: Preprocessor, strip: tuple[str, ...] = ()
) -> NDArray[np.float64]:
    """A recording as the device would deliver it: its channels, its unit (n_in_chans, n).

    Raises
    ------
    InputError
        Another rate, or a channel that the recording lacks.
    """
    if raw.info["sfreq"] != preprocessor.input_sfreq:
        raise InputError(
            "recording has another rate than the device", where="recording",
            value=f"{raw.info['sfreq']:g} Hz", limit=f"{preprocessor.input_sfreq:g} Hz",
            todo="Design the preprocessing for this rate.",
        )  # fmt: skip
    names = pick_channels(raw, preprocessor.input_ch_names, strip, "recording")
    volts = raw.get_data(picks=names)
    if preprocessor.input_unit == "counts":
        return np.asarray(np.rint(volts * 1e6 / float(preprocessor.uv_per_count or 1)))
    return np.asarray(volts / VOLTS_PER_UNIT[preprocessor.input_unit])


def align(
    raw: mne.io.BaseRaw,
    signal: SignalSpec,
    preprocessor: Preprocessor,
    strip: tuple[str, ...] = (),
) -> Aligned:
    """Both chains over one recording, the causal one moved back by its stated delay.

    Raises
    ------
    InputError
        Another contract, another rate, absent channels, too short a recording.
    """
    signal.check(preprocessor.signal, where="preprocessing")
    samples = device_samples(raw, preprocessor, strip)
    causal = Streaming(preprocessor.to_dict()).push(samples).astype(np.float64)
    offline = prepare(raw, signal, strip=strip, where="recording").get_data() * signal.gain
    lag = round(delay_seconds(preprocessor) * signal.sfreq)
    edge = round(EDGE_SECONDS * signal.sfreq)
    first = max(edge, round(settle_seconds(preprocessor) * signal.sfreq) - lag)
    last = min(offline.shape[1] - edge, causal.shape[1] - lag)
    if last - first < signal.n_times:
        raise InputError(
            "recording is too short to compare on", where="recording",
            value=f"{offline.shape[1] / signal.sfreq:g} s",
            limit=f">= {(first + signal.n_times + lag + edge) / signal.sfreq:g} s",
        )  # fmt: skip
    return Aligned(offline[:, first:last], causal[:, first + lag : last + lag], first, lag)


def against_offline(
    recording: mne.io.BaseRaw | Path,
    signal: SignalSpec,
    preprocessor: Preprocessor,
    *,
    strip: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Correlation and error of the causal result against the offline one, after settling.

    Returns
    -------
    dict
        `delay_seconds`, `lag` (samples moved back), and of the channels: `correlation` (median),
        `relative_rms` (median; RMS of the difference / standard deviation of the offline signal),
        and the worst channel with its own two figures. `clock` is where the offline resampling
        puts its samples (:mod:`export.preprocess.clock`), `relative_rms_same_clock` the error
        once that is allowed for; both None but for "fir" with resampling.

    Raises
    ------
    InputError
        As :func:`align`.
    """
    raw = read_raw(recording) if isinstance(recording, Path) else recording
    both = align(raw, signal, preprocessor, strip)
    kept = both.offline.std(axis=1) > 0  # the reference electrode is zero against itself
    a, b = both.offline[kept], both.causal[kept]
    names = [name for name, keep in zip(signal.ch_names, kept, strict=True) if keep]
    correlation = np.array([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])
    error = np.sqrt(((a - b) ** 2).mean(axis=1)) / a.std(axis=1)
    worst = int(error.argmax())
    clock = _same_clock(a, b) if preprocessor.kind == "fir" and preprocessor.down > 1 else None
    return {
        "kind": preprocessor.kind,
        "delay_seconds": delay_seconds(preprocessor),
        "lag": both.lag,
        "seconds": a.shape[1] / signal.sfreq,
        "correlation": float(np.median(correlation)),
        "relative_rms": float(np.median(error)),
        "relative_rms_same_clock": clock[2] if clock else None,
        "clock": {"offset_samples": clock[0], "drift_ppm": clock[1] * 1e6} if clock else None,
        "worst": {
            "channel": names[worst],
            "correlation": float(correlation[worst]),
            "relative_rms": float(error[worst]),
        },
    }


def _same_clock(
    offline: NDArray[np.float64], causal: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Offset and drift of the offline resampling's clock, and the relative error on it."""
    some = slice(None, None, max(1, len(offline) // 4))  # a clock is the same in all channels
    offset, drift = fit_clock(offline[some], causal[some])
    moved, kept = on_clock(causal, offset, drift)
    wanted = offline[:, kept]
    error = np.sqrt(((wanted - moved) ** 2).mean(axis=1)) / wanted.std(axis=1)
    return offset, drift, float(np.median(error))


def cut_both(both: Aligned, signal: SignalSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Windows (n, n_chans, n_times) of the same stretches, offline and causal; no overlap."""
    n = both.offline.shape[1] // signal.n_times

    def cut(data: NDArray[np.float64]) -> NDArray[np.float32]:
        kept = data[:, : n * signal.n_times].astype(np.float32)
        return kept.reshape(len(data), n, signal.n_times).transpose(1, 0, 2)

    return cut(both.offline), cut(both.causal)
