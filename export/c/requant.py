"""Integer multipliers exactly as TensorFlow Lite derives them from float scales.

Sources: `quantization_util.cc`, `kernel_util.cc`, `add.cc`, `mul.cc`, `reduce.h`, `activations.cc`
and `fully_connected.cc` of TFLite. Where TFLite works in float32, so does this, on purpose: the
order of the operations and their width decide the last bit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
ADD_LEFT_SHIFT = {"int8": 20, "int16": 15}
SOFTMAX_INTEGER_BITS = 5
MAX_SHIFT = 30


def quantize_multiplier(real: float, max_shift: int = MAX_SHIFT) -> tuple[int, int]:
    """Multiplier (0 or 2^30..2^31-1) and shift (-31..max_shift), ``real = m / 2^31 * 2^shift``.

    Raises
    ------
    ValueError
        If `real` is negative, not finite, or 2^max_shift and more.
    """
    if not math.isfinite(real) or real < 0:
        raise ValueError(f"multiplier {real} is not a finite number above 0")
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    fixed = math.floor(fraction * (1 << 31) + 0.5)
    if fixed == 1 << 31:
        fixed //= 2
        shift += 1
    if shift < -31:
        return 0, 0
    if shift > max_shift:
        raise ValueError(f"multiplier {real:g} is 2^{max_shift} or more")
    return fixed, shift


def conv_multipliers(
    input_scale: np.float32, weight_scales: NDArray[np.float32], output_scale: np.float32
) -> list[tuple[int, int]]:
    """One pair per weight scale; the product is formed in double precision."""
    return [
        quantize_multiplier(float(input_scale) * float(scale) / float(output_scale))
        for scale in weight_scales
    ]


def fully_connected_multipliers(
    input_scale: np.float32, weight_scales: NDArray[np.float32], output_scale: np.float32
) -> list[tuple[int, int]]:
    """The integer form (TFLite Micro, CMSIS-NN, TFLite's optimised kernels).

    As a convolution's per channel; with one scale the product is rounded to float32 first.
    """
    if weight_scales.size > 1:
        return conv_multipliers(input_scale, weight_scales, output_scale)
    product = np.float32(input_scale) * np.float32(weight_scales[0])
    return [quantize_multiplier(float(product) / float(output_scale))]


def wide_multipliers(
    input_scale: np.float32, weight_scales: NDArray[np.float32], output_scale: np.float32
) -> list[tuple[int, int, int]]:
    """The form of LiteRT's reference FULLY_CONNECTED: all 53 bits of the double-precision ratio.

    That kernel alone rounds ``sum * ratio`` once, in double precision, halves away from zero.
    Triples (high 31 bits, low 22 bits, shift): ``ratio = (high + low / 2^22) / 2^31 * 2^shift``.
    The integer product is exact where the reference's is rounded to 53 bits: they could part
    only if a product came within 2^-45 of a half without being one.
    """
    triples = []
    for scale in weight_scales:
        real = float(input_scale) * float(scale) / float(output_scale)
        fraction, shift = math.frexp(real)
        if shift > MAX_SHIFT:
            raise ValueError(f"multiplier {real:g} is 2^{MAX_SHIFT} or more")
        bits = int(fraction * (1 << 53)) if shift >= -31 else 0  # below 2^-32 all round to 0
        triples.append((bits >> 22, bits & ((1 << 22) - 1), shift if bits else 0))
    return triples


def narrow_multipliers(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """For 64-bit sums: the multiplier's upper 15 bits, and a shift to the right (8..46).

    Source: ``MultiplyByQuantizedMultiplier(int64_t, ...)`` of `common.cc`.

    Raises
    ------
    ValueError
        If a multiplier is 2^7 and more: the reference has no result.
    """
    narrow = []
    for multiplier, shift in pairs:
        if shift > 7:
            raise ValueError("a ratio of scales is 2^7 or more")
        upper = (multiplier + (1 << 15)) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
        narrow.append((upper, 15 - shift))
    return narrow


def rescale_multiplier(input_scale: np.float32, output_scale: np.float32) -> tuple[int, int]:
    """From one scale to another; the quotient is TFLite's double of two floats."""
    return quantize_multiplier(float(input_scale) / float(output_scale))


def mean_multiplier(
    input_scale: np.float32, output_scale: np.float32, count: int
) -> tuple[int, int]:
    """`rescale_multiplier` with 1 / count inside, truncated (reduce.h, QuantizedMeanOrSum)."""
    multiplier, shift = rescale_multiplier(input_scale, output_scale)
    extra = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << extra) // count, shift - extra


def add_multipliers(
    scale_a: np.float32, scale_b: np.float32, output_scale: np.float32, dtype: str = "int8"
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Pairs for the operands and the sum, all below 1 (shift <= 0), after a left shift.

    The shift is 20 bits, of int16 operands 15.

    Raises
    ------
    ValueError
        If the sum's multiplier is 1 or more: TFLite aborts on such a model.
    """
    twice_most = 2 * max(float(scale_a), float(scale_b))
    real_out = twice_most / ((1 << ADD_LEFT_SHIFT[dtype]) * float(output_scale))
    out = quantize_multiplier(real_out)
    if real_out >= 1 or out[1] > 0:
        least = 1 - ADD_LEFT_SHIFT[dtype]
        raise ValueError(f"the output's scale {output_scale:g} is 2^{least} of the inputs' or less")
    return (
        quantize_multiplier(float(scale_a) / twice_most),
        quantize_multiplier(float(scale_b) / twice_most),
        out,
    )


def mul_multiplier(
    scale_a: np.float32, scale_b: np.float32, output_scale: np.float32, *, double: bool = False
) -> tuple[int, int]:
    """The ratio is formed in float32 by LiteRT, in double precision by TFLite Micro."""
    if double:
        return quantize_multiplier(float(scale_a) * float(scale_b) / float(output_scale))
    product = np.float32(scale_a) * np.float32(scale_b)
    return quantize_multiplier(float(product / np.float32(output_scale)))


def softmax_multiplier_s16(input_scale: np.float32, beta: float) -> tuple[int, int]:
    """From differences of int16 inputs to -65535..0 for -10..0 (the range of the table)."""
    return quantize_multiplier(float(input_scale) * beta / (10.0 / 65535.0))


def softmax_parameters(input_scale: np.float32, beta: float) -> tuple[int, int, int]:
    """Multiplier, left shift, and the lowest difference to the largest input that counts.

    Raises
    ------
    ValueError
        If scale times beta is 2^-26 or less: TFLite aborts on such a model.
    """
    real = min(beta * float(input_scale) * (1 << (31 - SOFTMAX_INTEGER_BITS)), (1 << 31) - 1.0)
    if real <= 1:
        raise ValueError(f"scale times beta is {beta * float(input_scale):g}, 2^-26 or less")
    multiplier, shift = quantize_multiplier(real, max_shift=31)
    most = float((1 << SOFTMAX_INTEGER_BITS) - 1) * (1 << (31 - SOFTMAX_INTEGER_BITS))
    return multiplier, shift, -math.floor(most / (1 << shift))


def activation_range(
    activation: str, scale: np.float32, zero_point: int, dtype: str = "int8"
) -> tuple[int, int]:
    """Least and greatest number that the fused activation lets through (float32 division)."""
    low, high = LIMITS[dtype]
    if activation in ("RELU", "RELU6"):
        low = max(low, zero_point)
    if activation == "RELU6":
        six = float(np.float32(6.0) / np.float32(scale))
        high = min(high, zero_point + math.floor(six + 0.5)) if math.isfinite(six) else high
    return low, high
