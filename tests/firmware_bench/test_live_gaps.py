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


def count(counters, data=None):
    """What a repair says of these numbers."""
    counters = np.asarray(counters)
    repair = Repair(SFREQ)
    data = np.arange(len(counters))[None].astype(float) if data is None else data
    for k in range(0, len(counters), 7):
        repair.push(Chunk(data[:, k : k + 7], counters=counters[k : k + 7]))
    return repair.counts.dropped, repair.counts.duplicates


@pytest.mark.parametrize(("greatest", "step"), [(200, 1), (255, 1), (255, 5), (65535, 1)])
def test_counters_wrap_where_the_board_says(greatest, step):
    numbers = np.arange(0, 3 * (greatest + step), step) % (greatest + step)
    assert count(numbers) == (0, 0)
    # Two samples within the second round, and one at the third wrap.
    one_round = greatest // step + 1
    gone = [one_round + 9, one_round + 10, 2 * one_round]
    assert count(np.delete(numbers, gone)) == (3, 0)


def test_a_counter_that_starts_anew_loses_nothing_known():
    assert count(np.r_[300:340, 0:40]) == (0, 0)


def test_samples_of_one_packet_may_share_a_number():
    assert count(np.repeat(np.arange(50), 2)) == (0, 0)
    assert count(np.repeat(np.arange(50), 2), np.repeat(np.arange(50.0), 2)[None]) == (0, 50)


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
