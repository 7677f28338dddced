"""Every kernel against the reference, bit for bit, over random shapes and quantisation."""

from __future__ import annotations

import os

import numpy as np
from build import T, build, constant, options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracles import bytes_like, micro, ours, reference

# More of them: DLINK_TEST_EXAMPLES=300 pytest ...
EXAMPLES = int(os.environ.get("DLINK_TEST_EXAMPLES", "15"))
few = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
seeds = st.integers(0, 2**32 - 1)
zero_points = st.sampled_from([-128, -3, 0, 17, 127])
scales = st.floats(2**-10, 2.0, width=32)
quantised = st.tuples(scales, zero_points, zero_points)
pools = st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"])
activations = st.sampled_from([0, 1, 3])
VECTORS = 40


def assert_exact(
    model: bytes, x: T, rng: np.random.Generator, *, wheel: bool = True, vectors: int = VECTORS
) -> np.ndarray:
    """No byte differs from the reference, nor from TFLite Micro where that has one result."""
    inputs = bytes_like(rng, vectors, int(np.prod(x.shape)))
    outputs = ours(model, inputs)
    np.testing.assert_array_equal(outputs, reference(model, inputs))
    if wheel:
        np.testing.assert_array_equal(outputs, micro(model, inputs, x.shape))
    return outputs


def out_size(size: int, kernel: int, stride: int, dilation: int, same: bool) -> int:
    extent = (kernel - 1) * dilation + 1
    return -(-(size if same else size - extent + 1) // stride)


@st.composite
def windows(draw: st.DrawFn) -> dict[str, int]:
    """Height, width, kernel, stride, dilation and padding that fit together."""
    flat = draw(st.booleans())  # the students' form: (1, 1, n_times, n_chans)
    w: dict[str, int] = {"same": draw(st.booleans())}
    for axis in "hw":
        one = flat and axis == "h"
        kernel = 1 if one else draw(st.integers(1, 5))
        stride = 1 if one else draw(st.integers(1, 3))
        dilation = 1 if one else draw(st.integers(1, 3))
        extent = (kernel - 1) * dilation + 1
        size = 1 if one else draw(st.integers(1 if w["same"] else extent, extent + 9))
        w |= {f"k{axis}": kernel, f"s{axis}": stride, f"d{axis}": dilation, f"n{axis}": size}
        w[f"o{axis}"] = out_size(size, kernel, stride, dilation, bool(w["same"]))
    return w


def conv_options(kind: str, w: dict[str, int], activation: int, **more: int) -> object:
    return options(
        kind,
        padding=0 if w["same"] else 1,
        strideH=w["sh"],
        strideW=w["sw"],
        dilationHFactor=w["dh"],
        dilationWFactor=w["dw"],
        fusedActivationFunction=activation,
        **more,
    )


def weights_of(
    rng: np.random.Generator, shape: tuple[int, ...], axis: int, x: T, *, per_channel: bool
) -> tuple[T, T, float]:
    """Weights with the extreme values, a bias, and a fitting output scale."""
    channels = shape[axis]
    values = rng.integers(-128, 128, shape, dtype=np.int8)
    values.reshape(-1)[:2] = [-128, 127][: values.size]
    scale = rng.uniform(0.001, 0.1, channels if per_channel else 1).astype(np.float32)
    bias = rng.integers(-9000, 9000, channels, dtype=np.int32)
    fan_in = values.size // channels
    output_scale = float(x.scale) * float(scale.mean()) * 74 * np.sqrt(fan_in)
    bias_t = constant(bias, scale * np.float32(x.scale))
    return constant(values, scale, 0, axis), bias_t, output_scale


@few
@given(
    windows(), st.integers(1, 9), st.integers(1, 9), quantised, activations, st.booleans(), seeds
)
def test_conv_2d(w, depth, out, q, act, per_channel, seed):
    scale, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x = T((1, w["nh"], w["nw"], depth), scale, zp_in)
    shape = (out, w["kh"], w["kw"], depth)
    weights, bias, s_out = weights_of(rng, shape, 0, x, per_channel=per_channel)
    y = T((1, w["oh"], w["ow"], out), s_out, zp_out)
    model = build("CONV_2D", [x, weights, bias], y, conv_options("Conv2D", w, act))
    assert_exact(model, x, rng)


@few
@given(
    windows(), st.integers(1, 7), st.integers(1, 4), quantised, activations, st.booleans(), seeds
)
def test_depthwise_conv_2d(w, depth, multiplier, q, act, per_channel, seed):
    scale, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x = T((1, w["nh"], w["nw"], depth), scale, zp_in)
    shape = (1, w["kh"], w["kw"], depth * multiplier)
    weights, bias, s_out = weights_of(rng, shape, 3, x, per_channel=per_channel)
    y = T((1, w["oh"], w["ow"], depth * multiplier), s_out, zp_out)
    table = conv_options("DepthwiseConv2D", w, act, depthMultiplier=multiplier)
    assert_exact(
        build("DEPTHWISE_CONV_2D", [x, weights, *([bias] if seed % 3 else [])], y, table), x, rng
    )


@few
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 40)),
    quantised,
    activations,
    st.booleans(),
    st.sampled_from([0, 0, -5, 127]),
    seeds,
)
def test_fully_connected(sizes, q, act, per_channel, zp_w, seed):
    rows, features, out = sizes
    scale, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x = T((rows, features), scale, zp_in)
    weights, bias, s_out = weights_of(rng, (out, features), 0, x, per_channel=per_channel)
    if not per_channel:
        weights.zero_point = zp_w
    model = build(
        "FULLY_CONNECTED",
        [x, weights, bias if seed % 3 else None],
        T((rows, out), s_out, zp_out),
        options("FullyConnected", fusedActivationFunction=act),
    )
    assert_exact(model, x, rng, wheel=False)
    # TFLite Micro rounds this operator otherwise: the library can be generated in its way.
    inputs = bytes_like(rng, VECTORS, rows * features)
    expected = micro(model, inputs, x.shape)
    np.testing.assert_array_equal(ours(model, inputs, fc_rounding="micro"), expected)


def test_fully_connected_halves_are_rounded_away_from_zero():
    """Sums -40..40 at a scale of 1/8: each fourth result lies exactly between two integers."""
    rng = np.random.default_rng(0)
    x = T((1, 1), 1.0, 0)
    sums = np.arange(-40, 41, dtype=np.int32)
    weights = constant(np.zeros((sums.size, 1), np.int8), 0.125)
    model = build(
        "FULLY_CONNECTED",
        [x, weights, constant(sums, 0.125)],
        T((1, sums.size), 1.0, 0),
        options("FullyConnected"),
    )
    outputs = assert_exact(model, x, rng, wheel=False, vectors=3)
    assert outputs[0][[36, 44]].tolist() == [-1, 1]  # -4/8 and 4/8


@few
@given(pools, windows(), st.integers(1, 9), quantised, activations, seeds)
def test_pool_2d(kind, w, depth, q, act, seed):
    scale, zero_point, _ = q
    rng = np.random.default_rng(seed)
    w = {**w, "dh": 1, "dw": 1}
    for axis in "hw":
        w[f"o{axis}"] = out_size(w[f"n{axis}"], w[f"k{axis}"], w[f"s{axis}"], 1, bool(w["same"]))
    x = T((1, w["nh"], w["nw"], depth), scale, zero_point)
    y = T((1, w["oh"], w["ow"], depth), scale, zero_point)
    table = options(
        "Pool2D",
        padding=0 if w["same"] else 1,
        strideH=w["sh"],
        strideW=w["sw"],
        filterHeight=w["kh"],
        filterWidth=w["kw"],
        fusedActivationFunction=act,
    )
    assert_exact(build(kind, [x], y, table), x, rng)


@few
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 40), st.integers(1, 9)),
    quantised,
    scales,
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_mean(sizes, q, s_out, keep, one_scale, seed):
    height, width, depth = sizes
    s_in, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x = T((1, height, width, depth), s_in, zp_in)
    shape = (1, 1, 1, depth) if keep else (1, depth)
    y = T(shape, s_in, zp_in) if one_scale else T(shape, s_out, zp_out)
    axes = constant(np.array([1, 2], np.int32))
    assert_exact(build("MEAN", [x, axes], y, options("Reducer", keepDims=keep)), x, rng)


@few
@given(st.integers(1, 50), quantised, quantised, scales, activations, st.booleans(), seeds)
def test_add(size, q_a, q_b, s_out, act, second_first, seed):
    """One operand is constant, as a builder of one operator has one input to vary."""
    s_a, zp_a, zp_out = q_a
    s_b, zp_b, _ = q_b
    rng = np.random.default_rng(seed)
    x = T((1, 1, size, 3), s_a, zp_a)
    other = constant(rng.integers(-128, 128, x.shape, dtype=np.int8), s_b, zp_b)
    operands = [other, x] if second_first else [x, other]
    y = T(x.shape, s_out, zp_out)
    model = build("ADD", operands, y, options("Add", fusedActivationFunction=act))
    assert_exact(model, x, rng)


@few
@given(
    st.tuples(*[st.integers(1, 5)] * 4),
    st.lists(st.integers(0, 3), min_size=8, max_size=8),
    st.booleans(),
    quantised,
    seeds,
)
def test_pad(shape, amounts, wide, q, seed):
    scale, zero_point, _ = q
    rng = np.random.default_rng(seed)
    paddings = np.array(amounts, np.int64 if wide else np.int32).reshape(4, 2)
    x = T(shape, scale, zero_point)
    y = T(tuple(int(n + p.sum()) for n, p in zip(shape, paddings, strict=True)), scale, zero_point)
    model = build("PAD", [x, constant(paddings)], y, options("Pad"))
    assert_exact(model, x, rng, wheel=not wide)


@few
@given(st.sampled_from(["RELU", "RELU6"]), quantised, scales, seeds)
def test_relu(kind, q, s_out, seed):
    s_in, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x, y = T((1, 7, 37), s_in, zp_in), T((1, 7, 37), s_out, zp_out)
    # TFLite Micro's RELU6 clamps without changing the scale: no oracle.
    assert_exact(build(kind, [x], y), x, rng, wheel=kind == "RELU")


@few
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 40)),
    st.floats(2**-13, 8.0, width=32),
    zero_points,
    st.floats(0.25, 4.0, width=32),
    seeds,
)
def test_softmax(sizes, scale, zero_point, beta, seed):
    rows, depth = sizes
    rng = np.random.default_rng(seed)
    x, y = T((rows, depth), scale, zero_point), T((rows, depth), 1 / 256, -128)
    assert_exact(build("SOFTMAX", [x], y, options("Softmax", beta=beta)), x, rng)
