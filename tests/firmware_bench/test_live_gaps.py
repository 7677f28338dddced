"""Missing, repeated and broken samples."""

import numpy as np
import pytest

from firmware_bench.live.gaps import Repair
from firmware_bench.live.stream import Chunk

SFREQ = 100.0


def chunks(numbers, size, kind):
    """Samples whose value is their number, in chunks of `size`."""
    numbers = np.asarray(numbers)
    for k in range(0, len(numbers), size):
        part = numbers[k : k + size]
        extra = {"counters": part % 256} if kind == "counters" else {"times": 7 + part / SFREQ}
        yield Chunk(part[None].astype(float), **extra)


def through(repair, parts):
    segments = [segment for part in parts for segment in repair.push(part)]
    return np.hstack([segment.data[0] for segment in segments]), segments


@pytest.mark.parametrize("kind", ["counters", "times"])
@pytest.mark.parametrize("size", [1, 7, 600])
def test_gaps_are_filled_by_the_sample_before_and_duplicates_removed(kind, size):
    sent = np.delete(np.arange(600), [20, 300, 301, 302])
    sent = np.insert(sent, 100, sent[99])
    repair = Repair(SFREQ)
    got, _ = through(repair, chunks(sent, size, kind))
    expected = np.arange(600)
    expected[20], expected[300:303] = 19, 299
    assert got.tolist() == expected.tolist()
    counts = repair.counts
    assert (counts.dropped, counts.filled, counts.duplicates) == (4, 4, 1)
    assert counts.restarts == 0
    assert repair.seen_by == {"counters": "counters", "times": "timestamps"}[kind]


def test_a_long_gap_starts_anew_and_says_how_long_it_was():
    sent = np.r_[0:50, 150:180]
    repair = Repair(SFREQ)
    got, segments = through(repair, chunks(sent, 60, "times"))
    assert got.tolist() == sent.tolist()
    assert [(s.restart, s.lost) for s in segments] == [(False, 0), (True, 100), (False, 0)]
    assert (repair.counts.restarts, repair.counts.dropped, repair.counts.filled) == (1, 100, 0)


@pytest.mark.parametrize("drift", [-1e-4, 0, 1e-4])
def test_bursts_and_a_drifting_clock_are_no_gaps_and_hide_none(drift):
    n = np.delete(np.arange(60_000), 40_000)
    # Ten samples at a time, stamped on arrival; the clock is 100 ppm off.
    times = (n // 10 * 10 + 9) / (SFREQ * (1 + drift))
    times += 3e-4 * np.random.default_rng(0).standard_normal(len(times))
    repair = Repair(SFREQ)
    repair.push(Chunk(n[None].astype(float), times=times))
    assert (repair.counts.dropped, repair.counts.duplicates) == (1, 0)


def test_a_counter_may_step_by_two_and_start_anew():
    repair = Repair(SFREQ)
    values = np.r_[0:80:2, 84:120:2]
    repair.push(Chunk(np.zeros((1, len(values))), counters=values))
    assert repair.counts.dropped == 2
    wide = Repair(SFREQ)
    values = np.r_[300:340, 0:40]
    wide.push(Chunk(np.zeros((1, len(values))), counters=values))
    assert (wide.counts.dropped, wide.counts.duplicates) == (0, 0)


def test_samples_that_are_no_numbers_are_filled():
    repair = Repair(SFREQ)
    data = np.array([[1.0, np.nan, 3.0, 4.0], [5.0, 6.0, np.inf, 8.0]])
    (segment,) = repair.push(Chunk(data))
    assert segment.data.tolist() == [[1, 1, 1, 4], [5, 5, 5, 8]]
    assert (repair.counts.not_finite, repair.counts.filled, segment.filled) == (2, 2, 2)
    assert repair.seen_by == "nothing"


def test_a_gap_may_end_in_a_later_chunk():
    repair = Repair(SFREQ)
    repair.push(Chunk(np.ones((1, 2))))
    assert repair.push(Chunk(np.full((1, 3), np.nan))) == []
    (segment,) = repair.push(Chunk(np.full((1, 1), 9.0)))
    assert segment.data.tolist() == [[1, 1, 1, 9]]


def test_what_our_queue_dropped_is_not_blamed_on_the_stream():
    repair = Repair(SFREQ)
    repair.push(Chunk(np.zeros((1, 3)), times=np.array([0.0, 0.01, 0.02])))
    (segment,) = repair.push(Chunk(np.ones((1, 1)), times=np.array([0.08]), lost=4))
    assert segment.data.tolist() == [[0, 0, 0, 0, 0, 1]]
    assert (repair.counts.overrun, repair.counts.dropped) == (4, 1)
