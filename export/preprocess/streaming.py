"""A device's samples to the model's input, piece by piece, by NumPy alone.

    chain = Streaming("preprocessing.json")
    window = Window(chain.n_chans, chain.n_times, hop=50)
    for chunk in device:                      # (n_in_chans, any number of samples)
        for x in window.push(chain.push(chunk)):
            ...                               # (n_chans, n_times), float32

The result does not depend on how the samples are cut into chunks, bit for bit. scipy makes the
recursive filters faster where it is installed. Python 3.9 or later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

try:
    from scipy.signal import sosfilt
except ImportError:
    sosfilt = None

Array = Any
#: Products held at once by a FIR stage: 2^20 doubles are 8 MiB.
_BLOCK = 1 << 20


class _Biquads:
    """Sections in transposed direct form II, in float64."""

    def __init__(self, sos: Array, n_chans: int) -> None:
        self.sos = np.asarray(sos, np.float64)
        self.state = np.zeros((len(self.sos), n_chans, 2))

    def push(self, x: Array) -> Array:
        if sosfilt is not None:
            y, self.state = sosfilt(self.sos, x, axis=1, zi=self.state)
            return y
        y = np.array(x)
        for t in range(x.shape[1]):
            value = y[:, t]
            for (b0, b1, b2, _, a1, a2), s in zip(self.sos, self.state):  # noqa: B905 - Python 3.9
                out = b0 * value + s[:, 0]
                s[:, 0] = b1 * value - a1 * out + s[:, 1]
                s[:, 1] = b2 * value - a2 * out
                value = out
            y[:, t] = value
        return y


class _Fir:
    """Polyphase filter: the sum of an output is always formed in one order, whatever the chunk."""

    def __init__(self, taps: Array, up: int, down: int, n_chans: int) -> None:
        self.up, self.down = up, down
        self.length = -(-len(taps) // up)
        padded = np.zeros(self.length * up)
        padded[: len(taps)] = taps
        # Row p: taps of phase p, that of the oldest sample first.
        self.phases = np.ascontiguousarray(padded.reshape(-1, up).T[:, ::-1])
        self.history = np.zeros((n_chans, self.length - 1))
        self.due = 0  # next output, in steps of 1 / up samples from the next input sample

    def push(self, x: Array) -> Array:
        held = np.concatenate([self.history, x], axis=1)
        steps = np.arange(self.due, x.shape[1] * self.up, self.down)
        self.due += len(steps) * self.down - x.shape[1] * self.up
        self.history = held[:, x.shape[1] :].copy()
        y = np.empty((len(x), len(steps)))
        block = max(1, _BLOCK // (len(x) * self.length))
        for first in range(0, len(steps), block):
            newest, phase = np.divmod(steps[first : first + block], self.up)
            windows = np.take(held, newest[:, None] + np.arange(self.length), axis=1)
            windows *= self.phases[phase]
            y[:, first : first + block] = windows.sum(axis=2)
        return y


class Streaming:
    """The causal chain with its state.

    Parameters
    ----------
    definition : dict or path
        Content or path of ``preprocessing.json``.
    """

    def __init__(self, definition: dict[str, Any] | str | Path) -> None:
        found: dict[str, Any] = (
            definition
            if isinstance(definition, dict)
            else json.loads(Path(definition).read_text(encoding="utf-8"))
        )
        if found.get("format") != "dlink-preprocessing-1":
            raise ValueError("not a definition that this module can read")
        self.definition = found
        self.picks = list(found["picks"])
        self.n_in_chans, self.n_chans = len(found["input_ch_names"]), len(self.picks)
        self.n_times = int(found["signal"]["n_times"])
        self.gain = float(found["derived"]["gain"])
        self.reference = found["derived"]["reference_row"]
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        self.first: Array | None = None
        self.stages: list[_Biquads | _Fir] = []
        for stage in self.definition["stages"]:
            if stage["form"] == "biquads":
                self.stages.append(_Biquads(stage["sos"], self.n_chans))
            else:
                fir = _Fir(stage["taps"], stage["up"], stage["down"], self.n_chans)
                self.stages.append(fir)

    def push(self, chunk: Array) -> Array:
        """Samples (n_in_chans, n) in the device's unit -> model input (n_chans, m), float32.

        `m` is what has become due: on average n times the ratio of the rates, and 0 at times.

        Raises
        ------
        ValueError
            Another number of channels, or a sample that is not finite (it would stay in the
            filters for ever); the state is as before.
        """
        chunk = np.asarray(chunk, np.float64)
        if chunk.ndim != 2 or len(chunk) != self.n_in_chans:
            raise ValueError(f"chunk is {chunk.shape}, not ({self.n_in_chans}, n)")
        x = chunk[self.picks]
        if not np.isfinite(x).all():
            raise ValueError("chunk holds samples that are not finite")
        if x.shape[1] == 0:
            return np.zeros((self.n_chans, 0), np.float32)
        if self.definition["remove_first"]:
            if self.first is None:
                self.first = x[:, :1].copy()
            x = x - self.first
        if self.reference is not None:
            x = x - (_mean(x) if self.reference < 0 else x[self.reference])
        for stage in self.stages:
            x = stage.push(x)
        return (x * self.gain).astype(np.float32)


def _mean(x: Array) -> Array:
    """Mean over channels; row by row, because NumPy's own order depends on the chunk's length."""
    total = np.zeros(x.shape[1])
    for row in x:
        total = total + row
    return total / len(x)


class Window:
    """A sliding window: the latest `n_times` samples, every `hop` samples."""

    def __init__(self, n_chans: int, n_times: int, hop: int) -> None:
        if hop < 1:
            raise ValueError("hop must be at least one sample")
        self.n_times, self.hop = n_times, hop
        self.held: Array = np.zeros((n_chans, 0), np.float32)
        self.skip = 0

    def push(self, samples: Array) -> list[Array]:
        """Samples (n_chans, m) -> windows (n_chans, n_times) that are full now, oldest first."""
        held = np.concatenate([self.held, samples], axis=1)
        found = []
        while held.shape[1] >= self.skip + self.n_times:
            held = held[:, self.skip :]
            found.append(held[:, : self.n_times].copy())
            self.skip = self.hop
        gone = min(self.skip, held.shape[1])
        self.skip -= gone
        self.held = held[:, gone:]
        return found
