"""Tables of functions, computed when the library is generated.

Of LOGISTIC both ways in which it is computed elsewhere are here to the last bit: LiteRT's reference
kernel in float32, TensorFlow Lite Micro and CMSIS-NN in gemmlowp's fixed point; of ELU too, where
the two hardly ever part.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from export.c import graph as g
from export.c.requant import quantize_multiplier

_ALL = np.arange(-128, 128)
_INT32_MAX = 2**31 - 1
_INTEGER_BITS = 4
_EXP_FACTORS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)


def logistic(scale: np.float32, zero_point: int) -> NDArray[np.int8]:
    """LOGISTIC of -128..127 as LiteRT's reference: float32, rounded once.

    Source: ``activations.cc`` and ``lut.h`` of LiteRT. The exponential is formed in double
    precision and rounded, which is what the C library's ``expf`` gives.
    """
    with np.errstate(over="ignore"):  # infinity is right: the result is 0 or 1
        x = np.float32(scale) * (_ALL - zero_point).astype(np.float32)
        power = np.exp(-x.astype(np.float64)).astype(np.float32)
    value = np.float32(1) / (np.float32(1) + power)
    rounded = np.floor(value * np.float32(256) + np.float32(0.5))
    return np.clip(rounded - 128, -128, 127).astype(np.int8)


def elu(
    scale: np.float32,
    zero_point: int,
    output_scale: np.float32,
    output_zero_point: int,
    *,
    difference: bool = False,
) -> NDArray[np.int8]:
    """ELU of -128..127 in float32, as both references compute it, rounded once.

    LiteRT takes ``expm1(x)``, TensorFlow Lite Micro the `difference` ``exp(x) - 1``; formed in
    double precision and rounded, as the C library gives them. Source: ``activations.cc`` and
    ``lut.h`` of LiteRT, ``elu.cc`` of TensorFlow Lite Micro.
    """
    x = np.float32(scale) * (_ALL - zero_point).astype(np.float32)
    below = np.minimum(x, 0).astype(np.float64)
    power = np.exp(below).astype(np.float32) - np.float32(1)
    value = np.where(x < 0, power if difference else np.expm1(below).astype(np.float32), x)
    steps = (value * (np.float32(1) / np.float32(output_scale))).astype(np.float64)
    rounded = np.copysign(np.floor(np.abs(steps) + 0.5), steps)
    return np.clip(rounded + output_zero_point, -128, 127).astype(np.int8)


def elu_of(op: g.Op, *, difference: bool = False) -> NDArray[np.int8]:
    """The table of :func:`elu` between the scales of a layer's input and output."""
    x, y = op.inputs[0], op.output
    return elu(x.scale, x.zero_point, y.scale, y.zero_point, difference=difference)


def logistic_fixed(scale: np.float32, zero_point: int) -> NDArray[np.int8]:
    """LOGISTIC of -128..127 in gemmlowp's fixed point, as ``reference_integer_ops::Logistic``."""
    real = float(scale) * (1 << (31 - _INTEGER_BITS))
    multiplier, shift = quantize_multiplier(real, max_shift=31)
    most = ((1 << _INTEGER_BITS) - 1) * (1 << (31 - _INTEGER_BITS))
    radius = math.floor(most / 2.0**shift)
    values = []
    for byte in range(-128, 128):
        centred = byte - zero_point
        if centred <= -radius:
            values.append(-128)
        elif centred >= radius:
            values.append(127)
        else:
            x = _scaled(centred, multiplier, shift)
            values.append(min(_shift_right(_logistic_q4(x), 31 - 8), 255) - 128)
    return np.array(values, np.int8)


def _scaled(x: int, multiplier: int, shift: int) -> int:
    return _shift_right(_high_mul(x << max(shift, 0), multiplier), max(-shift, 0))


def _high_mul(a: int, b: int) -> int:
    """High 32 bits of 2ab, rounded to nearest, halves up."""
    return (a * b + (1 << 30)) >> 31


def _shift_right(x: int, exponent: int) -> int:
    """x / 2^exponent, rounded to nearest, halves away from zero."""
    half = (1 << exponent) >> 1
    return (x + half) >> exponent if x >= 0 else -((-x + half) >> exponent)


def _logistic_q4(a: int) -> int:
    """gemmlowp's ``logistic`` of a Q4 number, in Q0."""
    if a == 0:
        return 1 << 30
    positive = _one_over_one_plus(_exp_of_negative(-abs(a)))
    return positive if a > 0 else _INT32_MAX - positive


def _exp_of_negative(a: int) -> int:
    """gemmlowp's ``exp_on_negative_values`` of a Q4 number below 0, in Q0."""
    fraction_bits = 31 - _INTEGER_BITS
    quarter = 1 << (fraction_bits - 2)
    rest = (a & (quarter - 1)) - quarter
    taken = rest - a
    result = _exp_near_zero(rest << _INTEGER_BITS)
    for i, factor in enumerate(_EXP_FACTORS[: _INTEGER_BITS + 2]):
        if taken & (quarter << i):
            result = _high_mul(result, factor)
    return result


def _exp_near_zero(a: int) -> int:
    """exp(a) for a in [-1/4, 0), Q0: Taylor series around -1/8."""
    exp_of_minus_eighth, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = _high_mul(x, x)
    x3, x4 = _high_mul(x2, x), _high_mul(x2, x2)
    series = _shift_right(_high_mul(_shift_right(x4, 2) + x3, third) + x2, 1)
    return exp_of_minus_eighth + _high_mul(exp_of_minus_eighth, x + series)


def _one_over_one_plus(a: int) -> int:
    """1 / (1 + a) for a in [0, 1), Q0: three Newton steps in Q2."""
    half = (a + _INT32_MAX + 1) // 2
    x = 1515870810 + _high_mul(half, -1010580540)
    for _ in range(3):
        x += _high_mul(x, (1 << 29) - _high_mul(half, x)) << 2
    return min(x << 1, _INT32_MAX)


def softmax_exponential() -> NDArray[np.int16]:
    """exp over -10..0 at 513 points, Q15, for ``dlink_softmax_s16``."""
    return _points(math.exp, -10.0, 0.0)


def softmax_reciprocal() -> NDArray[np.int16]:
    """1 / (1 + x) over 0..1 at 513 points, Q15, for ``dlink_softmax_s16``."""
    return _points(lambda x: 1.0 / (1.0 + x), 0.0, 1.0)


def _points(function: Callable[[float], float], low: float, high: float) -> NDArray[np.int16]:
    """Points for linear interpolation, each moved by half the error in the middle of its interval.

    Source: ``LUTPopulate`` of `common.h` (LiteRT), in double precision.
    """
    step, scale = (high - low) / 512, 65536 / 2.0
    table = []
    for i in range(512):
        x = low + i * step
        here, after = function(x) * scale, function(low + (i + 1) * step) * scale
        interpolated = _round((after + _round(here)) / 2)
        error = interpolated - _round(function(x + step / 2) * scale)
        table.append(_round(here) - _round(error / 2))
    table.append(_round(function(high) * scale))
    return np.clip(table, -32768, 32767).astype(np.int16)


def _round(x: float) -> float:
    """To nearest, halves away from zero."""
    return math.copysign(math.floor(abs(x) + 0.5), x)
