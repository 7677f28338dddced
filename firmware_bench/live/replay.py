"""A recording as a stream: at its own speed, faster, or as fast as it is taken."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill.recordings import prepare, read_raw, reading
from distill.signal import SignalSpec
from firmware_bench.live.stream import Array, Chunk, StreamInfo, unit_of
from targets.errors import InputError

if TYPE_CHECKING:
    import mne

#: Length of one chunk: what a Bluetooth headset sends at once.
CHUNK_SECONDS = 0.02
_BLOCK_SECONDS = 30.0


class Replay:
    """A recording that MNE reads.

    Parameters
    ----------
    path : the recording.
    speed : times its own speed; ``math.inf``: as fast as it is taken.
    offline : prepare it first by the offline chain (:func:`distill.recordings.prepare`) for this
        contract; the stream then carries the model's input.
    strip : text to drop from its channel names.

    Raises
    ------
    InputError
        No such recording, damaged, or not fit for the contract.
    """

    def __init__(
        self,
        path: Path,
        *,
        speed: float = 1.0,
        offline: SignalSpec | None = None,
        strip: tuple[str, ...] = (),
    ) -> None:
        if not speed > 0:
            raise InputError("speed must be positive", where="--speed", value=speed)
        self.paced, self._speed = math.isfinite(speed), speed
        self._path, self._raw = path, read_raw(path)
        units = _units(self._raw)
        if offline is not None:
            self._raw = prepare(self._raw, offline, strip=strip, where=path)
            units = ("V",) * offline.n_chans
        self._gain = 1.0 if offline is None else offline.gain
        self._info = StreamInfo(
            "replay", path.name, tuple(self._raw.ch_names), float(self._raw.info["sfreq"]), units,
            prepared=offline is not None,
        )  # fmt: skip
        self._next, self._begin_ns = 0, 0
        self._block: Array = np.zeros((len(units), 0))
        self._block_first = 0

    @property
    def info(self) -> StreamInfo:
        """Channels and rate of the recording; MNE gives volts."""
        return self._info

    def start(self) -> None:
        """Start the clock."""
        self._begin_ns = time.monotonic_ns()

    def read(self) -> Chunk | None:
        """The next 20 ms when they are due; None at the end of the recording.

        A paced chunk has arrived when it was due, also where this machine was late to notice.
        """
        n = max(1, round(CHUNK_SECONDS * self.info.sfreq))
        stop = min(self._next + n, self._raw.n_times)
        if stop == self._next:
            return None
        data = self._samples(self._next, stop)
        self._next = stop
        if not self.paced:
            return Chunk(data)
        due = self._begin_ns + round(1e9 * stop / (self.info.sfreq * self._speed))
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
        return Chunk(data, arrived_ns=due)

    def close(self) -> None:
        """Nothing is held open."""

    def _samples(self, first: int, stop: int) -> Array:
        """Read in blocks: reading chunk by chunk costs more than decoding does."""
        if stop > self._block_first + self._block.shape[1]:
            last = min(first + round(_BLOCK_SECONDS * self.info.sfreq), self._raw.n_times)
            with reading("samples cannot be read", self._path, "Check that the file is whole."):
                self._block = self._raw.get_data(start=first, stop=last) * self._gain
            self._block_first = first
        return self._block[:, first - self._block_first : stop - self._block_first]


def _units(raw: mne.io.BaseRaw) -> tuple[str | None, ...]:
    """MNE turns every unit that it knows into volts; of others it keeps the numbers."""
    kept = getattr(raw, "_orig_units", None) or {}
    return tuple("V" if name not in kept or unit_of(kept[name]) else None for name in raw.ch_names)
