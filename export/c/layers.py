"""What each operator becomes in C: a kernel, its constant parameters, its constant arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from export.c import graph as g
from export.c import requant, tables
from targets.errors import InputError

Struct = Mapping[str, Any]


@dataclass(frozen=True)
class Array:
    """Reference to a constant array from inside a struct."""

    name: str


@dataclass(frozen=True, eq=False)
class Layer:
    """One call. Kernel ``conv2d`` is function ``dlink_conv2d`` in file ``dlink_conv2d.c``.

    `dsp_arrays` take the place of arrays of the same name where the DSP kernel wants another order.
    """

    op: g.Op
    kernel: str
    struct: str
    fields: Struct
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    dsp_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def array_bytes(self) -> int:
        """Flash bytes of the constant arrays."""
        return sum(int(a.nbytes) for a in self.arrays.values())


def lower(op: g.Op, fc_rounding: str) -> Layer:
    """The layer of `op` (not of RESHAPE, which needs none).

    `fc_rounding` is "reference" or "micro", see :func:`export.c.generate.generate`; MUL and
    LOGISTIC and ELU follow it too.

    Raises
    ------
    InputError
        If a scale ratio or a sum does not fit the reference's 32-bit arithmetic.
    """
    from export.c.layers_s16 import lower_s16  # which builds on this module

    try:
        if any(tensor.dtype == "int16" for tensor in (*op.inputs, op.output)):
            return lower_s16(op, fc_rounding)
        if type(op) in _LOWER_ROUNDED:
            return _LOWER_ROUNDED[type(op)](op, fc_rounding)
        return _LOWER[type(op)](op)
    except ValueError as err:
        raise InputError(
            f"layer cannot be computed in the reference's integers: {err}",
            where=op.where,
            todo="Calibrate and quantise the model again.",
        ) from None


def folded_bias(op: g.Weighted, axis: int) -> NDArray[np.int32]:
    """The bias with the input's zero point folded in; `axis` is that of the outputs.

    With the bound checked here no partial sum, in whatever order, leaves 32 bits.
    """
    others = tuple(i for i in range(op.weights.ndim) if i != axis)
    weights = op.weights.astype(np.int64) - op.weight_zero_point
    folded = op.bias.astype(np.int64) - op.inputs[0].zero_point * weights.sum(axis=others)
    bound = np.abs(op.bias.astype(np.int64)) + 255 * np.abs(weights).sum(axis=others)
    bound += 128 * abs(op.weight_zero_point) * (op.weights.size // op.weights.shape[axis])
    if bound.max() >= 2**31:
        raise ValueError(f"a sum may reach {bound.max()}, above 2^31 - 1")
    return folded.astype(np.int32)


def output_fields(op: g.Weighted, pairs: list[tuple[int, int]]) -> tuple[Struct, dict[str, Any]]:
    """The ``dlink_output_t`` and its arrays, one multiplier and shift per output channel."""
    channels = op.bias.size
    pairs = pairs * channels if len(pairs) == 1 else pairs
    low, high = requant.activation_range(op.activation, op.output.scale, op.output.zero_point)
    arrays = {
        "multiplier": np.array([m for m, _ in pairs], np.int32),
        "shift": np.array([s for _, s in pairs], np.int8),
    }
    fields = {
        "multiplier": Array("multiplier"),
        "shift": Array("shift"),
        "zero_point": op.output.zero_point,
        "low": low,
        "high": high,
    }
    return fields, arrays


def window_fields(window: g.Window, source: g.Tensor, target: g.Tensor) -> Struct:
    """The ``dlink_window_t``."""
    fields: dict[str, int] = {}
    for prefix, tensor in (("in", source), ("out", target)):
        for name, size in zip(("height", "width", "channels"), tensor.shape[1:], strict=True):
            fields[f"{prefix}_{name}"] = size
    for name, pair in (
        ("kernel", window.kernel),
        ("stride", window.stride),
        ("dilation", window.dilation),
    ):
        fields[f"{name}_height"], fields[f"{name}_width"] = pair
    fields["pad_top"], fields["pad_left"] = window.padding
    return fields


def _hangs_over(window: g.Window, source: g.Tensor, target: g.Tensor) -> bool:
    """Whether any window has a tap off the image."""
    for axis in (0, 1):
        reach = (window.kernel[axis] - 1) * window.dilation[axis]
        last = (target.shape[axis + 1] - 1) * window.stride[axis] - window.padding[axis] + reach
        if window.padding[axis] > 0 or last >= source.shape[axis + 1]:
            return True
    return False


def _conv(op: g.Op) -> Layer:
    op = cast("g.Conv2D | g.DepthwiseConv2D", op)
    depthwise = isinstance(op, g.DepthwiseConv2D)
    x = op.inputs[0]
    folded = folded_bias(op, 3 if depthwise else 0)
    pairs = requant.conv_multipliers(x.scale, op.weight_scales, op.output.scale)
    output, arrays = output_fields(op, pairs)
    arrays = {"weights": op.weights, "bias": op.bias, **arrays}
    inside = "bias"
    if not _hangs_over(op.window, x, op.output):
        arrays["bias"] = folded
    elif x.zero_point != 0:
        arrays["bias_inside"] = folded
        inside = "bias_inside"
    fields = {
        "window": window_fields(op.window, x, op.output),
        "weights": Array("weights"),
        "bias": Array("bias"),
        "bias_inside": Array(inside),
        "input_offset": -x.zero_point,
        "depth_multiplier": op.output.shape[3] // x.shape[3] if depthwise else 0,
        "output": output,
    }
    return Layer(op, "depthwise_conv2d" if depthwise else "conv2d", "conv", fields, arrays)


def _fully_connected(op: g.Op, rounding: str) -> Layer:
    op = cast("g.FullyConnected", op)
    x, (out, features) = op.inputs[0], op.weights.shape
    scales = x.scale, op.weight_scales, op.output.scale
    low: dict[str, NDArray[Any]] = {}
    if rounding == "micro":
        pairs = requant.fully_connected_multipliers(*scales)
    else:
        triples = requant.wide_multipliers(*scales)
        pairs = [(high, shift) for high, _, shift in triples]
        low["multiplier_low"] = np.array([t[1] for t in triples], np.int32)
    output, arrays = output_fields(op, pairs)
    if len(pairs) == 1:  # one scale for all outputs: one number
        arrays = {name: array[:1] for name, array in arrays.items()}
    fields = {
        "rows": x.size // features,
        "in_features": features,
        "out_features": out,
        "weights": Array("weights"),
        "bias": Array("bias"),
        "weights_zero_point": op.weight_zero_point,
        "per_channel": int(len(pairs) > 1),
        "output": output,
        "multiplier_low": Array("multiplier_low") if low else "NULL",
    }
    arrays = {"weights": op.weights, "bias": folded_bias(op, 0), **arrays, **low}
    dsp_arrays = {}
    if out % 4 == 0 and features % 4 == 0:  # four rows of four bytes lie together
        parted = op.weights.reshape(out // 4, 4, features // 4, 4)
        dsp_arrays["weights"] = np.ascontiguousarray(parted.transpose(0, 2, 1, 3))
    return Layer(op, "fully_connected", "fully_connected", fields, arrays, dsp_arrays)


def _pool(op: g.Op) -> Layer:
    op = cast("g.Pool2D", op)
    low, high = requant.activation_range(op.activation, op.output.scale, op.output.zero_point)
    fields = {"window": window_fields(op.window, op.inputs[0], op.output), "low": low, "high": high}
    return Layer(op, "max_pool" if op.kind == "MAX_POOL_2D" else "average_pool", "pool", fields)


def _mean(op: g.Op) -> Layer:
    op = cast("g.Mean", op)
    count = op.count * op.count_after
    if count * 255 >= 2**31:
        raise ValueError(f"a sum of {count} elements may leave 32 bits")
    return Layer(op, "mean", "mean", mean_fields(op))


def mean_fields(op: g.Mean) -> Struct:
    """The ``dlink_mean_t``."""
    x, count = op.inputs[0], op.count * op.count_after
    multiplier, shift = requant.mean_multiplier(x.scale, op.output.scale, count)
    return {
        "outer": op.outer,
        "count": op.count,
        "middle": op.middle,
        "count_after": op.count_after,
        "inner": op.inner,
        "sum_offset": -count * x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": op.output.zero_point,
    }


def limits(op: g.Op) -> dict[str, int]:
    """What the fused activation clamps to."""
    low, high = requant.activation_range(op.activation, op.output.scale, op.output.zero_point)
    return {"low": low, "high": high}


def _add(op: g.Op) -> Layer:
    fields = {**add_fields(op), **limits(op)}
    if isinstance(op, g.BroadcastAdd):
        both = {"broadcast": broadcast_fields(op.layout), "add": fields}
        return Layer(op, "add_broadcast", "add_broadcast", both)
    return Layer(op, "add", "add", fields)


def add_fields(op: g.Op) -> Struct:
    """The ``dlink_add_t`` but for its limits."""
    a, b = op.inputs
    pair_a, pair_b, pair_out = requant.add_multipliers(
        a.scale, b.scale, op.output.scale, op.output.dtype
    )
    return {
        "count": op.output.size,
        "offset_a": -a.zero_point,
        "multiplier_a": pair_a[0],
        "shift_a": -pair_a[1],
        "offset_b": -b.zero_point,
        "multiplier_b": pair_b[0],
        "shift_b": -pair_b[1],
        "multiplier_out": pair_out[0],
        "shift_out": -pair_out[1],
        "zero_point": op.output.zero_point,
    }


def broadcast_fields(layout: g.Broadcast) -> Struct:
    """The ``dlink_broadcast_t``: filled up to four axes in front."""
    missing = 4 - len(layout.size)
    return {
        "size": [1] * missing + list(layout.size),
        "steps_a": [0] * missing + list(layout.steps_a),
        "steps_b": [0] * missing + list(layout.steps_b),
    }


def _mul(op: g.Op, rounding: str) -> Layer:
    op = cast("g.Mul", op)
    return Layer(op, "mul", "mul", {**mul_fields(op, double=rounding == "micro"), **limits(op)})


def mul_fields(op: g.Mul, *, double: bool) -> Struct:
    """The ``dlink_mul_t`` but for its limits."""
    a, b = op.inputs
    multiplier, shift = requant.mul_multiplier(a.scale, b.scale, op.output.scale, double=double)
    return {
        "broadcast": broadcast_fields(op.layout),
        "offset_a": -a.zero_point,
        "offset_b": -b.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": op.output.zero_point,
    }


def concatenation_layer(op: g.Op) -> Layer:
    """The layer of CONCATENATION, which moves bytes whatever the type."""
    op = cast("g.Concatenation", op)
    fields = {"outer": op.outer, "n_inputs": len(op.runs), "run_bytes": Array("run_bytes")}
    arrays = {"run_bytes": np.array(op.runs, np.int32) * op.output.value_bytes}
    return Layer(op, "concatenation", "concatenation", fields, arrays)


def pad_layer(op: g.Op) -> Layer:
    """The layer of PAD, which moves bytes: they are the last axis."""
    op = cast("g.Pad", op)
    size = op.output.value_bytes
    fields = {
        "in": [*op.in_shape[:3], op.in_shape[3] * size],
        "before": [*op.before[:3], op.before[3] * size],
        "out": [*op.out_shape[:3], op.out_shape[3] * size],
        "value": op.output.zero_point,
    }
    return Layer(op, "pad", "pad", fields)


def _rescale(op: g.Op) -> Layer:
    return Layer(op, "rescale", "rescale", {**rescale_fields(op), **limits(op)})


def rescale_fields(op: g.Op) -> Struct:
    """The ``dlink_rescale_t`` but for its limits."""
    x, output = op.inputs[0], op.output
    multiplier, shift = requant.rescale_multiplier(x.scale, output.scale)
    return {
        "count": output.size,
        "offset": -x.zero_point,
        "multiplier": multiplier,
        "shift": shift,
        "zero_point": output.zero_point,
    }


def _logistic(op: g.Op, rounding: str) -> Layer:
    x = op.inputs[0]
    make = tables.logistic_fixed if rounding == "micro" else tables.logistic
    fields = {"count": op.output.size, "table": Array("table")}
    return Layer(op, "lookup", "lookup", fields, {"table": make(x.scale, x.zero_point)})


def _elu(op: g.Op, rounding: str) -> Layer:
    table = tables.elu_of(op, difference=rounding == "micro")
    fields = {"count": op.output.size, "table": Array("table")}
    return Layer(op, "lookup", "lookup", fields, {"table": table})


def _softmax(op: g.Op) -> Layer:
    op = cast("g.Softmax", op)
    x = op.inputs[0]
    multiplier, shift, lowest = requant.softmax_parameters(x.scale, op.beta)
    fields = {
        "rows": x.size // x.shape[-1],
        "depth": x.shape[-1],
        "multiplier": multiplier,
        "left_shift": shift,
        "lowest_difference": lowest,
    }
    return Layer(op, "softmax", "softmax", fields)


_LOWER: dict[type[g.Op], Callable[[g.Op], Layer]] = {
    g.Conv2D: _conv,
    g.DepthwiseConv2D: _conv,
    g.Pool2D: _pool,
    g.Mean: _mean,
    g.Add: _add,
    g.BroadcastAdd: _add,
    g.Concatenation: concatenation_layer,
    g.Pad: pad_layer,
    g.Relu: _rescale,
    g.Requantize: _rescale,
    g.Softmax: _softmax,
}
_LOWER_ROUNDED: dict[type[g.Op], Callable[[g.Op, str], Layer]] = {
    g.Elu: _elu,
    g.FullyConnected: _fully_connected,
    g.Logistic: _logistic,
    g.Mul: _mul,
}
