"""Robust summaries, and an interleaved ratio that survives a machine others use."""

import numpy as np
import pytest

from firmware_bench.stats import median_interval, ratio, summary


def test_summary_of_known_times():
    found = summary([*range(1, 101)])
    assert (found.count, found.median, found.p90, found.p99, found.worst) == (
        100,
        50.5,
        90,
        99,
        100,
    )
    assert found.mad == 25


def test_summary_ignores_a_tail_where_a_mean_would_not():
    times = [1.0] * 98 + [500.0, 1000.0]
    found = summary(times)
    assert (found.median, found.mad, found.p90) == (1.0, 0.0, 1.0)
    assert (found.p99, found.worst) == (500.0, 1000.0)


def test_nothing_to_summarise_is_refused():
    with pytest.raises(ValueError, match="no runs"):
        summary([])


def blocks(rng, base, drift):
    return [base * slow * (1 + 0.02 * rng.standard_normal(10)) for slow in drift]


def test_ratio_is_right_although_the_machine_slows_down_threefold():
    rng = np.random.default_rng(1)
    drift = np.linspace(1, 3, 20)
    value, interval = ratio(blocks(rng, 30.0, drift), blocks(rng, 2.0, drift))
    assert value == pytest.approx(15, rel=0.02)
    assert interval.low < 15 < interval.high
    assert interval.high - interval.low < 0.6


def test_ratio_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        drift = rng.uniform(1, 2, 20)
        noise = 1 + 0.1 * rng.standard_normal(20)
        _, interval = ratio(blocks(rng, 10.0, drift * noise), blocks(rng, 2.0, drift))
        hits += interval.low <= 5 <= interval.high
    assert hits >= 180


def test_ratio_is_reproducible_and_wants_pairs():
    a, b = [[1.0, 2.0]] * 5, [[1.0, 1.0]] * 5
    assert ratio(a, b) == ratio(a, b)
    with pytest.raises(ValueError, match="5 blocks against 4"):
        ratio(a, b[:4])


def test_median_interval_widens_with_differences_between_blocks():
    rng = np.random.default_rng(3)
    calm = median_interval(blocks(rng, 1.0, np.ones(20)))
    wild = median_interval(blocks(rng, 1.0, rng.uniform(1, 2, 20)))
    assert calm.low < 1 < calm.high
    assert wild.high - wild.low > 10 * (calm.high - calm.low)
