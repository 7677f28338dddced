"""The Cortex-M0+ path: the same bytes as the plain path and the reference kernels."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from build import T, build, options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import reference_model
from oracles import STRICT, bytes_like, reference
from test_kernels import conv_options, out_size, quantised, seeds, weights_of, windows

from export.c import line, packing, requant, trim
from export.c.generate import generate
from export.c.host import HostModel

PACKED = (*STRICT, "-O0", "-DDLINK_PACKED", "-fsanitize=undefined", "-fno-sanitize-recover=all")
RUNTIME = Path(packing.__file__).parent / "runtime"
few = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
fills = st.sampled_from(["random", "random", "small", "lowest", "highest"])


def assert_packed(model: bytes, x: T, rng: np.random.Generator, **more: str) -> None:
    """The packed path under the sanitizer, the plain one and the reference give the same bytes."""
    inputs = bytes_like(rng, 12, int(np.prod(x.shape)))
    with tempfile.TemporaryDirectory() as folder:
        generate(model, Path(folder), **more)
        packed = HostModel(Path(folder), PACKED).run(inputs)
        plain = HostModel(Path(folder), (*STRICT, "-O0", "-DDLINK_PLAIN")).run(inputs)
    np.testing.assert_array_equal(packed, plain)
    if not more:
        np.testing.assert_array_equal(packed, reference(model, inputs))


def filled(weights: T, how: str, rng: np.random.Generator) -> T:
    """Weights of one extreme, or so small that many make a group."""
    data = {"lowest": -128, "highest": 127}.get(how)
    if how == "small":
        weights.data = rng.integers(-9, 10, weights.shape, dtype=np.int8)
    elif data is not None:
        weights.data = np.full(weights.shape, data, np.int8)
    return weights


def conv_model(
    w: dict[str, int],
    sizes: tuple[int, int],
    q: tuple[float, int, int],
    how: str,
    rng: np.random.Generator,
    *,
    activation: int = 0,
    stretch: float = 1.0,
) -> tuple[bytes, T]:
    """CONV_2D of `sizes` (input channels, output channels); `stretch`: of the output's scale."""
    depth, out = sizes
    scale, zp_in, zp_out = q
    x = T((1, w["nh"], w["nw"], depth), scale, zp_in)
    shape = (out, w["kh"], w["kw"], depth)
    weights, bias, s_out = weights_of(rng, shape, 0, x, per_channel=True)
    y = T((1, w["oh"], w["ow"], out), s_out * stretch, zp_out)
    table = conv_options("Conv2D", w, activation)
    return build("CONV_2D", [x, filled(weights, how, rng), bias], y, table), x


def flat(width: int, kernel: int, stride: int = 1) -> dict[str, int]:
    """A window along time, with padding."""
    w = {"same": 1, "nh": 1, "kh": 1, "sh": 1, "dh": 1, "oh": 1, "dw": 1}
    return w | {
        "nw": width,
        "kw": kernel,
        "sw": stride,
        "ow": out_size(width, kernel, stride, 1, True),
    }


@few
@given(windows(), st.integers(1, 9), st.integers(1, 9), quantised, fills, seeds)
def test_conv(w, depth, out, q, how, seed):
    rng = np.random.default_rng(seed)
    model, x = conv_model(w, (depth, out), q, how, rng, activation=(0, 1, 3)[seed % 3])
    assert_packed(model, x, rng)


@pytest.mark.parametrize("stretch", [2.0**-9, 1.0, 2.0**9, 2.0**14])
def test_conv_whatever_the_scale(stretch):
    """The long form, three limbs, four, and shifts beyond them; weights in words and in bytes."""
    rng = np.random.default_rng(3)
    w = flat(37, 9, 2)
    for sizes in ((3, 4), (33, 21)):
        model, x = conv_model(w, sizes, (0.1, 5, -7), "random", rng, stretch=stretch)
        assert_packed(model, x, rng)


@few
@given(windows(), st.integers(1, 7), st.integers(1, 3), quantised, fills, seeds)
def test_depthwise(w, depth, multiplier, q, how, seed):
    scale, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x = T((1, w["nh"], w["nw"], depth), scale, zp_in)
    shape = (1, w["kh"], w["kw"], depth * multiplier)
    weights, bias, s_out = weights_of(rng, shape, 3, x, per_channel=seed % 2 > 0)
    y = T((1, w["oh"], w["ow"], depth * multiplier), s_out, zp_out)
    table = conv_options("DepthwiseConv2D", w, seed % 2, depthMultiplier=multiplier)
    model = build("DEPTHWISE_CONV_2D", [x, filled(weights, how, rng), bias], y, table)
    assert_packed(model, x, rng)


@few
@given(st.integers(1, 70), st.integers(1, 13), quantised, st.sampled_from([0, -5]), fills, seeds)
def test_fully_connected(features, out, q, zp_w, how, seed):
    scale, zp_in, zp_out = q
    rng = np.random.default_rng(seed)
    x = T((2, features), scale, zp_in)
    weights, bias, s_out = weights_of(rng, (out, features), 0, x, per_channel=False)
    weights.zero_point = zp_w
    y = T((2, out), s_out, zp_out)
    model = build(
        "FULLY_CONNECTED", [x, filled(weights, how, rng), bias], y, options("FullyConnected")
    )
    assert_packed(model, x, rng)
    assert_packed(model, x, rng, fc_rounding="micro")


@few
@given(st.sampled_from(["AVERAGE_POOL_2D", "MAX_POOL_2D"]), windows(), st.integers(1, 9), seeds)
def test_pool(kind, w, depth, seed):
    rng = np.random.default_rng(seed)
    for axis in "hw":
        w[f"o{axis}"] = out_size(w[f"n{axis}"], w[f"k{axis}"], w[f"s{axis}"], 1, bool(w["same"]))
    x = T((1, w["nh"], w["nw"], depth), 0.5, -3)
    y = T((1, w["oh"], w["ow"], depth), 0.5, -3)
    sizes = {
        "strideH": w["sh"],
        "strideW": w["sw"],
        "filterHeight": w["kh"],
        "filterWidth": w["kw"],
    }
    model = build(kind, [x], y, options("Pool2D", padding=0 if w["same"] else 1, **sizes))
    assert_packed(model, x, rng)


@few
@given(quantised, st.floats(0.3, 4), st.sampled_from([0, 1]), seeds)
def test_add(q, ratio, act, seed):
    scale, zp_in, zp_out = q
    x, y = T((1, 2, 9, 3), scale, zp_in), T((1, 2, 9, 3), scale * ratio, zp_out)
    model = build("ADD", [x, x], y, options("Add", fusedActivationFunction=act))
    assert_packed(model, x, np.random.default_rng(seed))


@pytest.mark.parametrize("name", ["eeg_student.int8", "kws", "ic"])
def test_reference_models(name):
    model = reference_model(name).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        generate(model, Path(folder))
        host = HostModel(Path(folder), (*STRICT, "-DDLINK_PACKED"))
        inputs = bytes_like(np.random.default_rng(1), 4, host.input_bytes)
        np.testing.assert_array_equal(host.run(inputs), reference(model, inputs))


@pytest.mark.parametrize(("low", "high"), [(-128, 128), (-9, 10), (-128, -127), (127, 128)])
def test_groups(low, high):
    """No input takes a group's sum out of int16, and no group could take one weight more."""
    weights = np.random.default_rng(0).integers(low, high, 300).astype(np.int8)
    found = list(packing.groups(weights))
    np.testing.assert_array_equal(np.concatenate(found), weights)

    def fits(group: np.ndarray) -> bool:
        products = group.astype(int)[:, None] * np.array([-128, 127])
        return products.min(1).sum() >= -(2**15) and products.max(1).sum() < 2**15

    for group, after in zip(found, [*found[1:], None], strict=True):
        assert fits(group)
        assert len(group) <= packing.MORE + 1
        if after is not None and len(group) <= packing.MORE:
            assert not fits(np.append(group, after[0]))


def test_streams_hold_the_weights():
    weights = np.random.default_rng(0).integers(-128, 128, (3, 41)).astype(np.int8)
    for words in (False, True):
        stream = (packing.packed_words if words else packing.packed_bytes)(weights).tolist()
        found, i = [], 0
        for _ in range(3):
            i += 1 if words else 2
            last = False
            while not last:
                code = stream[i + 1]
                last = code >= 0 if words else code > 112
                if words:
                    others = 7 - code // 12 if last else (-30 - code) // 12
                else:
                    others = 8 - (code - 112 * last) // 14
                found += [stream[i], *stream[i + 2 : i + 2 + others]]
                i += 2 + others
        assert i == len(stream)
        assert (np.array(found) & 255).tolist() == weights.view(np.uint8).reshape(-1).tolist()


def test_limbs_need_room():
    assert packing.limbs(2**19 - 1, 15) == 3
    assert packing.limbs(2**19, 15) == packing.limbs(2**23 - 1, 1) == 4
    assert packing.limbs(2**23, 1) == packing.limbs(1, 16) == 0


_SHIM = """
#include "dlink_requant_packed.h"
#include "dlink_add_packed.h"
int32_t limbs_differ(int32_t limbs, int32_t sum, int32_t multiplier, int8_t shift, int16_t zero);
int32_t limbs_differ(int32_t limbs, int32_t sum, int32_t multiplier, int8_t shift, int16_t zero)
{
    const dlink_requant_t requant = {.multiplier = &multiplier, .shift = &shift, .low = -128,
                                     .high = 127, .plain_shift = 2, .zero_point = zero,
                                     .limbs = (int16_t)limbs};
    const int32_t where = 0;
    int8_t out;
    dlink_scaling_t scaling = {.sums = &sum, .end = &sum + 1, .where = &where, .out = &out};
    dlink_put(&requant, 0, &scaling);
    return out != dlink_clamp(dlink_requantize(sum, multiplier, -shift) + zero, -128, 127);
}
int32_t scale_trimmed(int32_t sum, int32_t multiplier, int8_t shift, int16_t zero, int16_t nudge);
int32_t scale_trimmed(int32_t sum, int32_t multiplier, int8_t shift, int16_t zero, int16_t nudge)
{
    const dlink_requant_t requant = {.multiplier = &multiplier, .shift = &shift, .low = -128,
                                     .high = 127, .plain_shift = 2, .zero_point = zero,
                                     .limbs = 3, .nudge = &nudge};
    const int32_t where = 0;
    int8_t out;
    dlink_scaling_t scaling = {.sums = &sum, .end = &sum + 1, .where = &where, .out = &out};
    dlink_put(&requant, 0, &scaling);
    return out;
}
int32_t halves_differ(int32_t a, int32_t b);
int32_t halves_differ(int32_t a, int32_t b)
{
    const int32_t value = a >> 20;
    return dlink_high_by_halves(a, b) != dlink_doubling_high_mul(a, b)
           || dlink_high_of_shifted(value, b)
                  != dlink_doubling_high_mul(dlink_shift_left(value, 20), b);
}
typedef void add_t(const dlink_add_stage_t *, const int8_t *, const int8_t *, int8_t *, int32_t);
extern add_t *const used[];
add_t *const used[] = {dlink_add_quick, dlink_add_line};
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(_SHIM)
    command = ["cc", *PACKED, "-shared", "-fPIC", f"-I{RUNTIME}", str(folder / "shim.c")]
    subprocess.run([*command, "-o", str(folder / "shim.so")], check=True)
    return ctypes.CDLL(str(folder / "shim.so"))


@pytest.mark.parametrize(("limbs", "bits"), [(3, 19), (4, 23)])
def test_limbs_are_exact(shim, limbs, bits):
    """Random sums, the greatest ones, and those around each threshold between two outputs."""
    rng = np.random.default_rng(limbs)
    most = 2**bits - 1
    for _ in range(60):
        multiplier = int(rng.integers(2**30, 2**31))
        shift, zero = int(rng.integers(1, 16)), int(rng.integers(-128, 128))
        steps = np.arange(-130, 131) + 0.5
        near = np.rint(steps * 2.0 ** (31 + shift) / multiplier)[:, None] + np.arange(-3, 4)
        sums = np.concatenate([near.reshape(-1), rng.integers(-most, most, 50), np.arange(-3, 4)])
        for total in np.clip(sums, -most, most).astype(int).tolist():
            assert not shim.limbs_differ(limbs, total, multiplier, shift, zero)


def test_trimmed_multipliers_are_proved(shim):
    """Every sum of a small range by brute force, in Python and in C; a sample of great ones."""
    rng = np.random.default_rng(2)
    proved = 0
    for i in range(60):
        most = 2000 if i < 40 else 2**19 - 1
        multiplier, zero = int(rng.integers(2**30, 2**31)), int(rng.choice([-128, -3, 0, 127]))
        shift = int(rng.integers(1, 6) if i < 40 else rng.integers(6, 12))
        found = trim.trim(multiplier, shift, (-most, most), zero)
        if found is None:
            continue
        proved += 1
        sums = np.arange(-most, most + 1, 1 if i < 40 else 701)
        wanted = np.clip(trim.reference(sums, multiplier, shift) + zero, -128, 127)
        ours = trim.scaled(sums, found[0]) + trim.offset(shift, zero) + found[1]
        np.testing.assert_array_equal(np.clip(ours >> (shift + 12), -128, 127), wanted)
        for at in range(0, len(sums), 97):
            result = shim.scale_trimmed(int(sums[at]), found[0], shift, zero, found[1])
            assert result == wanted[at]
    assert proved > 30


def test_thresholds_are_the_least_sums():
    rng = np.random.default_rng(4)
    for shift in range(1, 16):
        multiplier, results = int(rng.integers(2**30, 2**31)), np.arange(-255, 256)
        least = trim.thresholds(multiplier, shift, results)
        assert (trim.reference(least, multiplier, shift) >= results).all()
        assert (trim.reference(least - 1, multiplier, shift) < results).all()


def test_sums_beyond_two_limbs_are_not_trimmed():
    assert trim.trim(2**30, 8, (-(2**19), 0), 0) is None
    assert trim.trim(2**30, 16, (-5, 5), 0) is None


def test_lines_equal_the_reference_for_all_pairs():
    rng = np.random.default_rng(6)
    found = 0
    for _ in range(12):
        scales = rng.uniform(0.01, 1, 3).astype(np.float32)
        pairs = tuple((m, -s) for m, s in requant.add_multipliers(*scales))
        zeros = tuple(rng.integers(-128, 128, 3).tolist())
        add = line.find_line(pairs, zeros)
        if add is None:
            continue
        found += 1
        values = np.arange(-128, 128)
        sums = values[:, None] * add.factor_a + values[None, :] * add.factor_b + add.offset
        assert np.abs(sums).max() < 2**31
        wanted = line.reference(pairs, zeros).clip(-128, 127)
        np.testing.assert_array_equal((sums >> add.shift).clip(-128, 127), wanted)
    assert found > 6


def test_products_by_halves(shim):
    rng = np.random.default_rng(0)
    edges = [-(2**30) + 1, -(2**29), -65536, -1, 0, 1, 65535, 2**30 - 1]
    for a in [*edges, *rng.integers(-(2**30), 2**30, 2000).tolist()]:
        for b in (2**30, 2**31 - 1, int(rng.integers(2**30, 2**31))):
            assert not shim.halves_differ(a, b)


@pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs arm-none-eabi-gcc and qemu-system-arm",
)
@pytest.mark.parametrize("kind", ["words", "bytes", "long", "depthwise", "dense"])
def test_on_the_core(kind, tmp_path):
    """The assembly: each of its loops, with the extremes of inputs and weights."""
    from firmware_bench.cortex_m import run

    rng = np.random.default_rng(5)
    if kind == "depthwise":
        x, y = T((1, 7, 9, 3), 0.1, 4), T((1, 7, 9, 6), 1.5, -9)
        weights, bias, _ = weights_of(rng, (1, 3, 3, 6), 3, x, per_channel=True)
        w = {"same": 1, "sh": 1, "sw": 1, "dh": 1, "dw": 1}
        table = conv_options("DepthwiseConv2D", w, 0, depthMultiplier=2)
        model = build("DEPTHWISE_CONV_2D", [x, weights, bias], y, table)
    elif kind == "dense":
        x, y = T((1, 37), 0.1, 4), T((1, 7), 2.0, -9)
        weights, bias, _ = weights_of(rng, (7, 37), 0, x, per_channel=False)
        model = build("FULLY_CONNECTED", [x, weights, bias], y, options("FullyConnected"))
    else:
        sizes = (3, 5) if kind == "words" else (33, 9)
        stretch = 2.0**-9 if kind == "long" else 1.0
        model, x = conv_model(flat(31, 9, 2), sizes, (0.1, 5, 7), "random", rng, stretch=stretch)
    inputs = bytes_like(rng, 4, int(np.prod(x.shape)))
    generate(model, tmp_path / "c")
    done = run(tmp_path / "c", "cortex-m0plus", inputs, work_dir=tmp_path)
    np.testing.assert_array_equal(done.outputs, reference(model, inputs))
