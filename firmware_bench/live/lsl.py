"""A stream of the Lab Streaming Layer (extra `lsl`)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from firmware_bench.live.stream import Chunk, StreamInfo, empty, unit_of
from targets.errors import InputError

_WAIT_SECONDS = 0.1
_MOST = 4096


class Lsl:
    """The stream of one name in the network; clocks of the two machines are aligned by LSL.

    Parameters
    ----------
    name : its name.
    timeout : seconds to look for it.
    ch_names : its channels, where the outlet does not name them or names others.

    Raises
    ------
    InputError
        pylsl is not installed, no such stream, several, one without a rate, or of text.
    """

    paced = True

    def __init__(self, name: str, *, timeout: float = 5.0, ch_names: tuple[str, ...] = ()) -> None:
        try:
            import pylsl
            import pylsl.util
        except (ImportError, RuntimeError) as err:  # RuntimeError: the library itself is missing
            raise InputError(
                f"pylsl cannot be used: {err}", where="--lsl",
                todo='Install the extra: pip install -e ".[lsl]".',
            ) from None  # fmt: skip
        # LSL's own log would run through the view; what fails is raised.
        pylsl.set_config_content("[log]\nlevel = -3\n")
        # A second one of that name shows only to those who wait for it.
        found = pylsl.resolve_byprop("name", name, minimum=2, timeout=min(timeout, 1.0))
        found = found or pylsl.resolve_byprop("name", name, timeout=timeout)
        if len(found) != 1:
            raise InputError(
                f"{'several streams have' if found else 'no stream has'} this name", where="--lsl",
                value=name, todo="Start the outlet, and give it a name of its own.",
            )  # fmt: skip
        self._lost: type[Exception] = pylsl.util.LostError
        # Seconds held by LSL itself while nobody reads; our own queue counts what it drops.
        self._inlet = pylsl.StreamInlet(
            found[0], max_buflen=10, recover=False, processing_flags=pylsl.proc_clocksync
        )
        described = self._inlet.info(timeout=timeout)
        if described.channel_format() == pylsl.cf_string:
            raise InputError("the stream carries text, not samples", where="--lsl", value=name)
        self._info = _describe(name, described, ch_names)

    @property
    def info(self) -> StreamInfo:
        """Channels, rate and units, as the outlet's description says."""
        return self._info

    def start(self) -> None:
        """Begin to receive."""
        self._inlet.open_stream(timeout=5.0)

    def read(self) -> Chunk | None:
        """What has come; waits for the first sample only."""
        n_chans = len(self.info.ch_names)
        try:
            sample, stamp = self._inlet.pull_sample(timeout=_WAIT_SECONDS)
            if sample is None:
                return empty(n_chans)
            more, stamps = self._inlet.pull_chunk(timeout=0.0, max_samples=_MOST)
        except self._lost:
            return None
        arrived = time.monotonic_ns()
        rows = np.asarray([sample, *more], np.float64)
        return Chunk(rows.T, arrived, times=np.asarray([stamp, *stamps], np.float64))

    def close(self) -> None:
        """Leave the stream."""
        self._inlet.close_stream()


def _describe(name: str, found: Any, ch_names: tuple[str, ...]) -> StreamInfo:
    n_chans = found.channel_count()
    labels = ch_names or found.get_channel_labels() or []
    if len(labels) != n_chans or not all(labels):
        raise InputError(
            "the stream needs one name for each of its channels", where=f"--lsl {name}",
            value=len(list(filter(None, labels))), limit=n_chans,
            todo="Let the outlet describe them (channels / channel / label), or use --ch-names.",
        )  # fmt: skip
    units = found.get_channel_units() or [None] * n_chans
    return StreamInfo(
        "lsl", name, tuple(labels), float(found.nominal_srate()), tuple(map(unit_of, units))
    )
