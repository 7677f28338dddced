"""From a signal contract and a device's description to the causal chain."""

from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from distill.recordings import pick_channels, reference_index
from distill.signal import SignalSpec
from export.preprocess.definition import (
    MOST_DOWN,
    MOST_TAPS,
    MOST_UP,
    Biquads,
    Fir,
    Preprocessor,
    Stage,
    ratio,
)
from export.preprocess.response import response
from targets.errors import InputError

#: Quality of the notch, f / width at -3 dB: 50 Hz / 30 is 1.7 Hz, MNE's notch is 1.25 Hz wide.
NOTCH_QUALITY = 30.0
#: Stop-band of the resampler in dB; "fir" wants the offline result, which is exact.
ATTENUATION = {"iir": 80.0, "fir": 120.0}
#: Least width of the resampler's transition, relative to the lower of the two rates.
LEAST_TRANSITION = 0.05
MOST_ORDER = 8
#: Gain for a constant below which taking one off changes nothing: what rounding leaves.
BLOCKED = 1e-9


def design(  # noqa: PLR0913 - each is a fact of the device
    signal: SignalSpec,
    *,
    input_sfreq: float,
    input_unit: str,
    input_ch_names: tuple[str, ...] | None = None,
    order: int = 4,
    high_pass_order: int = 1,
    kind: Literal["iir", "fir"] = "iir",
    uv_per_count: float | None = None,
    input_bits: int = 24,
    strip: tuple[str, ...] = (),
) -> Preprocessor:
    """The causal chain from a device's samples to windows that obey `signal`.

    "iir": Butterworth high-pass, low-pass of `order`, and a notch; short delay, phase not linear.
    The high-pass has an order of its own: near its edge lies most of EEG's power, and each further
    order turns the phase there by up to 90 degrees (figures: docs/preprocessing.md).
    "fir": the filters of the offline chain (``mne.filter.create_filter``), run causally:
    the offline result, late by half their length. Band-pass before resampling, as offline.

    Parameters
    ----------
    input_unit : V, mV, uV or counts; counts need `uv_per_count`.
    input_ch_names : the device's channels in its order, if they are not the contract's.
    input_bits : width of the converter, sign included; sets the integer form's headroom.
    strip : text to drop from the device's channel names, as ``[data] strip``.

    Raises
    ------
    InputError
        Unknown electrode, rate too low or without a small ratio, a value out of range.
    """
    _check_numbers((order, high_pass_order), kind, input_unit, uv_per_count, input_bits)
    _check_rate(signal, input_sfreq)
    names = tuple(input_ch_names or signal.ch_names)
    if len(set(names)) != len(names):
        raise InputError("channel named twice", where="input_ch_names", value=", ".join(names))
    # pick_channels knows older names of electrodes; all it needs of a recording are its names.
    device = cast(Any, SimpleNamespace(ch_names=list(names)))
    picked = pick_channels(device, signal.ch_names, strip, "input_ch_names")
    if signal.reference not in ("as-recorded", "average"):
        reference_index(signal)
    filters = (
        _butterworth(signal, input_sfreq, order, high_pass_order)
        if kind == "iir"
        else _mne(signal, input_sfreq)
    )
    stages = (*filters, *_resampler(signal, input_sfreq, kind, filters))
    still = [abs(complex(response(s, np.zeros(1), input_sfreq)[0])) for s in filters]
    return Preprocessor(
        kind=kind, signal=signal, input_ch_names=names, input_sfreq=input_sfreq,
        input_unit=cast(Any, input_unit), uv_per_count=uv_per_count, input_bits=input_bits,
        picks=tuple(names.index(name) for name in picked),
        remove_first=float(np.prod(still)) < BLOCKED, stages=stages,
    )  # fmt: skip


def _check_numbers(
    orders: tuple[int, int], kind: str, input_unit: str, uv_per_count: float | None, input_bits: int
) -> None:
    def refuse(what: str, where: str, value: object, limit: str) -> None:
        raise InputError(what, where=where, value=value, limit=limit)

    if kind not in ("iir", "fir"):
        refuse("kind of filters is not known", "kind", kind, "iir, fir")
    for name, order in zip(("order", "high_pass_order"), orders, strict=True):
        if not 1 <= order <= MOST_ORDER:
            refuse("filter order is out of range", name, order, f"1..{MOST_ORDER}")
    if input_unit not in ("V", "mV", "uV", "counts"):
        refuse("unit is not known", "input_unit", input_unit, "V, mV, uV, counts")
    if input_unit == "counts" and not (uv_per_count and 0 < uv_per_count < float("inf")):
        refuse("counts need their worth", "uv_per_count", uv_per_count, "microvolts per count, > 0")
    if input_unit != "counts" and uv_per_count is not None:
        refuse("only counts have a worth", "uv_per_count", uv_per_count, "input_unit counts")
    if not 8 <= input_bits <= 26:
        refuse("converter's width is out of range", "input_bits", input_bits, "8..26")


def _check_rate(signal: SignalSpec, input_sfreq: float) -> None:
    """As the offline chain asks of a recording, and a ratio that a polyphase filter can hold."""
    need = signal.sfreq if signal.band is None else 2 * signal.band[1]
    strict = signal.band is not None
    if not 0 < input_sfreq < float("inf") or input_sfreq < need or (strict and input_sfreq == need):
        raise InputError(
            "device's sampling rate is too low for the signal contract", where="input_sfreq",
            value=f"{input_sfreq:g} Hz", limit=f"{'>' if strict else '>='} {need:g} Hz",
            todo="Sample faster, or train with a lower band in [signal].",
        )  # fmt: skip
    step = ratio(input_sfreq, signal.sfreq)
    if step.numerator > MOST_UP or step.denominator > MOST_DOWN:
        near = step.limit_denominator(20)
        raise InputError(
            "the two sampling rates have no small ratio", where="input_sfreq",
            value=f"{signal.sfreq:g} / {input_sfreq:g} = {step}", limit=f"{MOST_UP}/{MOST_DOWN}",
            todo=f"Choose another rate; {float(signal.sfreq / (near or 1)):g} Hz would do.",
        )  # fmt: skip


def _sections(sos: NDArray[np.float64], at: complex) -> tuple[Any, ...]:
    """Sections scaled to gain 1 each at the point `at` of the unit circle.

    scipy puts the whole gain in the first one, where a fixed-point form would lose its bits.
    """
    powers = complex(at) ** -np.arange(3.0)
    scaled = sos.copy()
    for row in scaled:
        row[:3] *= abs((row[3:] @ powers) / (row[:3] @ powers))
    return tuple(tuple(float(v) for v in row) for row in scaled)


def _butterworth(signal: SignalSpec, sfreq: float, order: int, high_pass_order: int) -> list[Stage]:
    from scipy.signal import butter, iirnotch

    stages: list[Stage] = []
    if signal.band is not None:
        low, high = signal.band
        if low > 0:
            sos = butter(high_pass_order, low, "highpass", fs=sfreq, output="sos")
            stages.append(Biquads(name="high-pass", sos=_sections(sos, -1)))
        sos = butter(order, high, "lowpass", fs=sfreq, output="sos")
        stages.append(Biquads(name="low-pass", sos=_sections(sos, 1)))
    if _has_notch(signal, sfreq):
        b, a = iirnotch(signal.notch, NOTCH_QUALITY, fs=sfreq)
        stages.append(Biquads(name="notch", sos=_sections(np.r_[b, a][None], 1)))
    return stages


def _has_notch(signal: SignalSpec, sfreq: float) -> bool:
    """The offline chain leaves a notch out that the recording's rate cannot hold."""
    return signal.notch is not None and signal.notch < sfreq / 2


def _mne(signal: SignalSpec, sfreq: float) -> list[Stage]:
    """The filters that ``Raw.filter`` and ``Raw.notch_filter`` make with their defaults."""
    import mne

    def create(low: float, high: float, **transitions: float) -> tuple[float, ...]:
        try:
            taps = mne.filter.create_filter(
                None, sfreq, low, high, verbose="ERROR", **cast(Any, transitions)
            )
        except ValueError as err:
            raise InputError(
                f"MNE cannot make the offline filter: {err}", where="[signal]",
                todo='Move the band or the notch, or use kind "iir".',
            ) from None  # fmt: skip
        return tuple(float(v) for v in np.asarray(taps))

    stages: list[Stage] = []
    if signal.band is not None:
        stages.append(Fir(name="band-pass", taps=_short(create(*signal.band))))
    if _has_notch(signal, sfreq):
        assert signal.notch is not None
        # notch_filter's defaults: width f / 200, 1 Hz of transition shared by both sides.
        half = signal.notch / 400 + 0.5
        low, high = signal.notch - half, signal.notch + half
        taps = create(high, low, l_trans_bandwidth=0.5, h_trans_bandwidth=0.5)
        stages.append(Fir(name="notch", taps=_short(taps)))
    return stages


def _short(taps: tuple[float, ...]) -> tuple[float, ...]:
    if len(taps) > MOST_TAPS:
        raise InputError(
            "the offline filter is too long for a device", where="[signal] band", value=len(taps),
            limit=f"{MOST_TAPS} taps", todo='Raise the lower edge, or use kind "iir".',
        )  # fmt: skip
    return taps


def _resampler(signal: SignalSpec, sfreq: float, kind: str, filters: list[Stage]) -> list[Fir]:
    """Kaiser-windowed polyphase filter; nothing where the rates are equal.

    "iir" passes the band and stops its images, as short as that allows. "fir" passes all but the
    last 5 % below the lower rate's half, as the offline resampling by Fourier transform does, and
    is lengthened until the whole chain is late by whole output samples.
    """
    from scipy.signal import firwin, kaiserord

    step: Fraction = ratio(sfreq, signal.sfreq)
    if step == 1:
        return []
    up, down = step.numerator, step.denominator
    lower, high = min(sfreq, signal.sfreq), (signal.band or (0.0, signal.sfreq))[1]
    width = LEAST_TRANSITION * lower
    if kind == "iir":
        width = max(width, lower - 2 * high)
    rate = sfreq * up
    n_taps, beta = kaiserord(ATTENUATION[kind], width / (rate / 2))
    half = -(-int(n_taps) // 2)
    before = up * sum((len(s.taps) - 1) // 2 for s in filters if isinstance(s, Fir))
    half += -(before + half) % down
    if 2 * half + 1 > MOST_TAPS:
        raise InputError(
            "the resampler is too long for a device", where="input_sfreq", value=2 * half + 1,
            limit=f"{MOST_TAPS} taps", todo="Choose a rate with a smaller ratio to the model's.",
        )  # fmt: skip
    taps = up * firwin(2 * half + 1, lower / 2, window=("kaiser", beta), fs=rate)
    return [Fir(name="resampler", taps=tuple(map(float, taps)), up=up, down=down)]
