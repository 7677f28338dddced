"""The bounded queue between a paced source and the decoder."""

import io
import threading
import time

import numpy as np
import pytest
from live_rig import SIGNAL, artefact
from rich.console import Console

from firmware_bench import artefact as artefacts
from firmware_bench.live import run as running
from firmware_bench.live.feed import Feed
from firmware_bench.live.stream import Chunk, StreamInfo
from firmware_bench.live.view import print_summary
from targets.errors import InputError


class Counting:
    """Numbers in chunks of ten, as fast as they are read; `fails` after the last one."""

    def __init__(self, n: int, *, paced: bool = True, fails: bool = False) -> None:
        self.paced, self.n, self.fails = paced, n, fails
        self.info = StreamInfo("test", "counting", ("C3",), 100.0, ("uV",))
        self.made = 0
        self.done, self.closed = threading.Event(), False

    def start(self) -> None:
        pass

    def read(self) -> Chunk | None:
        if self.made == self.n:
            self.done.set()
            if self.fails:
                raise InputError("the board went away")
            return None
        self.made += 10
        return Chunk(np.arange(self.made - 10.0, self.made)[None])

    def close(self) -> None:
        self.closed = True


class Silent(Counting):
    """Sends nothing."""

    def read(self) -> Chunk | None:
        time.sleep(0.01)
        return Chunk(np.zeros((1, 0)))


def test_a_slow_consumer_loses_samples_and_memory_stays_bounded():
    source = Counting(5000)
    with Feed(source, most_seconds=2.0) as feed:
        chunks = iter(feed)
        first = next(chunks)
        assert source.done.wait(5)
        rest = list(chunks)
    assert source.closed
    got = sum(chunk.n for chunk in (first, *rest))
    assert got <= 200 + 20
    assert got + sum(chunk.lost for chunk in rest) + feed.lost == 5000


def test_the_next_chunk_that_gets_through_tells_the_loss():
    feed = Feed(Counting(10), most_seconds=0.2)
    for k in range(4):
        feed._put(Chunk(np.full((1, 10), float(k))))
    assert feed.lost == 20
    assert [feed._take().data[0, 0] for _ in range(2)] == [0, 1]
    feed._put(Chunk(np.full((1, 10), 9.0)))
    chunk = feed._take()
    assert (chunk.lost, chunk.data[0, 0], feed.lost) == (20, 9, 0)


def test_an_unpaced_source_waits_and_loses_nothing():
    with Feed(Counting(3000, paced=False), most_seconds=0.1) as feed:
        values = np.hstack([chunk.data[0] for chunk in feed])
    assert values.tolist() == list(range(3000))


def test_an_error_of_the_source_reaches_the_consumer_after_its_samples():
    source = Counting(50, fails=True)
    seen = []

    def take():
        with Feed(source) as feed:
            for chunk in feed:
                seen.append(chunk.n)

    with pytest.raises(InputError, match="went away"):
        take()
    assert sum(seen) == 50
    assert source.closed


def test_stop_ends_the_wait_for_a_silent_source():
    source = Silent(10)
    with Feed(source) as feed:
        threading.Timer(0.1, feed.stop).start()
        begin = time.monotonic()
        assert all(chunk.n == 0 for chunk in feed)
    assert time.monotonic() - begin < 2
    assert source.closed


def test_a_stream_that_falls_silent_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SILENT_SECONDS", 0.2)
    signal = SIGNAL.model_copy(update={"ch_names": ("C3",)})
    opened = artefacts.load(artefact(tmp_path / "artefact", signal))
    found = running.run(opened, Silent(10), running.Options(seconds=1), Console(), quiet=True)
    assert found.summary["ended"] == "no sample for 0.2 s"
    assert found.summary["decisions"] == 0
    assert found.summary["times_ms"] == {}
    print_summary(Console(file=io.StringIO()), found.summary)
