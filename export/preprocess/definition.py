"""The causal chain as numbers: one definition, from which every form on a device is made.

A device's samples pass, in this order: channel pick, first sample taken off, reference, filters at
the device's own rate, resampling, gain. The offline chain (:func:`distill.recordings.prepare`)
takes the reference last; both are linear, so the order changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from distill.recordings import reference_index
from distill.signal import VOLTS_PER_UNIT, SignalSpec
from targets.errors import InputError
from targets.files import read_json, write_json

MOST_UP, MOST_DOWN, MOST_TAPS, MOST_CHANNELS = 512, 1024, 1 << 18, 1024
#: What is left of a step when a chain counts as settled: 60 dB.
SETTLED = 1e-3

Finite = Annotated[float, Field(allow_inf_nan=False)]
Section = tuple[Finite, Finite, Finite, Finite, Finite, Finite]


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str


class Biquads(_Stage):
    """Second-order sections in a row, each (b0, b1, b2, 1, a1, a2) as scipy writes them."""

    form: Literal["biquads"] = "biquads"
    sos: tuple[Section, ...] = Field(min_length=1, max_length=32)

    @model_validator(mode="after")
    def _stable(self) -> Biquads:
        for *_, a0, a1, a2 in self.sos:
            # The stability triangle of a second-order section.
            if a0 != 1 or not (abs(a2) < 1 and abs(a1) < 1 + a2):
                raise ValueError(f"section with a = {a0}, {a1}, {a2} is not stable or not scaled")
        return self


class Fir(_Stage):
    """Polyphase FIR: `up` - 1 zeros behind each sample, `taps`, then every `down`-th output.

    Its first output leaves with the first input; nothing before the first input is needed.
    """

    form: Literal["fir"] = "fir"
    taps: tuple[Finite, ...] = Field(min_length=1, max_length=MOST_TAPS)
    up: int = Field(default=1, ge=1, le=MOST_UP)
    down: int = Field(default=1, ge=1, le=MOST_DOWN)

    @property
    def history(self) -> int:
        """Samples before the present one that an output needs."""
        return -(-len(self.taps) // self.up) - 1

    def phases(self) -> NDArray[np.float64]:
        """Taps by output phase (up, history + 1); column j belongs to the sample j steps ago."""
        padded = np.zeros((self.history + 1) * self.up)
        padded[: len(self.taps)] = self.taps
        return np.ascontiguousarray(padded.reshape(-1, self.up).T)


Stage = Annotated[Biquads | Fir, Field(discriminator="form")]


class Preprocessor(BaseModel):
    """What a device does to its samples before the model sees them.

    Attributes
    ----------
    kind : "iir" (short delay, phase not linear) or "fir" (the offline filters, seconds late).
    signal : the contract that the result obeys.
    input_ch_names, input_sfreq : the device's channels in their order, and its rate in Hz.
    input_unit, uv_per_count : unit of its samples; counts are worth `uv_per_count` microvolts.
    input_bits : width of its converter, for the integer form (counts only).
    picks : index into `input_ch_names` for each electrode of the contract.
    remove_first : whether the first sample is taken off all samples (electrodes' offset).
    stages : filters in order; only the last may change the rate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["dlink-preprocessing-1"] = "dlink-preprocessing-1"
    kind: Literal["iir", "fir"]
    signal: SignalSpec
    input_ch_names: tuple[str, ...] = Field(min_length=1, max_length=MOST_CHANNELS)
    input_sfreq: float = Field(gt=0, allow_inf_nan=False)
    input_unit: Literal["V", "mV", "uV", "counts"]
    uv_per_count: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    input_bits: int = Field(default=24, ge=8, le=26)
    picks: tuple[int, ...]
    remove_first: bool
    stages: tuple[Stage, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessor:
        if (self.uv_per_count is not None) != (self.input_unit == "counts"):
            raise ValueError("uv_per_count belongs to counts, and counts need it")
        if len(self.picks) != self.signal.n_chans or len(set(self.picks)) != len(self.picks):
            raise ValueError("picks must name one input channel for each electrode")
        if not all(0 <= k < self.n_in_chans for k in self.picks):
            raise ValueError(f"picks must lie in 0..{self.n_in_chans - 1}")
        if any(isinstance(s, Fir) and (s.up, s.down) != (1, 1) for s in self.stages[:-1]):
            raise ValueError("only the last stage may change the rate")
        if ratio(self.input_sfreq, self.signal.sfreq) != Fraction(self.up, self.down):
            raise ValueError(f"{self.up}/{self.down} does not lead to {self.signal.sfreq} Hz")
        return self

    @property
    def n_in_chans(self) -> int:
        """Channels of the device."""
        return len(self.input_ch_names)

    @property
    def n_chans(self) -> int:
        """Electrodes of the contract."""
        return self.signal.n_chans

    @property
    def up(self) -> int:
        """Output samples for each `down` input samples."""
        last = self.stages[-1] if self.stages else None
        return last.up if isinstance(last, Fir) else 1

    @property
    def down(self) -> int:
        """Input samples for each `up` output samples."""
        last = self.stages[-1] if self.stages else None
        return last.down if isinstance(last, Fir) else 1

    @property
    def gain(self) -> float:
        """Factor from the device's unit to the model's input."""
        volts = VOLTS_PER_UNIT.get(self.input_unit) or 1e-6 * float(self.uv_per_count or 1)
        return volts * self.signal.gain

    @property
    def reference(self) -> int | None:
        """Row of the reference among the electrodes; -1 their average; None as recorded."""
        if self.signal.reference == "as-recorded":
            return None
        if self.signal.reference == "average":
            return -1
        return reference_index(self.signal)

    def mixing(self) -> NDArray[np.float64]:
        """Pick and reference as one matrix (n_chans, n_in_chans)."""
        eye = np.eye(self.n_in_chans)[list(self.picks)]
        if self.reference is None:
            return eye
        return eye - (eye.mean(axis=0) if self.reference < 0 else eye[self.reference])

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical form."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; what a reader on the device would have to compute is written out."""
        derived = {"gain": self.gain, "reference_row": self.reference, "hash": self.hash}
        return {**self.model_dump(mode="json"), "derived": derived}

    def write(self, path: Path) -> None:
        """Write ``preprocessing.json``."""
        write_json(path, self.to_dict())

    @classmethod
    def read(cls, path: Path) -> Preprocessor:
        """Read ``preprocessing.json``.

        Raises
        ------
        InputError
            Not there, not JSON, or not a definition that holds together.
        """
        data = read_json(path, "preprocessing")
        derived = data.pop("derived", None) if isinstance(data, dict) else None
        try:
            found = cls.model_validate(data)
        except ValidationError as err:
            first = err.errors()[0]
            raise InputError(
                f"preprocessing cannot be used: {first['msg']}", where=path,
                value=".".join(str(part) for part in first["loc"]) or None,
                todo="Export the artefact again.",
            ) from None  # fmt: skip
        if derived != found.to_dict()["derived"]:
            raise InputError(
                "preprocessing was changed by hand: its derived values do not fit", where=path,
                todo="Export the artefact again.",
            )  # fmt: skip
        return found


def ratio(input_sfreq: float, sfreq: float) -> Fraction:
    """Exact `sfreq` / `input_sfreq` of the decimal numbers that were written."""
    return Fraction(repr(sfreq)) / Fraction(repr(input_sfreq))
