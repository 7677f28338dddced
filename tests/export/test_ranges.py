"""Running ranges against NumPy on all values at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.ranges import BINS, RunningRange


def made(pieces):
    found = RunningRange()
    for piece in pieces:
        found.add(np.asarray(piece, np.float32))
    return found


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32), max_size=20), min_size=1, max_size=8).filter(
        any
    )
)
def test_all_of_it_is_the_extremes_however_it_is_cut(pieces):
    values = np.concatenate([np.asarray(p, np.float32) for p in pieces])
    assert made(pieces).within(100.0) == (float(values.min()), float(values.max()))


@pytest.mark.parametrize("percentile", [99.99, 99.0, 90.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 700.0])
def test_quantiles_are_numpys_within_a_bin(percentile, scale):
    rng = np.random.default_rng(0)
    pieces = [scale * rng.standard_normal(1000) * (1 + k) for k in range(20)]  # growing spans
    values = np.concatenate(pieces)
    low, high = made(pieces).within(percentile)
    want = np.percentile(values, [100 - percentile, percentile])
    bin_width = 4 * np.abs(values).max() / BINS
    # Between the values around the quantile there is room in the sparse tails.
    ordered = np.sort(values)
    room = np.diff(ordered)[[1, -2]].max() + bin_width
    assert abs(low - want[0]) <= room
    assert abs(high - want[1]) <= room


def test_one_blink_in_a_hundred_thousand_is_left_out():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(100_000)
    values[5] = 50.0
    low, high = made([values]).within(99.99)
    assert -5 < low < -3 < 3 < high < 5
    assert made([values]).within(100.0)[1] == 50.0


def test_zeros_and_one_sided_values_keep_their_end():
    assert made([[0.0, 0.0]]).within(99.9) == (0.0, 0.0)
    low, high = made([np.linspace(0, 6, 5000)]).within(99.99)
    assert low == 0.0
    assert high == pytest.approx(6.0, abs=0.01)
