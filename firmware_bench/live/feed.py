"""Chunks of a paced source through a bounded queue: who is too slow loses samples, counted."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Iterator

from firmware_bench.live.stream import Chunk, Source, empty

#: Signal that may wait; what comes on top of it is dropped.
MOST_SECONDS = 2.0
_WAIT_SECONDS = 0.1


class Feed:
    """A source's chunks, in order; the source starts with the block and is closed after it.

    A paced source is read by a thread of its own, at most `most_seconds` of signal ahead of who
    takes the chunks. When those are full the newest samples are dropped, and the next chunk that
    gets through says how many (:attr:`Chunk.lost`). Other sources are read when asked.
    """

    def __init__(self, source: Source, *, most_seconds: float = MOST_SECONDS) -> None:
        self._source = source
        self._most = max(1, round(most_seconds * source.info.sfreq))
        self._held: deque[Chunk] = deque()
        self._samples = self._lost = 0
        self._changed = threading.Condition()
        self._done = False
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Feed:
        self._source.start()
        if self._source.paced:
            self._thread = threading.Thread(target=self._fill, name="live-source", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._source.close()

    @property
    def lost(self) -> int:
        """Samples dropped and not yet told by a chunk."""
        return self._lost

    def stop(self) -> None:
        """End the iteration soon; safe in a signal handler."""
        self._stop.set()

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks until the source ends or :meth:`stop`; an empty one now and then while waiting."""
        while not self._stop.is_set():
            chunk = self._take() if self._source.paced else self._source.read()
            if chunk is None:
                return
            yield chunk

    def _take(self) -> Chunk | None:
        with self._changed:
            if not self._held and not self._done:
                self._changed.wait(_WAIT_SECONDS)
            if self._held:
                chunk = self._held.popleft()
                self._samples -= chunk.n
                return chunk
            if self._error is not None:
                raise self._error
            if self._done:
                return None
        return empty(len(self._source.info.ch_names))

    def _fill(self) -> None:
        try:
            while not self._stop.is_set():
                chunk = self._source.read()
                if chunk is None:
                    break
                self._put(chunk)
        except BaseException as err:  # the one who takes the chunks raises it
            self._error = err
        with self._changed:
            self._done = True
            self._changed.notify()

    def _put(self, chunk: Chunk) -> None:
        if chunk.n == 0:
            return
        with self._changed:
            if self._held and self._samples + chunk.n > self._most:
                self._lost += chunk.n
                return
            if self._lost:
                chunk = dataclasses.replace(chunk, lost=chunk.lost + self._lost)
                self._lost = 0
            self._held.append(chunk)
            self._samples += chunk.n
            self._changed.notify()
