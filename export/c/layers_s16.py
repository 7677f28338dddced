"""What each operator becomes in C where activations are int16 and weights int8 (int16x8).

As :mod:`export.c.layers`, with the reference's 64-bit sums. All zero points are 0, but that of the
8-bit side of a QUANTIZE between the widths.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from export.c import graph as g
from export.c import layers, requant, tables
from export.c.layers import Array, Layer, Struct

_MOST_SUM = 2**47  # what the reference can scale
_MOST_COUNT = 2**16 - 1  # elements whose sum stays in 32 bits


def lower_s16(op: g.Op, fc_rounding: str) -> Layer:
    """The layer of an operator on int16 activations; `fc_rounding` as in :func:`layers.lower`.

    Raises
    ------
    ValueError
        If a scale ratio or a sum does not fit the reference's arithmetic.
    """
    if type(op) in _LOWER_ROUNDED:
        return _LOWER_ROUNDED[type(op)](op, fc_rounding)
    return _LOWER[type(op)](op)


def _limits(op: g.Op) -> dict[str, int]:
    low, high = requant.activation_range(op.activation, op.output.scale, 0, "int16")
    return {"low": low, "high": high}


def _check_sums(op: g.Weighted, axis: int) -> None:
    """No sum leaves the range that the reference can scale; `axis` is that of the outputs."""
    others = tuple(i for i in range(op.weights.ndim) if i != axis)
    magnitudes = np.abs(op.weights.astype(np.int64)).sum(axis=others)
    bias = [abs(int(b)) for b in op.bias]  # in Python's integers: abs(-2^63) has no int64
    bound = max(b + 32768 * int(m) for b, m in zip(bias, magnitudes, strict=True))
    if bound >= _MOST_SUM:
        raise ValueError(f"a sum may reach {bound}, 2^47 or more")


def _weighted(op: g.Weighted, axis: int) -> tuple[Struct, dict[str, Any]]:
    """The ``dlink_output_s16_t``, and the arrays of every layer with weights."""
    _check_sums(op, axis)
    scales = op.inputs[0].scale, op.weight_scales, op.output.scale
    pairs = requant.narrow_multipliers(requant.conv_multipliers(*scales))
    pairs = pairs * op.bias.size if len(pairs) == 1 else pairs
    arrays = {
        "weights": op.weights,
        "bias": op.bias,
        "multiplier": np.array([m for m, _ in pairs], np.int16),
        "shift": np.array([s for _, s in pairs], np.int8),
    }
    return {"multiplier": Array("multiplier"), "shift": Array("shift"), **_limits(op)}, arrays


def _conv(op: g.Op) -> Layer:
    op = cast("g.Conv2D | g.DepthwiseConv2D", op)
    depthwise = isinstance(op, g.DepthwiseConv2D)
    x = op.inputs[0]
    output, arrays = _weighted(op, 3 if depthwise else 0)
    fields = {
        "window": layers.window_fields(op.window, x, op.output),
        "weights": Array("weights"),
        "bias": Array("bias"),
        "depth_multiplier": op.output.shape[3] // x.shape[3] if depthwise else 0,
        "output": output,
    }
    return Layer(
        op, "depthwise_conv2d_s16" if depthwise else "conv2d_s16", "conv_s16", fields, arrays
    )


def _fully_connected(op: g.Op, rounding: str) -> Layer:
    op = cast("g.FullyConnected", op)
    out, features = op.weights.shape
    exact: dict[str, Any] = {}
    if rounding == "micro":
        output, arrays = _weighted(op, 0)
    else:
        _check_sums(op, 0)
        scales = op.inputs[0].scale, op.weight_scales, op.output.scale
        triples = np.array(requant.wide_multipliers(*scales), np.int64)
        if triples[:, 2].max() > 6:
            raise ValueError("a ratio of scales is 2^6 or more")
        triples = np.broadcast_to(triples, (out, 3))
        exact["multiplier_high"] = triples[:, 0].astype(np.int32)
        exact["multiplier_low"] = triples[:, 1].astype(np.int32)
        shift = (7 - triples[:, 2]).astype(np.int8)
        arrays = {"weights": op.weights, "bias": op.bias, "shift": shift, **exact}
        output = {"multiplier": "NULL", "shift": Array("shift"), **_limits(op)}
    fields = {
        "rows": op.inputs[0].size // features,
        "in_features": features,
        "out_features": out,
        "weights": Array("weights"),
        "bias": Array("bias"),
        "output": output,
        "multiplier_high": Array("multiplier_high") if exact else "NULL",
        "multiplier_low": Array("multiplier_low") if exact else "NULL",
    }
    return Layer(op, "fully_connected_s16", "fully_connected_s16", fields, arrays)


def _pool(op: g.Op) -> Layer:
    op = cast("g.Pool2D", op)
    window = layers.window_fields(op.window, op.inputs[0], op.output)
    kernel = "max_pool_s16" if op.kind == "MAX_POOL_2D" else "average_pool_s16"
    return Layer(op, kernel, "pool", {"window": window, **_limits(op)})


def _check_count(count: int) -> None:
    if count > _MOST_COUNT:
        raise ValueError(f"a sum of {count} elements may leave 32 bits")


def _mean(op: g.Op) -> Layer:
    op = cast("g.Mean", op)
    _check_count(op.count * op.count_after)
    return Layer(op, "mean_s16", "mean", layers.mean_fields(op))


def _add(op: g.Op) -> Layer:
    op = cast("g.Add | g.BroadcastAdd", op)
    size = op.output.size
    layout = op.layout if isinstance(op, g.BroadcastAdd) else g.Broadcast((size,), (1,), (1,))
    fields = {
        "broadcast": layers.broadcast_fields(layout),
        "add": {**layers.add_fields(op), **_limits(op)},
    }
    return Layer(op, "add_s16", "add_broadcast", fields)


def _mul(op: g.Op, rounding: str) -> Layer:
    op = cast("g.Mul", op)
    fields = {**layers.mul_fields(op, double=rounding == "micro"), **_limits(op)}
    return Layer(op, "mul_s16", "mul", fields)


def _rescale(op: g.Op) -> Layer:
    return Layer(op, "rescale_s16", "rescale", {**layers.rescale_fields(op), **_limits(op)})


def _requantize(op: g.Op) -> Layer:
    """Between the widths each way has a kernel of its own."""
    layer = _rescale(op)
    if op.output.dtype == op.inputs[0].dtype:
        return layer
    if op.output.dtype == "int16":
        return replace(layer, kernel="rescale_s8_s16")
    fields = {**layers.rescale_fields(op), **layers.limits(op)}
    return replace(layer, kernel="rescale_s16_s8", fields=fields)


def _softmax(op: g.Op) -> Layer:
    op = cast("g.Softmax", op)
    x = op.inputs[0]
    multiplier, shift = requant.softmax_multiplier_s16(x.scale, op.beta)
    fields = {
        "rows": x.size // x.shape[-1],
        "depth": x.shape[-1],
        "multiplier": multiplier,
        "shift": shift,
        "exponential": Array("exponential"),
        "reciprocal": Array("reciprocal"),
    }
    arrays = {
        "exponential": tables.softmax_exponential(),
        "reciprocal": tables.softmax_reciprocal(),
    }
    return Layer(op, "softmax_s16", "softmax_s16", fields, arrays)


_LOWER: dict[type[g.Op], Callable[[g.Op], Layer]] = {
    g.Conv2D: _conv,
    g.DepthwiseConv2D: _conv,
    g.Pool2D: _pool,
    g.Mean: _mean,
    g.Add: _add,
    g.BroadcastAdd: _add,
    g.Concatenation: layers.concatenation_layer,
    g.Pad: layers.pad_layer,
    g.Relu: _rescale,
    g.Requantize: _requantize,
    g.Softmax: _softmax,
}
_LOWER_ROUNDED: dict[type[g.Op], Callable[[g.Op, str], Layer]] = {
    g.FullyConnected: _fully_connected,
    g.Mul: _mul,
}
