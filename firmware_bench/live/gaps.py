"""Samples that did not come, came twice or are no numbers: counted, and the clock kept right.

A sample that is missing is filled by the one before it, so that filters and windows keep their
time. After a long gap everything starts anew.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firmware_bench.live.stream import Array, Chunk

#: A longer gap is not filled: the chain starts anew behind it.
MOST_FILLED_SECONDS = 0.5
#: A clock this much faster than the nominal rate is still followed: 0.1 %.
_DRIFT = 1e-3
_DUPLICATE = -1
#: Steps of a counter from which the usual one is learnt.
_LEARN = 16


@dataclass
class Counts:
    """What went wrong with the samples of a stream.

    `dropped` by the stream, `overrun` dropped by our own full queue, `duplicates` removed,
    `not_finite` NaN or infinite, `filled` in place of missing ones, `restarts` after long gaps.
    """

    dropped: int = 0
    overrun: int = 0
    duplicates: int = 0
    not_finite: int = 0
    filled: int = 0
    restarts: int = 0


@dataclass(frozen=True)
class Segment:
    """Samples (n_chans, n) without gaps, `filled` of them repeated; `lost` before a restart."""

    data: Array
    filled: int = 0
    restart: bool = False
    lost: int = 0


class Stamps:
    """Missing samples by timestamps.

    `lag` is by how many samples the stamps have run ahead of the samples. Samples sent in bursts
    let it fall and rise again, so only what goes well beyond its latest peak is a gap.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq, self._lag, self._peak = sfreq, 0.0, 0.0
        self._last: tuple[float, Array] | None = None

    def missing(self, times: Array, data: Array) -> NDArray[np.int64]:
        """Samples missing before each of `times` (n,); -1 for a duplicate: same time and values."""
        found = np.zeros(len(times), np.int64)
        for k, now in enumerate(times):
            if self._last is not None:
                then, values = self._last
                if now <= then and np.array_equal(values, data[:, k], equal_nan=True):
                    found[k] = _DUPLICATE
                    continue
                self._lag += (now - then) * self._sfreq - 1
                beyond = self._lag - self._peak
                if beyond > 0.75:
                    found[k] = max(1, round(beyond))
                    self._lag -= found[k]
                self._peak = max(self._peak - _DRIFT, self._lag)
            self._last = (float(now), data[:, k].copy())
        return found


class Numbers:
    """Missing samples by the device's own counter.

    Boards count by one or two, to 200, 255 or 65535: step and greatest number are learnt.
    """

    def __init__(self) -> None:
        self._last: tuple[int, Array] | None = None
        self._steps: Counter[int] = Counter()
        self._greatest = 0

    def missing(self, counters: Array, data: Array) -> NDArray[np.int64]:
        """Samples missing before each of `counters` (n,); -1 for a duplicate: same number, values.

        Some boards give the samples of one packet the same number; their values differ.
        """
        if len(counters) == 0:
            return np.zeros(0, np.int64)
        number, values = self._last or (int(counters[0]), np.full((len(data), 1), np.nan))
        steps = np.diff(counters, prepend=number)
        same = (np.diff(data, axis=1, prepend=values) == 0).all(axis=0)
        self._greatest = max(self._greatest, int(np.max(counters)), number)
        if self._steps.total() < _LEARN:
            self._steps.update(int(one) for one in steps if one > 0)
        step = self._steps.most_common(1)[0][0] if self._steps else 1
        forward = np.where(steps < 0, steps + self._greatest + step, steps)
        found = np.maximum(forward // step - 1, 0)
        found[(steps == 0) & same] = _DUPLICATE
        self._last = int(counters[-1]), data[:, -1:].copy()
        return found.astype(np.int64)


@dataclass
class Repair:
    """From chunks to gapless segments.

    Parameters
    ----------
    sfreq : the stream's rate in Hz.
    """

    sfreq: float
    counts: Counts = field(default_factory=Counts)
    seen_by: str = "nothing"

    def __post_init__(self) -> None:
        self._stamps, self._numbers = Stamps(self.sfreq), Numbers()
        self._last: Array | None = None
        self._owed = 0
        self._most = round(MOST_FILLED_SECONDS * self.sfreq)

    def push(self, chunk: Chunk) -> list[Segment]:
        """Segments of one chunk, usually one; a restart stands before the samples it precedes."""
        missing = self._missing(chunk)
        if chunk.lost:
            self.counts.overrun += chunk.lost
            # The stream's own count has these as well.
            known = min(chunk.lost, int(missing[0])) if chunk.n and missing[0] > 0 else 0
            if chunk.n:
                missing[0] = max(0, missing[0]) - known
        self._owed += chunk.lost
        finite = np.asarray(np.isfinite(chunk.data).all(axis=0))
        self.counts.dropped += int(missing[missing > 0].sum())
        self.counts.duplicates += int((missing < 0).sum())
        self.counts.not_finite += int((~finite & (missing >= 0)).sum())
        if self._owed == 0 and finite.all() and not missing.any():
            if chunk.n:
                self._last = chunk.data[:, -1:]
            return [Segment(chunk.data)]
        return self._mend(chunk.data, missing, finite)

    def _missing(self, chunk: Chunk) -> NDArray[np.int64]:
        if chunk.counters is not None:
            self.seen_by = "counters"
            return self._numbers.missing(chunk.counters, chunk.data)
        if chunk.times is not None:
            self.seen_by = "timestamps"
            return self._stamps.missing(chunk.times, chunk.data)
        return np.zeros(chunk.n, np.int64)

    def _mend(
        self, data: Array, missing: NDArray[np.int64], finite: NDArray[np.bool_]
    ) -> list[Segment]:
        segments: list[Segment] = []
        pieces: list[Array] = []
        filled, restart, lost = 0, False, 0
        for k in range(data.shape[1]):
            if missing[k] == _DUPLICATE:
                continue
            self._owed += int(missing[k])
            if not finite[k]:
                self._owed += 1
                continue
            if self._owed > self._most or (self._owed and self._last is None):
                if pieces:
                    segments.append(Segment(np.hstack(pieces), filled, restart, lost))
                self.counts.restarts += self._last is not None
                pieces, filled, restart, lost = [], 0, True, self._owed
            elif self._owed and self._last is not None:
                pieces.append(np.repeat(self._last, self._owed, axis=1))
                filled += self._owed
                self.counts.filled += self._owed
            self._owed = 0
            self._last = data[:, k : k + 1]
            pieces.append(self._last)
        if pieces:
            segments.append(Segment(np.hstack(pieces), filled, restart, lost))
        return segments
