"""The signal contract: what exactly a model's input is, and a check that names every difference.

A model that was trained on microvolts / 100 at 200 Hz gives confident nonsense on volts at 250 Hz.
So the contract travels with the checkpoint, the artefact and the device.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from targets.errors import InputError

VOLTS_PER_UNIT = {"V": 1.0, "mV": 1e-3, "uV": 1e-6}


class SignalSpec(BaseModel):
    """What one input window is.

    A window is a float32 array (n_chans, n_times); its value is ``volts / volts_per_unit / scale``
    after resampling to `sfreq`, band-pass, notch and reference.

    Attributes
    ----------
    ch_names : electrode names, in the order of the channel axis.
    sfreq : sampling rate in Hz.
    n_times : samples in a window.
    reference : "as-recorded", "average", or the electrode whose signal is subtracted.
    band : band-pass edges in Hz, or None.
    notch : power-line frequency in Hz, or None.
    unit, scale : physical unit, and the divisor applied after conversion to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ch_names: tuple[str, ...] = Field(min_length=1)
    sfreq: float = Field(gt=0)
    n_times: int = Field(gt=0)
    reference: str = "as-recorded"
    band: tuple[float, float] | None = None
    notch: float | None = Field(default=None, gt=0)
    unit: Literal["V", "mV", "uV"] = "uV"
    scale: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> SignalSpec:
        repeated = sorted({name for name in self.ch_names if self.ch_names.count(name) > 1})
        if repeated:
            raise ValueError(f"ch_names holds {', '.join(repeated)} more than once")
        if self.band is not None and not 0 <= self.band[0] < self.band[1] < self.sfreq / 2:
            raise ValueError(
                f"band {self.band} Hz must rise and stay below sfreq / 2 = {self.sfreq / 2} Hz"
            )
        return self

    @property
    def n_chans(self) -> int:
        """Number of electrodes."""
        return len(self.ch_names)

    @property
    def seconds(self) -> float:
        """Length of a window in seconds."""
        return self.n_times / self.sfreq

    @property
    def gain(self) -> float:
        """Factor from volts to model input."""
        return 1.0 / (VOLTS_PER_UNIT[self.unit] * self.scale)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return self.model_dump(mode="json")

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical form."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def differences(self, other: SignalSpec) -> list[str]:
        """Every field in which `other` differs, as "field: mine != theirs"."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{key}: {mine[key]} != {theirs[key]}" for key in mine if mine[key] != theirs[key]]

    def check(self, other: SignalSpec, *, where: object) -> None:
        """Raise :class:`InputError` that names every difference, if there is any."""
        found = self.differences(other)
        if found:
            raise InputError(
                "signal contract differs: " + "; ".join(found),
                where=where,
                todo="Prepare the signal as the model's contract says, or choose another model.",
            )
