"""Multipliers: exact fixed-point forms of real ratios, and TFLite's quirks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.c import requant

quick = settings(max_examples=200, deadline=None, derandomize=True, database=None)
scale = st.floats(2**-12, 2**8, width=32).map(np.float32)


@quick
@given(st.floats(2.0**-31, 2.0**29))
def test_multiplier_is_within_half_a_unit(real):
    multiplier, shift = requant.quantize_multiplier(real)
    assert 2**30 <= multiplier < 2**31
    error = Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)
    assert abs(error) <= Fraction(2) ** (shift - 32)


def test_multiplier_at_the_edges():
    assert requant.quantize_multiplier(0.0) == (0, 0)
    assert requant.quantize_multiplier(1.0) == (2**30, 1)
    assert requant.quantize_multiplier(1 - 2.0**-40) == (2**30, 1)  # rounds up to a power of two
    assert requant.quantize_multiplier(2.0**-33) == (0, 0)
    for bad in (-1.0, float("nan"), float("inf"), 2.0**31):
        with pytest.raises(ValueError, match="multiplier"):
            requant.quantize_multiplier(bad)


@quick
@given(scale, scale, scale)
def test_wide_multiplier_is_the_double_itself(a, b, c):
    real = float(a) * float(b) / float(c)
    [(high, low, shift)] = requant.wide_multipliers(a, np.array([b]), c)
    if shift or high:
        exact = Fraction(high) + Fraction(low, 2**22)
        assert exact * Fraction(2) ** (shift - 31) == Fraction(real)
    else:
        assert real < 2.0**-32


def test_fully_connected_with_one_scale_rounds_the_product_to_float32():
    a, b, c = np.float32(0.1), np.array([0.3], np.float32), np.float32(0.7)
    single = requant.fully_connected_multipliers(a, b, c)
    assert single != requant.conv_multipliers(a, b, c)
    two = np.repeat(b, 2)
    assert requant.fully_connected_multipliers(a, two, c) == requant.conv_multipliers(a, two, c)


@quick
@given(scale, scale, st.integers(1, 10**6))
def test_mean_multiplier_holds_the_count(a, b, count):
    multiplier, shift = requant.mean_multiplier(a, b, count)
    assert 0 <= multiplier < 2**31
    assert -31 <= shift <= 30
    if shift > -31:
        real = float(a) / float(b) / count
        assert multiplier * 2.0 ** (shift - 31) == pytest.approx(real, rel=1e-8)


def test_add_multipliers_stay_below_one_or_are_refused():
    pairs = requant.add_multipliers(np.float32(0.1), np.float32(0.02), np.float32(0.05))
    assert all(shift <= 0 for _, shift in pairs)
    assert pairs[0] == (2**30, 0)  # the larger scale: exactly one half
    with pytest.raises(ValueError, match="2\\^-19"):
        requant.add_multipliers(np.float32(1), np.float32(1), np.float32(2**-20))


def test_narrow_multipliers():
    pairs = [(2**30, 0), (2**31 - 1, 7), (0x40008000, -31), (0x40007FFF, -31)]
    assert requant.narrow_multipliers(pairs) == [
        (2**14, 15),
        (0x7FFF, 8),
        (0x4001, 46),
        (0x4000, 46),
    ]
    with pytest.raises(ValueError, match="2\\^7"):
        requant.narrow_multipliers([(2**30, 8)])


def test_int16_ranges_and_sums():
    assert requant.activation_range("NONE", np.float32(1), 0, "int16") == (-32768, 32767)
    assert requant.activation_range("RELU6", np.float32(0.001), 0, "int16") == (0, 6000)
    scales = np.float32(1), np.float32(1), np.float32(2**-15)
    assert requant.add_multipliers(*scales)[2][1] == -3
    with pytest.raises(ValueError, match="2\\^-14"):
        requant.add_multipliers(*scales, "int16")


def test_softmax_parameters():
    multiplier, shift, lowest = requant.softmax_parameters(np.float32(0.1), 1.0)
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(0.1 * 2**26)
    assert lowest == -248  # 31 * 2^26 / 2^23
    assert requant.softmax_parameters(np.float32(2**10), 1.0) == (2**31 - 1, 31, 0)
    with pytest.raises(ValueError, match="2\\^-26"):
        requant.softmax_parameters(np.float32(2**-27), 1.0)


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "expected"),
    [
        ("NONE", 0.1, 3, (-128, 127)),
        ("RELU", 0.1, 3, (3, 127)),
        ("RELU", 0.1, -128, (-128, 127)),
        ("RELU6", 6 / 255, -128, (-128, 127)),
        ("RELU6", 0.1, -128, (-128, -68)),
        ("RELU6", 4.0, 0, (0, 2)),  # 1.5 goes away from zero
    ],
)
def test_activation_range(activation, scale, zero_point, expected):
    assert requant.activation_range(activation, np.float32(scale), zero_point) == expected
