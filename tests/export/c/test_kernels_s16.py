"""The int16 kernels against the reference, bit for bit, over random shapes and scales."""

from __future__ import annotations

import numpy as np
import pytest
from build import T, build, constant, options
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import bytes_like, micro, ours, reference
from test_kernels import activations, conv_options, few, out_size, pools, seeds, windows
from test_kernels_elementwise import broadcasts, shapes

from export.c import tables

scales = st.floats(2**-18, 2**-4, width=32)
VECTORS = 12


def t16(shape: tuple[int, ...], scale: float) -> T:
    return T(shape, scale, 0, dtype="int16")


def assert_exact(model: bytes, x: T, rng: np.random.Generator, *, wheel: bool = True) -> np.ndarray:
    """No number differs from the reference, nor from TFLite Micro where that has one result."""
    inputs = bytes_like(rng, VECTORS, int(np.prod(x.shape)), "int16")
    outputs = ours(model, inputs)
    assert outputs.dtype == np.int16
    np.testing.assert_array_equal(outputs, reference(model, inputs))
    if wheel:
        np.testing.assert_array_equal(outputs, micro(model, inputs, x.shape))
    return outputs


def assert_both_exact(model: bytes, x: T, rng: np.random.Generator) -> None:
    """The operators that LiteRT and TFLite Micro round in different ways."""
    assert_exact(model, x, rng, wheel=False)
    inputs = bytes_like(rng, VECTORS, int(np.prod(x.shape)), "int16")
    outputs = ours(model, inputs, fc_rounding="micro")
    np.testing.assert_array_equal(outputs, micro(model, inputs, x.shape))


def weights_of(
    rng: np.random.Generator, shape: tuple[int, ...], axis: int, x: T, *, per_channel: bool
) -> tuple[T, T, float]:
    """Weights with the extreme values, a 64-bit bias, and a fitting output scale."""
    channels = shape[axis]
    values = rng.integers(-128, 128, shape, dtype=np.int8)
    values.reshape(-1)[:2] = [-128, 127][: values.size]
    scale = rng.uniform(0.001, 0.1, channels if per_channel else 1).astype(np.float32)
    bias = rng.integers(-(2**34), 2**34, channels, dtype=np.int64)
    output_scale = float(x.scale) * float(scale.mean()) * 74 * np.sqrt(values.size // channels)
    bias_t = constant(bias, scale * np.float32(x.scale))
    return constant(values, scale, 0, axis), bias_t, output_scale


@few
@given(windows(), st.integers(1, 9), st.integers(1, 9), scales, activations, st.booleans(), seeds)
def test_conv_2d(w, depth, out, scale, act, per_channel, seed):
    rng = np.random.default_rng(seed)
    x = t16((1, w["nh"], w["nw"], depth), scale)
    shape = (out, w["kh"], w["kw"], depth)
    weights, bias, s_out = weights_of(rng, shape, 0, x, per_channel=per_channel)
    y = t16((1, w["oh"], w["ow"], out), s_out)
    inputs = [x, weights, bias]  # the reference refuses to do without
    assert_exact(build("CONV_2D", inputs, y, conv_options("Conv2D", w, act)), x, rng)


@few
@given(windows(), st.integers(1, 7), st.integers(1, 4), scales, activations, st.booleans(), seeds)
def test_depthwise_conv_2d(w, depth, multiplier, scale, act, per_channel, seed):
    rng = np.random.default_rng(seed)
    x = t16((1, w["nh"], w["nw"], depth), scale)
    shape = (1, w["kh"], w["kw"], depth * multiplier)
    weights, bias, s_out = weights_of(rng, shape, 3, x, per_channel=per_channel)
    y = t16((1, w["oh"], w["ow"], depth * multiplier), s_out)
    table = conv_options("DepthwiseConv2D", w, act, depthMultiplier=multiplier)
    inputs = [x, weights, *([bias] if seed % 3 else [])]
    assert_exact(build("DEPTHWISE_CONV_2D", inputs, y, table), x, rng)


@few
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 40)),
    scales,
    activations,
    st.booleans(),
    seeds,
)
def test_fully_connected(sizes, scale, act, per_channel, seed):
    rows, features, out = sizes
    rng = np.random.default_rng(seed)
    x = t16((rows, features), scale)
    weights, bias, s_out = weights_of(rng, (out, features), 0, x, per_channel=per_channel)
    inputs = [x, weights, bias if seed % 3 else None]
    table = options("FullyConnected", fusedActivationFunction=act)
    model = build("FULLY_CONNECTED", inputs, t16((rows, out), s_out), table)
    assert_both_exact(model, x, rng)


@few
@given(pools, windows(), st.integers(1, 9), scales, activations, seeds)
def test_pool_2d(kind, w, depth, scale, act, seed):
    for axis in "hw":
        w[f"o{axis}"] = out_size(w[f"n{axis}"], w[f"k{axis}"], w[f"s{axis}"], 1, bool(w["same"]))
    x, y = t16((1, w["nh"], w["nw"], depth), scale), t16((1, w["oh"], w["ow"], depth), scale)
    table = options(
        "Pool2D",
        padding=0 if w["same"] else 1,
        strideH=w["sh"],
        strideW=w["sw"],
        filterHeight=w["kh"],
        filterWidth=w["kw"],
        fusedActivationFunction=act,
    )
    assert_exact(build(kind, [x], y, table), x, np.random.default_rng(seed))


@few
@given(broadcasts(), scales, scales, scales, activations, st.booleans(), seeds)
def test_add(pair, s_a, s_b, s_out, act, pot, seed):
    rng = np.random.default_rng(seed)
    x = t16(pair[0], s_a)
    other = constant(rng.integers(-32768, 32768, pair[1], dtype=np.int16), s_b)
    y = t16(np.broadcast_shapes(*pair), s_out)
    powers = all(np.frexp(np.float32(s))[0] == 0.5 for s in (s_a, s_b, s_out))
    table = options("Add", fusedActivationFunction=act, potScaleInt16=pot and not powers)
    assert_exact(build("ADD", [x, other], y, table), x, rng)


@few
@given(broadcasts(), scales, scales, activations, st.floats(20, 20000, width=32), seeds)
def test_mul(pair, s_a, s_b, act, ratio, seed):
    rng = np.random.default_rng(seed)
    x = t16(pair[0], s_a)
    other = constant(rng.integers(-32768, 32768, pair[1], dtype=np.int16), s_b)
    s_out = np.float32(s_a) * np.float32(s_b) * np.float32(ratio)
    assume(act != 3 or 6 / s_out < 2**31)  # the reference refuses a limit beyond 32 bits
    table = options("Mul", fusedActivationFunction=act)
    model = build("MUL", [x, other], t16(np.broadcast_shapes(*pair), s_out), table)
    assert_both_exact(model, x, rng)


@few
@given(
    st.tuples(*[st.integers(1, 6)] * 4),
    st.sets(st.integers(0, 3), min_size=1),
    st.booleans(),
    scales,
    scales,
    seeds,
)
def test_mean(shape, axes, keep, s_in, s_out, seed):
    kept = [1 if i in axes else n for i, n in enumerate(shape)]
    if not keep:
        kept = [n for i, n in enumerate(shape) if i not in axes]
    x, y = t16(shape, s_in), t16(tuple(kept), s_out)
    model = build(
        "MEAN",
        [x, constant(np.array(sorted(axes), np.int32))],
        y,
        options("Reducer", keepDims=keep),
    )
    assert_exact(model, x, np.random.default_rng(seed))


@few
@given(shapes, st.lists(st.integers(0, 3), min_size=8, max_size=8), scales, seeds)
def test_pad(shape, amounts, scale, seed):
    paddings = np.array(amounts, np.int32).reshape(4, 2)
    y = t16(tuple(int(n + p.sum()) for n, p in zip(shape, paddings, strict=True)), scale)
    x = t16(shape, scale)
    model = build("PAD", [x, constant(paddings)], y, options("Pad"))
    assert_exact(model, x, np.random.default_rng(seed))


@few
@given(shapes, st.integers(-4, 3), st.integers(1, 4), scales, seeds)
def test_concatenation(shape, axis, size, scale, seed):
    rng = np.random.default_rng(seed)
    x, other, out = t16(shape, scale), list(shape), list(shape)
    other[axis] = size
    out[axis] = size + 2 * shape[axis]
    middle = constant(rng.integers(-32768, 32768, other, dtype=np.int16), scale)
    table = options("Concatenation", axis=axis)
    model = build("CONCATENATION", [x, middle, x], t16(tuple(out), scale), table)
    assert_exact(model, x, rng)


@few
@given(st.sampled_from(["RELU", "RELU6", "QUANTIZE"]), scales, scales, seeds)
def test_rescale(kind, s_in, s_out, seed):
    x, y = t16((1, 7, 37), s_in), t16((1, 7, 37), s_out)
    table = options("Quantize") if kind == "QUANTIZE" else None
    assert_exact(build(kind, [x], y, table), x, np.random.default_rng(seed), wheel=kind != "RELU6")


@few
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 40)), scales, st.floats(0.25, 4.0, width=32), seeds
)
def test_softmax(sizes, scale, beta, seed):
    rng = np.random.default_rng(seed)
    x, y = t16(sizes, scale), t16(sizes, 1 / 32768)
    model = build("SOFTMAX", [x], y, options("Softmax", beta=beta))
    assert_exact(model, x, rng, wheel=False)  # TFLite Micro's tables are made in float32
    close = bytes_like(rng, VECTORS, int(np.prod(sizes)), "int16") // 512  # nearly equal inputs
    np.testing.assert_array_equal(ours(model, close), reference(model, close))


def test_softmax_tables():
    exponential, reciprocal = tables.softmax_exponential(), tables.softmax_reciprocal()
    assert (exponential[-1], reciprocal[0], reciprocal[-1]) == (32767, 32767, 16384)
    assert np.all(np.diff(exponential.astype(int)) >= 0)
    assert np.all(np.diff(reciprocal.astype(int)) <= 0)


@pytest.mark.parametrize("core", ["reference", "micro"])
def test_reshape_alone_copies(core):
    x = t16((1, 6), 0.1)
    rows = bytes_like(np.random.default_rng(0), 4, 6, "int16")
    model = build("RESHAPE", [x], t16((2, 3), 0.1), options("Reshape", newShape=[2, 3]))
    np.testing.assert_array_equal(ours(model, rows, fc_rounding=core), rows)
