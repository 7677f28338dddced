"""A stream against the model's signal contract: every difference named, and mended or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from distill.recordings import pick_channels
from distill.signal import VOLTS_PER_UNIT, SignalSpec
from export.preprocess import design
from firmware_bench.live.stream import StreamInfo
from targets.errors import InputError


@dataclass(frozen=True)
class Entrance:
    """How a stream's samples become microvolts of the contract's electrodes, in their order.

    Attributes
    ----------
    rows : the stream's channel for each electrode.
    to_uv : factor (n_chans, 1) of each.
    differences : "field: stream's != contract's (what mends it)".
    """

    rows: tuple[int, ...]
    to_uv: NDArray[np.float64]
    differences: tuple[str, ...]

    def microvolts(self, data: NDArray[Any]) -> NDArray[np.float64]:
        """Samples (n_stream_chans, n) -> (n_chans, n) in microvolts."""
        return np.asarray(data, np.float64)[list(self.rows)] * self.to_uv


def check(
    info: StreamInfo, signal: SignalSpec, *, strip: tuple[str, ...] = (), unit: str | None = None
) -> Entrance:
    """Compare a stream with the contract.

    Electrodes are found by name, older names too, in any order. Rate, unit, band and reference are
    mended by the preprocessor. What cannot be seen (an "as-recorded" reference) is not compared.

    Parameters
    ----------
    strip : text to drop from the stream's channel names.
    unit : what a stream that does not state its unit sends; one that states another is refused.

    Raises
    ------
    InputError
        Absent electrodes, a rate that is too low or has no small ratio, an unknown unit: all faults
        at once.
    """
    faults: list[str] = []

    def held(find: Callable[[], Any]) -> Any:
        try:
            return find()
        except InputError as err:
            found = f"{err.value} for {err.limit}" if err.value is not None else err.limit
            faults.append(f"{err.what} ({found})")
            return None

    names = list(info.ch_names)
    where: Any = cast(Any, SimpleNamespace(ch_names=names))
    picked = held(lambda: pick_channels(where, signal.ch_names, strip, info.name)) or []
    if not info.prepared:
        held(lambda: _rate(info, signal))
    rows = tuple(names.index(name) for name in picked)
    units = [_unit(info, row, unit, faults) for row in rows]
    if faults:
        raise InputError(
            "stream does not fit the model's signal contract: " + "; ".join(dict.fromkeys(faults)),
            where=f"{info.kind} {info.name}",
            todo="Change the stream, or tell its names and unit: --strip, --ch-names, --unit.",
        )
    to_uv = np.array([[VOLTS_PER_UNIT[one] * 1e6] for one in units])
    return Entrance(rows, to_uv, tuple(_differences(info, signal, picked, units)))


def _rate(info: StreamInfo, signal: SignalSpec) -> None:
    if info.sfreq <= 0:
        raise InputError("stream has no nominal rate", value="0 Hz", limit=f"{signal.sfreq:g} Hz")
    design(signal, input_sfreq=info.sfreq, input_unit="uV")


def _unit(info: StreamInfo, row: int, told: str | None, faults: list[str]) -> str:
    stated = info.units[row]
    if stated is None and told is None:
        faults.append("unit of its channels is not stated (V, mV, uV)")
    elif stated is not None and told not in (None, stated):
        faults.append(f"unit is told as {told}, the stream states {stated}")
    return stated or told or "V"


def _differences(
    info: StreamInfo, signal: SignalSpec, picked: list[str], units: list[str]
) -> list[str]:
    if info.prepared:
        return []
    found = []
    pairs = zip(picked, signal.ch_names, strict=True)
    older = [f"{theirs} is {ours}" for theirs, ours in pairs if ours.upper() not in theirs.upper()]
    if older:
        found.append(f"names: {', '.join(older)} (older names)")
    if list(info.ch_names) != picked:
        found.append(
            f"channels: {len(info.ch_names)} in their order != {signal.n_chans} (picked by name)"
        )
    if info.sfreq != signal.sfreq:
        found.append(f"sfreq: {info.sfreq:g} != {signal.sfreq:g} Hz (resampled)")
    others = sorted(set(units) - {signal.unit})
    if others:
        found.append(f"unit: {', '.join(others)} != {signal.unit} (scaled)")
    if signal.reference != "as-recorded":
        found.append(f"reference: as sent != {signal.reference} (subtracted)")
    return found
