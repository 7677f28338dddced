"""Sums, products, copies and tables against the reference, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from build import T, build, constant, options
from hypothesis import given
from hypothesis import strategies as st
from oracles import bytes_like, micro, ours, reference
from test_kernels import VECTORS, activations, assert_exact, few, quantised, scales, seeds

from export.c import tables
from export.runtimes import TfliteModel
from targets.errors import InputError

shapes = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))


@st.composite
def broadcasts(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A shape, and one that is broadcast with it: axes of 1, or fewer of them."""
    shape = draw(shapes)
    ones = draw(st.sampled_from([0b0000, 0b1110, 0b1111, 0b0001, 0b0110, 0b1010, 0b0101]))
    other = tuple(1 if ones >> (3 - i) & 1 else n for i, n in enumerate(shape))
    other = other[draw(st.integers(0, 4)) :]
    return (other, shape) if draw(st.integers(0, 3)) == 0 else (shape, other)


def _operands(rng, shape, other, q_a, q_b, *, second_first):
    """Random bytes, the second operand constant; which of them comes first."""
    x = T(shape, q_a[0], q_a[1])
    b = constant(rng.integers(-128, 128, other, dtype=np.int8), q_b[0], q_b[1])
    return x, [b, x] if second_first else [x, b]


@few
@given(broadcasts(), quantised, quantised, scales, activations, st.booleans(), seeds)
def test_broadcast_add(pair, q_a, q_b, s_out, act, second_first, seed):
    rng = np.random.default_rng(seed)
    x, operands = _operands(rng, *pair, q_a, q_b, second_first=second_first)
    y = T(np.broadcast_shapes(*pair), s_out, q_a[2])
    model = build("ADD", operands, y, options("Add", fusedActivationFunction=act))
    assert_exact(model, x, rng)


@few
@given(broadcasts(), quantised, quantised, activations, st.booleans(), seeds)
def test_mul(pair, q_a, q_b, act, second_first, seed):
    rng = np.random.default_rng(seed)
    x, operands = _operands(rng, *pair, q_a, q_b, second_first=second_first)
    y = T(np.broadcast_shapes(*pair), np.float32(q_a[0]) * np.float32(q_b[0]) * 70, q_a[2])
    model = build("MUL", operands, y, options("Mul", fusedActivationFunction=act))
    assert_exact(model, x, rng, wheel=False)
    inputs = bytes_like(rng, VECTORS, int(np.prod(x.shape)))
    expected = micro(model, inputs, x.shape)
    np.testing.assert_array_equal(ours(model, inputs, fc_rounding="micro"), expected)


@few
@given(quantised, seeds, st.floats(2**-9, 30, width=32))
def test_mul_of_a_tensor_with_itself(q, seed, ratio):
    """Also with multipliers above 1."""
    scale, zero_point, zp_out = q
    x = T((1, 5, 40), scale, zero_point)
    y = T(x.shape, np.float32(scale) * np.float32(scale) * np.float32(ratio), zp_out)
    model = build("MUL", [x, x], y, options("Mul"))
    assert_exact(model, x, np.random.default_rng(seed), wheel=False)


@pytest.mark.parametrize(
    ("scales", "a", "b", "expected"),
    [
        ((0.8503472805023193, 0.34607231616973877, 20.758071899414062), -108, -48, (74, 73)),
        ((0.008163332007825375, 0.1194658875465393, 0.09254194796085358), -128, -53, (72, 71)),
    ],
)
def test_mul_where_the_references_part(scales, a, b, expected):
    """LiteRT forms the ratio of scales in float32, TFLite Micro in double precision."""
    x, y = T((1, 1), scales[0], 0), T((1, 1), scales[2], 0)
    model = build("MUL", [x, constant(np.array([[b]], np.int8), scales[1])], y, options("Mul"))
    row = np.array([[a]], np.int8)
    assert (reference(model, row).item(), micro(model, row, (1, 1)).item()) == expected
    assert (ours(model, row).item(), ours(model, row, fc_rounding="micro").item()) == expected


@few
@given(
    shapes,
    st.integers(-4, 3),
    st.lists(st.integers(0, 4), min_size=1, max_size=5),
    quantised,
    seeds,
)
def test_concatenation(shape, axis, sizes, q, seed):
    """The varying input (0) among constants of other sizes, at any place, more than once."""
    scale, zero_point, _ = q
    rng = np.random.default_rng(seed)
    x = T(shape, scale, zero_point)
    inputs = []
    for size in (*sizes, 0):
        other = list(shape)
        other[axis] = size
        values = rng.integers(-128, 128, other, dtype=np.int8)
        inputs.append(constant(values, scale, zero_point) if size else x)
    out = list(shape)
    out[axis] = sum(t.shape[axis] for t in inputs)
    y = T(tuple(out), scale, zero_point)
    model = build("CONCATENATION", inputs, y, options("Concatenation", axis=axis))
    assert_exact(model, x, rng, wheel=len(inputs) <= 10, vectors=5)


@few
@given(quantised, scales, seeds)
def test_quantize(q, s_out, seed):
    s_in, zp_in, zp_out = q
    x, y = T((1, 7, 37), s_in, zp_in), T((1, 7, 37), s_out, zp_out)
    model = build("QUANTIZE", [x], y, options("Quantize"))
    assert_exact(model, x, np.random.default_rng(seed))


@few
@given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.sets(st.integers(0, 3), min_size=1),
    st.booleans(),
    st.booleans(),
    quantised,
    scales,
    seeds,
)
def test_mean_over_any_axes(shape, axes, keep, negative, q, s_out, seed):
    s_in, zp_in, zp_out = q
    kept = [1 if i in axes else n for i, n in enumerate(shape)]
    if not keep:
        kept = [n for i, n in enumerate(shape) if i not in axes]
    x, y = T(shape, s_in, zp_in), T(tuple(kept), s_out, zp_out)
    numbers = np.array([a - 4 if negative else a for a in sorted(axes)], np.int32)
    model = build("MEAN", [x, constant(numbers)], y, options("Reducer", keepDims=keep))
    assert_exact(model, x, np.random.default_rng(seed))


EVERY_BYTE = np.arange(-128, 128).astype(np.int8)
EVERY = EVERY_BYTE[None]


def _logistic(scale: np.float32, zero_point: int) -> bytes:
    x = T((1, 256), scale, zero_point)
    return build("LOGISTIC", [x], T((1, 256), 1 / 256, -128))


@pytest.mark.parametrize("seed", range(4))
def test_logistic_tables_are_both_references(seed):
    """Every byte at 100 random quantisations; the two differ in very few places."""
    rng = np.random.default_rng(seed)
    apart = 0
    for _ in range(100):
        scale, zero_point = np.float32(2.0 ** rng.uniform(-13, 3)), int(rng.integers(-128, 128))
        model = _logistic(scale, zero_point)
        table = tables.logistic(scale, zero_point)
        fixed = tables.logistic_fixed(scale, zero_point)
        np.testing.assert_array_equal(table, reference(model, EVERY_BYTE[None])[0])
        np.testing.assert_array_equal(fixed, micro(model, EVERY_BYTE[None], (1, 256))[0])
        apart += int((table != fixed).sum())
    assert 0 < apart < 40


def test_logistic_in_c():
    model = _logistic(np.float32(0.06), 11)
    rows = np.stack([EVERY_BYTE, EVERY_BYTE[::-1]])
    np.testing.assert_array_equal(ours(model, rows), reference(model, rows))
    expected = micro(model, rows, (1, 256))
    np.testing.assert_array_equal(ours(model, rows, fc_rounding="micro"), expected)


def test_vectors_hold_the_extremes():
    rows = bytes_like(np.random.default_rng(0), VECTORS, 4)
    assert rows[:3].tolist() == [[-128] * 4, [127] * 4, [-128, 127, -128, 127]]


def _elu(q_in: tuple[np.float32, int], q_out: tuple[np.float32, int]) -> bytes:
    return build("ELU", [T((1, 256), *q_in)], T((1, 256), *q_out))


@pytest.mark.parametrize("seed", range(4))
def test_elu_tables_are_both_references(seed):
    """Every byte at 100 random quantisations, wide and narrow ones."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        scale_in, scale_out = (np.float32(2.0 ** rng.uniform(-12, 2)) for _ in range(2))
        if rng.integers(2):
            scale_out = np.float32(scale_in * rng.uniform(0.3, 1.2))
        zero_in, zero_out = (int(rng.integers(-128, 128)) for _ in range(2))
        quants = scale_in, zero_in, scale_out, zero_out
        model = _elu(quants[:2], quants[2:])
        table = tables.elu(*quants)
        np.testing.assert_array_equal(table, TfliteModel(model, reference=True).run_raw(EVERY)[0])
        fixed = tables.elu(*quants, difference=True)
        np.testing.assert_array_equal(fixed, micro(model, EVERY, (1, 256))[0])


def test_elu_in_c():
    model = _elu((np.float32(0.05), 20), (np.float32(0.03), -90))
    rows = np.stack([EVERY_BYTE, EVERY_BYTE[::-1]])
    expected = micro(model, rows, (1, 256))
    assert np.ptp(expected.astype(int)) > 100
    np.testing.assert_array_equal(ours(model, rows), expected)
    np.testing.assert_array_equal(ours(model, rows, fc_rounding="micro"), expected)


def test_elu_of_16_bits_is_refused():
    x, y = T((1, 8), 0.01, dtype="int16"), T((1, 8), 0.01, dtype="int16")
    with pytest.raises(InputError, match=r"\(ELU\): 16-bit ELU is not supported"):
        ours(build("ELU", [x], y), np.zeros((1, 8), np.int16))
