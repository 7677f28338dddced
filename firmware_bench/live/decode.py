"""Chunks in, decisions out: repair, preprocessing, window, model; each decision with its times."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.signal import SignalSpec
from export.preprocess.streaming import Window
from firmware_bench.live.chain import Chain
from firmware_bench.live.gaps import Repair, Segment
from firmware_bench.live.model import Model
from firmware_bench.live.stream import Chunk
from targets.errors import InputError

#: Samples wait for so long at most before they are preprocessed, and never beyond a window's end.
HELD_SECONDS = 0.25


@dataclass(frozen=True)
class Decision:
    """What the model says of one window.

    Attributes
    ----------
    index : number of the decision.
    start : window's first sample since the start or the last restart, at the contract's rate.
    seconds : its end, on the clock of the stream's samples.
    label : index of the greatest logit; `probabilities` are the softmax.
    hop_ns : computing since the previous decision: preprocessing of the hop and inference. None
        for the first window, whose samples came in many hops.
    inference_ns : the model alone, copies in and out included.
    latency_ns : arrival of the window's last sample to the decision.
    settled : the filters' start no longer shows in the window.
    repaired : samples of the window, or of the filters' memory just before, were filled in.
    """

    index: int
    start: int
    seconds: float
    label: int
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float64]
    hop_ns: int | None
    inference_ns: int
    latency_ns: int
    settled: bool
    repaired: bool


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits (n_outputs,) to probabilities, in float64."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(powers / powers.sum())


def hop_samples(hop_ms: float, signal: SignalSpec) -> int:
    """A hop in samples at the contract's rate.

    Raises
    ------
    InputError
        Not a whole number of samples, or none.
    """
    exact = hop_ms * signal.sfreq / 1000
    n = round(exact)
    if n < 1 or abs(exact - n) > 1e-6:
        near = max(1, n) * 1000 / signal.sfreq
        raise InputError(
            f"hop is no whole number of samples at {signal.sfreq:g} Hz", where="--hop",
            value=f"{hop_ms:g} ms", todo=f"Take {near:g} ms.",
        )  # fmt: skip
    return n


class Decoder:
    """The whole way from samples to decisions, with its state.

    Parameters
    ----------
    sfreq : the stream's rate in Hz.
    hop : samples at the contract's rate from one window to the next.
    """

    def __init__(
        self, chain: Chain, model: Model, signal: SignalSpec, *, sfreq: float, hop: int
    ) -> None:
        self._chain, self._model, self._signal = chain, model, signal
        self._sfreq, self._hop = sfreq, hop
        self.repair = Repair(sfreq)
        self.busy_ns = 0
        self.samples = 0
        self._told_ns = self._made = 0
        self._restart(0.0)

    def _restart(self, seconds: float) -> None:
        self._chain.reset()
        self._window = Window(self._signal.n_chans, self._signal.n_times, self._hop)
        self._base, self._outputs, self._start, self._filled_until = seconds, 0, 0, -1
        self._held: list[NDArray[Any]] = []
        self._filled, self._due = False, self._signal.n_times

    @property
    def stream_seconds(self) -> float:
        """Signal seen so far, missing samples included."""
        return self.samples / self._sfreq

    def push(self, chunk: Chunk) -> Iterator[Decision]:
        """The decisions that a chunk (n_stream_chans, n) brings about, each when it is made."""
        begin = time.monotonic_ns()
        for segment in self.repair.push(chunk):
            for window in self._windows(segment):
                run = time.monotonic_ns()
                logits = self._model.logits(window)
                probabilities = softmax(logits)
                now = time.monotonic_ns()
                self.busy_ns += now - begin
                yield self._decision(logits, probabilities, now - run, now - chunk.arrived_ns)
                begin = time.monotonic_ns()  # what is done with a decision is not decoding
        self.busy_ns += time.monotonic_ns() - begin

    def _windows(self, segment: Segment) -> list[NDArray[np.float32]]:
        self.samples += segment.lost if segment.restart else 0
        if segment.restart:
            self._restart(self.stream_seconds)
        self.samples += segment.data.shape[1]
        self._held.append(segment.data)
        self._filled |= segment.filled > 0
        if self._may_wait():
            return []
        made = self._chain.push(np.hstack(self._held))
        self._outputs += made.shape[1]
        if self._filled:
            self._filled_until = self._outputs
        self._held, self._filled = [], False
        windows: list[NDArray[np.float32]] = self._window.push(made)
        self._due = self._window.skip + self._signal.n_times - self._window.held.shape[1]
        return windows

    def _may_wait(self) -> bool:
        """Whether the samples held cannot complete a window: sample by sample costs far more.

        n samples make less than n * ratio + 1 of the contract's.
        """
        n = sum(one.shape[1] for one in self._held)
        most = n * self._signal.sfreq / self._sfreq + 1
        return most < self._due and n < HELD_SECONDS * self._sfreq

    def _decision(
        self,
        logits: NDArray[np.float32],
        probabilities: NDArray[np.float64],
        inference_ns: int,
        latency_ns: int,
    ) -> Decision:
        start, sfreq = self._start, self._signal.sfreq
        self._start += self._hop
        hop_ns = self.busy_ns - self._told_ns if start else None
        self._told_ns = self.busy_ns
        self._made += 1
        return Decision(
            index=self._made - 1, start=start,
            seconds=self._base + (start + self._signal.n_times) / sfreq,
            label=int(np.argmax(logits)), logits=logits, probabilities=probabilities,
            hop_ns=hop_ns, inference_ns=inference_ns, latency_ns=latency_ns,
            settled=start / sfreq >= self._chain.facts.settle_seconds,
            repaired=start < self._filled_until,
        )  # fmt: skip
