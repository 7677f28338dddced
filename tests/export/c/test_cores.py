"""Kernels for a core's own instructions, emulated, against plain C here: every byte equal."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from build import T, build, constant, options
from oracles import STRICT, bytes_like

from export.c.generate import generate
from export.c.host import HostModel
from firmware_bench.cores import find_core
from firmware_bench.emulator import emulate
from firmware_bench.toolchain import build_firmware

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)

# More of them: DLINK_TEST_EXAMPLES=100 pytest ...
EXAMPLES = int(os.environ.get("DLINK_TEST_EXAMPLES", "4"))
WINDOWS = 12
seeds = pytest.mark.parametrize("seed", range(EXAMPLES))
cores = pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])


def some(test):
    """On both cores, with several seeds."""
    return cores(seeds(test))


def assert_same(core: str, model: bytes, rng: np.random.Generator, **generator: str) -> None:
    """Outputs of the emulated core equal the host's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(model, folder / "c", **generator)
        host = HostModel(folder / "c", (*STRICT, "-DDLINK_PLAIN"))
        inputs = bytes_like(rng, WINDOWS, host.input_bytes)
        firmware = build_firmware(folder / "c", find_core(core), folder)
        outputs = emulate(firmware, inputs, timeout_s=60).outputs
        np.testing.assert_array_equal(outputs, host.run(inputs))


def window(rng: np.random.Generator, *, dilated: bool) -> dict[str, int]:
    """Height, width, kernel, stride, dilation, padding: of a strip as often as of an image."""
    w = {"same": int(rng.integers(2))}
    strip = "hw-"[rng.integers(3)]
    for axis in "hw":
        flat = axis == strip
        kernel = 1 if flat else int(rng.integers(1, 6))
        stride = 1 if flat else int(rng.integers(1, 4))
        dilation = int(rng.integers(1, 4)) if dilated and stride == 1 and rng.integers(2) else 1
        extent = (kernel - 1) * dilation + 1
        size = int(rng.integers(1 if w["same"] else extent, extent + 12))
        out = -(-(size if w["same"] else size - extent + 1) // stride)
        w |= {f"n{axis}": size, f"k{axis}": kernel, f"s{axis}": stride, f"d{axis}": dilation}
        w[f"o{axis}"] = out
    return w


def window_options(kind: str, w: dict[str, int], activation: int, **more: int) -> object:
    return options(
        kind,
        padding=0 if w["same"] else 1,
        strideH=w["sh"],
        strideW=w["sw"],
        fusedActivationFunction=activation,
        **more,
    )


def parameters(
    rng: np.random.Generator, shape: tuple[int, ...], axis: int, scale: float
) -> tuple[T, T, float]:
    """Weights, bias and a fitting output scale; now and then one too fine for the short form."""
    channels = shape[axis]
    values = rng.integers(-128, 128, shape, dtype=np.int8)
    scales = rng.uniform(0.001, 0.1, channels).astype(np.float32)
    bias = constant(rng.integers(-9000, 9000, channels, dtype=np.int32), scales * np.float32(scale))
    output = scale * float(scales.mean()) * 74 * np.sqrt(values.size // channels)
    fine = 300.0 if rng.integers(4) == 0 else 1.0
    return constant(values, scales, 0, axis), bias, output / fine


def zero_point(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, -3, 0, 17, 127]))


@some
def test_conv(core, seed):
    rng = np.random.default_rng(seed)
    w = window(rng, dilated=True)
    depth, out = int(rng.integers(1, 41)), int(rng.integers(1, 25))
    x = T((1, w["nh"], w["nw"], depth), 0.05, zero_point(rng))
    weights, bias, scale = parameters(rng, (out, w["kh"], w["kw"], depth), 0, 0.05)
    y = T((1, w["oh"], w["ow"], out), scale, zero_point(rng))
    more = {"dilationHFactor": w["dh"], "dilationWFactor": w["dw"]}
    table = window_options("Conv2D", w, int(rng.choice([0, 1, 3])), **more)
    assert_same(core, build("CONV_2D", [x, weights, bias], y, table), rng)


@some
@pytest.mark.parametrize("multiplier", [1, 2, 3])
def test_depthwise(core, seed, multiplier):
    rng = np.random.default_rng(100 * multiplier + seed)
    w = window(rng, dilated=True)
    if seed % 3 == 0:  # as EEG models have it: all electrodes at once
        width = w["ow"] + 2
        w |= {"same": 0, "nh": 22, "kh": 22, "oh": 1, "dh": 1, "sh": 1}
        w |= {"nw": width, "kw": 1, "ow": width, "dw": 1, "sw": 1}
    depth = int(rng.integers(2, 41))
    x = T((1, w["nh"], w["nw"], depth), 0.05, zero_point(rng))
    shape = (1, w["kh"], w["kw"], depth * multiplier)
    weights, bias, scale = parameters(rng, shape, 3, 0.05)
    y = T((1, w["oh"], w["ow"], depth * multiplier), scale, zero_point(rng))
    more = {"dilationHFactor": w["dh"], "dilationWFactor": w["dw"], "depthMultiplier": multiplier}
    table = window_options("DepthwiseConv2D", w, int(rng.choice([0, 1, 3])), **more)
    assert_same(core, build("DEPTHWISE_CONV_2D", [x, weights, bias], y, table), rng)


@some
@pytest.mark.parametrize("fc_rounding", ["reference", "micro"])
def test_fully_connected(core, seed, fc_rounding):
    rng = np.random.default_rng(seed)
    rows, features, out = (int(rng.integers(1, most)) for most in (3, 90, 40))
    x = T((rows, features), 0.05, zero_point(rng))
    weights, bias, scale = parameters(rng, (out, features), 0, 0.05)
    if seed % 2:  # one scale, and a zero point
        weights.scale, weights.zero_point, bias.scale = 0.02, -5, 0.02 * 0.05
    y = T((rows, out), scale, zero_point(rng))
    table = options("FullyConnected", fusedActivationFunction=int(rng.choice([0, 1, 3])))
    model = build("FULLY_CONNECTED", [x, weights, bias], y, table)
    assert_same(core, model, rng, fc_rounding=fc_rounding)


@some
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pool(core, seed, kind):
    rng = np.random.default_rng(seed)
    w = window(rng, dilated=False)
    depth, zero = int(rng.integers(1, 41)), zero_point(rng)
    x = T((1, w["nh"], w["nw"], depth), 0.05, zero)
    y = T((1, w["oh"], w["ow"], depth), 0.05, zero)
    size = {"filterHeight": w["kh"], "filterWidth": w["kw"]}
    table = window_options("Pool2D", w, int(rng.choice([0, 1, 3])), **size)
    assert_same(core, build(kind, [x], y, table), rng)


@some
def test_add_to_itself(core, seed):
    rng = np.random.default_rng(seed)
    shape = (1, *(int(n) for n in rng.integers(1, 8, 2)), int(rng.integers(1, 41)))
    x = T(shape, float(rng.uniform(0.01, 1)), zero_point(rng))
    y = T(shape, float(rng.uniform(0.01, 1)), zero_point(rng))
    table = options("Add", fusedActivationFunction=int(rng.choice([0, 1, 3])))
    assert_same(core, build("ADD", [x, x], y, table), rng)
