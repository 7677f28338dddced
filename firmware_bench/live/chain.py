"""From a stream's samples to the model's input: the causal preprocessor, or none if prepared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from distill.signal import SignalSpec
from export.preprocess import Preprocessor, design
from export.preprocess.replaying import DEFINITION
from export.preprocess.response import delay_seconds, settle_seconds
from export.preprocess.streaming import Streaming
from firmware_bench.artefact import Artefact
from firmware_bench.live.contract import Entrance
from firmware_bench.live.stream import StreamInfo

Floats = NDArray[np.float32]
Kind = Literal["iir", "fir"]


class Chain(Protocol):
    """Samples (n_stream_chans, n) -> model input (n_chans, m), float32."""

    @property
    def facts(self) -> ChainFacts:
        """What it is and what it delays."""

    def push(self, data: NDArray[Any]) -> Floats:
        """What has become due."""

    def reset(self) -> None:
        """Forget all samples."""


@dataclass(frozen=True)
class ChainFacts:
    """`origin`: "artefact", "designed here" or "offline"; `note` says why.

    `delay_seconds` is the group delay that the chain states of itself; `settle_seconds` is how long
    a start from nothing shows.
    """

    origin: str
    kind: str
    delay_seconds: float
    settle_seconds: float
    definition: str | None = None
    note: str = ""


class Causal:
    """The streaming preprocessor behind the entrance."""

    def __init__(self, preprocessor: Preprocessor, entrance: Entrance, facts: ChainFacts) -> None:
        self._entrance, self._facts = entrance, facts
        self._streaming = Streaming(preprocessor.to_dict())

    @property
    def facts(self) -> ChainFacts:
        """What it is and what it delays."""
        return self._facts

    def push(self, data: NDArray[Any]) -> Floats:
        """Samples of the stream -> what has become due of the model's input."""
        return np.asarray(self._streaming.push(self._entrance.microvolts(data)), np.float32)

    def reset(self) -> None:
        """Forget all samples."""
        self._streaming.reset()


@dataclass(frozen=True)
class Prepared:
    """A stream that already is the model's input: the offline chain saw all of it."""

    facts: ChainFacts = field(
        default_factory=lambda: ChainFacts(
            "offline", "zero-phase", 0.0, 0.0, note="looks at the whole recording: no device can"
        )
    )

    def push(self, data: NDArray[Any]) -> Floats:
        """Round to float32, as :func:`distill.recordings.cut` does."""
        return np.asarray(data).astype(np.float32)

    def reset(self) -> None:
        """There is nothing to forget."""


def build(
    artefact: Artefact,
    signal: SignalSpec,
    info: StreamInfo,
    entrance: Entrance,
    kind: Kind | None = None,
) -> Chain:
    """The artefact's own chain where it has one for this rate (and `kind`), else one designed here.

    Only rate and kind matter: order, names and unit of the channels are the entrance's business,
    and every stage is linear and the same for each channel.
    """
    if info.prepared:
        return Prepared()
    path = artefact.path / DEFINITION
    own = Preprocessor.read(path) if path.exists() else None
    here = {"input_ch_names": signal.ch_names, "input_unit": "uV", "uv_per_count": None}
    if own is not None and own.input_sfreq == info.sfreq and kind in (None, own.kind):
        picks = tuple(range(signal.n_chans))
        mine = Preprocessor(**{**dict(own), **here, "picks": picks})
        origin, note, definition = "artefact", "", own.hash
    else:
        mine = design(signal, input_sfreq=info.sfreq, input_unit="uV", kind=kind or "iir")
        note = "the artefact has none"
        if own is not None:
            note = f"the artefact's is {own.kind} for {own.input_sfreq:g} Hz"
        origin, definition = "designed here", mine.hash
    facts = ChainFacts(
        origin, mine.kind, delay_seconds(mine), settle_seconds(mine), definition, note
    )
    return Causal(mine, entrance, facts)
