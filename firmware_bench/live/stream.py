"""What every source of samples is to the decoder: who it is, and chunks of samples."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
#: How makers write the units of :data:`distill.signal.VOLTS_PER_UNIT`.
_SPELLINGS = {
    "v": "V", "volt": "V", "volts": "V",
    "mv": "mV", "millivolt": "mV", "millivolts": "mV",
    "uv": "uV", "µv": "uV", "μv": "uV", "microvolt": "uV", "microvolts": "uV",
}  # fmt: skip


def unit_of(text: str | None) -> str | None:
    """A unit as dlink writes it (V, mV, uV), or None where the text is none of them."""
    return _SPELLINGS.get((text or "").strip().lower())


@dataclass(frozen=True)
class StreamInfo:
    """A stream as it describes itself.

    Attributes
    ----------
    kind, name : "replay", "lsl" or "brainflow", and which.
    ch_names : its channels, in its order.
    sfreq : its nominal rate in Hz; 0 where it has none.
    units : unit of each channel: V, mV, uV; None where the stream does not say.
    prepared : samples already obey the model's contract: nothing is left to do.
    """

    kind: str
    name: str
    ch_names: tuple[str, ...]
    sfreq: float
    units: tuple[str | None, ...]
    prepared: bool = False


@dataclass(frozen=True)
class Chunk:
    """Samples (n_chans, n) that arrived together.

    Attributes
    ----------
    arrived_ns : when the last of them arrived, by ``time.monotonic_ns``.
    times : timestamp (n,) in seconds of each sample, where the source gives them.
    counters : the device's own sample number (n,), where it counts.
    lost : samples known to be missing before this chunk.
    """

    data: Array
    arrived_ns: int = field(default_factory=time.monotonic_ns)
    times: Array | None = None
    counters: Array | None = None
    lost: int = 0

    @property
    def n(self) -> int:
        """Number of samples."""
        return int(self.data.shape[1])


class Source(Protocol):
    """Where samples come from.

    `paced`: samples come by a clock, whether they are taken or not. Otherwise they wait.
    """

    paced: bool

    @property
    def info(self) -> StreamInfo:
        """Description of the stream."""

    def start(self) -> None:
        """Begin to deliver."""

    def read(self) -> Chunk | None:
        """The next samples, perhaps none after a short wait; None at the end."""

    def close(self) -> None:
        """Release the device; may be called twice."""


def empty(n_chans: int) -> Chunk:
    """A chunk without samples: nothing came in time."""
    return Chunk(np.zeros((n_chans, 0)))
