"""Layers as stages of a pipeline: how each slides along an axis, and its constants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from export.c import graph as g
from export.c import helium, packing, requant, tables, trim
from export.c.layers import (
    Array,
    Struct,
    add_fields,
    folded_bias,
    limits,
    mean_fields,
    output_fields,
)
from export.c.line import find_line
from targets.errors import InputError

PLAIN_SHIFT_MOST = 20
DIRECT_LEAST = 320  # values under a window
COPIES = ("weights4", "packed", "packed_words", "nudge")  # arrays beside the plain path's
HALVE = (1 << 30, 0)  # multiplier and shift
ANY_SHIFT, SHORT, SHORT_FULL = 0, 1, 2  # forms of requantisation, dlink_requant.h
_UINT16_MAX = 2**16 - 1


@dataclass(frozen=True, eq=False)
class Stage:
    """One layer. Kernel ``conv_stage`` is function ``dlink_conv_stage`` in the file of that name.

    `size`, `stride` and `pad` are (height, width): the extent of a window with its dilation, the
    step to the next one, and the padding before the first. `inputs` and `output` are images, one
    tensor or two of equal shape, and one. `dsp_arrays`, `packed_arrays` and `mve_arrays` take the
    place of arrays of the same name where a kernel wants them otherwise.
    """

    op: g.Op
    kernel: str
    struct: str
    fields: Struct
    inputs: tuple[g.Tensor, ...]
    output: g.Tensor
    size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    dsp_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    packed_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    mve_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def fixed_bytes(self) -> int:
        """Size of an output that does not grow with its positions: sums of all of them; or 0."""
        return 4 * self.output.shape[3] if self.kernel == "sum_stage" else 0

    @property
    def window_bytes(self) -> int:
        """Values under a window of a convolution; 0 for other layers."""
        return prod(self.op.weights.shape[1:]) if self.kernel == "conv_stage" else 0  # type: ignore[attr-defined]

    @property
    def words(self) -> int:
        """32-bit words of a widened window (dlink_conv_stage.c)."""
        if not self.window_bytes:
            return 0
        height, width = self.op.window.kernel  # type: ignore[attr-defined]
        runs = 1 if width * self.inputs[0].shape[3] % 4 == 0 else height
        run = self.window_bytes // runs
        return runs * (run // 4 * 2 + min(run % 4, 2))

    def scratch_bytes(self, block: int) -> int:
        """Scratch memory of the kernel with `block` pixels gathered at once."""
        if self.kernel == "conv_stage":
            fetched = 0 if self.fields["direct"] else 2 * self.words
            gathered = max(4 * fetched, -(-self.window_bytes // 4) * 4)
            dsp = 4 * block * (1 + self.words) + gathered
            return max(
                dsp, packing.conv_scratch_bytes(self.window_bytes, self.inputs[0].shape[3], block)
            )
        if isinstance(self.op, g.DepthwiseConv2D):
            taps = prod(self.op.window.kernel)
            channels = self.op.inputs[0].shape[3]
            dsp = 8 * taps + -(-taps * channels // 4) * 4
            if "weights4" in self.fields and self.fields["multiplier"] == 1:
                dsp += channels * (2 * taps + 9)  # a copy of all constants
            strip = (cast("int", self.fields[name]) for name in ("strip", "strip_rows"))
            helium_bytes = helium.strip_bytes(self.op.window, *strip)
            return max(dsp, helium_bytes, packing.depthwise_scratch_bytes(taps, channels))
        return 0


def can_be_stage(op: g.Op) -> bool:
    """Whether the layer can work on a part of its image at a time."""
    if op.output.dtype != "int8" or any(tensor.data is not None for tensor in op.inputs):
        return False
    if _is_global(op):
        return True
    if isinstance(op, g.Add):
        a, b = op.inputs
        return a.shape == b.shape and _is_image(a)
    if isinstance(op, g.Elu):
        # A stage does not know which reference it follows: only where both have one table.
        same = np.array_equal(tables.elu_of(op), tables.elu_of(op, difference=True))
        return same and _is_image(op.output) and _small(op)
    return isinstance(op, g.Conv2D | g.DepthwiseConv2D | g.Pool2D) and _small(op)


def _is_image(tensor: g.Tensor) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[0] == 1


def _small(op: g.Op) -> bool:
    """Whether all sizes fit the structs' 16 bits (and 32-bit products of them are safe)."""
    sizes = (*op.inputs[0].shape, *op.output.shape, prod(op.inputs[0].shape[2:]))
    return max((*sizes, prod(op.output.shape[2:]))) <= _UINT16_MAX


def _is_global(op: g.Op) -> bool:
    """Whether a layer averages over a whole image."""
    x = op.inputs[0]
    if len(x.shape) != 4 or x.shape[0] != 1:
        return False
    if isinstance(op, g.Pool2D):
        whole = op.window.kernel == x.shape[1:3] and op.window.padding == (0, 0)
        return op.kind == "AVERAGE_POOL_2D" and whole and op.output.shape[1:3] == (1, 1)
    return isinstance(op, g.Mean) and (op.outer, op.middle, op.inner) == (1, 1, x.shape[3])


def lower_stage(op: g.Op) -> list[Stage]:
    """The stage of `op`, for which :func:`can_be_stage` holds; two for a mean of the whole image.

    Raises
    ------
    InputError
        If a scale ratio or a sum does not fit the reference's 32-bit arithmetic.
    """
    try:
        if _is_global(op):
            return _global_mean(op)
        if isinstance(op, g.DepthwiseConv2D):
            return [_conv(_as_conv(op)) if op.inputs[0].shape[3] == 1 else _depthwise(op)]
        if isinstance(op, g.Conv2D):
            return [_conv(op)]
        if isinstance(op, g.Elu):
            return [_lookup(op)]
        return [_pool(op) if isinstance(op, g.Pool2D) else _add(cast("g.Add", op))]
    except ValueError as err:
        raise InputError(
            f"layer cannot be computed in 32-bit integers: {err}",
            where=op.where,
            todo="Calibrate and quantise the model again.",
        ) from None


def _stage(op: g.Op, kernel: str, fields: Struct, struct: str = "", **more: Any) -> Stage:
    """A stage between the layer's own tensors."""
    return Stage(op, kernel, struct or kernel, fields, op.inputs, op.output, **more)


def _as_conv(op: g.DepthwiseConv2D) -> g.Conv2D:
    """A depthwise convolution of one channel is a convolution: each output has its own filter."""
    fields = {k: v for k, v in vars(op).items() if k != "weights"}
    return g.Conv2D(**fields, weights=np.moveaxis(op.weights, 3, 0))


def _requant(op: g.Weighted, folded: NDArray[np.int32], axis: int) -> tuple[Struct, dict[str, Any]]:
    """The ``dlink_requant_t`` and its arrays, one multiplier and shift per output channel."""
    pairs = requant.conv_multipliers(op.inputs[0].scale, op.weight_scales, op.output.scale)
    fields, arrays = output_fields(op, pairs)
    multiplier, shift = arrays["multiplier"], arrays["shift"]
    others = tuple(i for i in range(op.weights.ndim) if i != axis)
    bound = np.abs(folded.astype(np.int64)) + 128 * np.abs(op.weights.astype(np.int64)).sum(others)
    short = (shift < 0) & (shift >= -PLAIN_SHIFT_MOST) & (multiplier > 0) & (bound < 2**30)
    plain = int(short.all())
    full = (fields["low"], fields["high"]) == (-128, 127)
    fields = {
        **fields,
        "limbs": plain and packing.limbs(int(bound.max()), -int(shift.min())),
        "plain_shift": plain and (SHORT_FULL if full else SHORT),
    }
    return fields, {"multiplier": multiplier, "shift": -shift if plain else shift}


def _trim(
    output: Struct, arrays: dict[str, NDArray[Any]], weights: NDArray[np.int8]
) -> tuple[Struct, dict[str, NDArray[Any]]]:
    """A ``dlink_requant_t`` with nudges, which join `arrays`, and the multipliers that go along.

    `weights` (channels, K). As they were where no channel has a proof.
    """
    if output["limbs"] == 0:
        return output, {}
    constants = (arrays["bias"], arrays["multiplier"], arrays["shift"])
    trimmed, nudges = trim.trim_layer(weights, *constants, output["zero_point"])
    if (nudges == trim.UNPROVED).all():
        return output, {}
    arrays["nudge"] = nudges
    return {**output, "nudge": Array("nudge")}, {"multiplier": trimmed}


def _slide(window: g.Window) -> Struct:
    pairs = (("kernel", window.kernel), ("stride", window.stride), ("dilation", window.dilation))
    return {
        f"{name}_{axis}": value
        for name, pair in pairs
        for axis, value in zip(("height", "width"), pair, strict=True)
    }


def _geometry(window: g.Window) -> dict[str, Any]:
    size = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True)]
    return {"size": (size[0], size[1]), "stride": window.stride, "pad": window.padding}


def _conv(op: g.Conv2D) -> Stage:
    folded = folded_bias(op, 0)
    output, arrays = _requant(op, folded, 0)
    fields = {
        "slide": _slide(op.window),
        "in_channels": op.inputs[0].shape[3],
        "out_channels": op.output.shape[3],
        "block": 0,  # the pipeline's choice, and so is scratch
        "scratch": 0,
        "direct": 0,
        "padding": op.inputs[0].zero_point,
        "weights": Array("weights"),
        "bias": Array("bias"),
        "requant": output,
    }
    arrays = {"weights": op.weights, "bias": folded, **arrays}
    flat = op.weights.reshape(op.weights.shape[0], -1)
    words = packing.packed_words(flat)
    name = "packed_words" if words.nbytes <= packing.WORDS_MOST else "packed"
    fields[name] = Array(name)
    arrays[name] = words if name == "packed_words" else packing.packed_bytes(flat)
    direct = _can_be_direct(op) and output["plain_shift"] == SHORT_FULL
    fields["direct"] = int(direct)
    fields["requant"], packed_arrays = _trim(output, arrays, flat)
    return _stage(
        op,
        "conv_stage",
        fields,
        arrays=arrays,
        dsp_arrays={"weights": packing.by_two(flat)} if direct else {},
        packed_arrays=packed_arrays,
        mve_arrays={"weights": helium.conv_weights(op.weights)},
        **_geometry(op.window),
    )


def _can_be_direct(op: g.Conv2D) -> bool:
    """Whether the DSP kernel reads the weights from flash for every three pixels.

    For long windows: few fit in memory at once, and widened weights would not pay for themselves.
    """
    run = op.weights.shape[2] * op.weights.shape[3]
    window = run * op.weights.shape[1]
    return window >= DIRECT_LEAST and window % 8 == run % 4 == op.weights.shape[0] % 2 == 0


def _depthwise(op: g.DepthwiseConv2D) -> Stage:
    folded = folded_bias(op, 3)
    output, arrays = _requant(op, folded, 3)
    channels = op.inputs[0].shape[3]
    multiplier = op.output.shape[3] // channels
    fields = {
        "slide": _slide(op.window),
        "in_channels": channels,
        "multiplier": multiplier,
        "padding": op.inputs[0].zero_point,
        **helium.strip(op.window, *op.output.shape[1:3]),
        "weights": Array("weights"),
        "bias": Array("bias"),
        "requant": output,
    }
    arrays = {"weights": op.weights, "bias": folded, **arrays}
    mve_arrays: dict[str, NDArray[Any]] = {}
    mve_arrays["weights"] = helium.depthwise_weights(op.weights, multiplier, op.window)
    if multiplier > 1:
        for name in ("bias", "multiplier", "shift"):
            mve_arrays[name] = helium.by_output(arrays[name], multiplier)
    flat = op.weights.reshape(-1, channels * multiplier).T
    fields["requant"], packed_arrays = _trim(output, arrays, flat)
    dsp_arrays: dict[str, NDArray[Any]] = {}
    if channels % 4 == 0 and output["plain_shift"] == SHORT_FULL:
        fields["weights4"] = Array("weights4")
        arrays["weights4"] = packing.by_four(op.weights, multiplier)
        if multiplier > 1:
            by_output = np.arange(channels * multiplier).reshape(-1, 4, multiplier)
            order = by_output.transpose(0, 2, 1).reshape(-1)
            dsp_arrays = {name: arrays[name][order] for name in ("bias", "multiplier", "shift")}
    return _stage(
        op,
        "depthwise_stage",
        fields,
        arrays=arrays,
        dsp_arrays=dsp_arrays,
        packed_arrays=packed_arrays,
        mve_arrays=mve_arrays,
        **_geometry(op.window),
    )


def _pool(op: g.Pool2D) -> Stage:
    low, high = requant.activation_range(op.activation, op.output.scale, op.output.zero_point)
    fields = {
        "slide": _slide(op.window),
        "channels": op.inputs[0].shape[3],
        "low": low,
        "high": high,
    }
    kernel = "max_pool_stage"
    if op.kind == "AVERAGE_POOL_2D":
        kernel = "average_pool_stage"
        count = prod(op.window.kernel)
        fields["shift"] = count.bit_length() - 1 if count.bit_count() == 1 else 0
        fields["reciprocal"] = reciprocal(count)
    return _stage(op, kernel, fields, struct="pool_stage", **_geometry(op.window))


def reciprocal(count: int) -> int:
    """``size * r >> 24 == size // count`` for each ``|sum| + count // 2`` of int8; 0 if none."""
    most = 128 * count + count // 2
    found = -(-(1 << 24) // count)
    if most * found >= 2**32:
        return 0
    sizes = np.arange(most + 1, dtype=np.uint64)
    exact = bool(((sizes * np.uint64(found)) >> np.uint64(24) == sizes // np.uint64(count)).all())
    return found if exact else 0


def _add(op: g.Add) -> Stage:
    def pair(shared: Struct, which: str) -> tuple[int, int]:
        return shared[f"multiplier_{which}"], -shared[f"shift_{which}"]

    shared = add_fields(op)
    inputs = a, b = op.inputs
    if pair(shared, "b") == HALVE != pair(shared, "a"):  # the larger scale first: it is halved
        inputs = a, b = b, a
        shared = add_fields(replace(op, inputs=inputs))
    clamp = limits(op)
    pairs = [pair(shared, which) for which in ("a", "b", "out")]
    short = pairs[0] == HALVE and pairs[1][1] < 0 and pairs[2][1] < 0
    fields: dict[str, Any] = {
        "channels": op.output.shape[3],
        "quick": int(short and tuple(clamp.values()) == (-128, 127)),
        **{name: value for name, value in shared.items() if name != "count"},
        **clamp,
    }
    shifts = ((pairs[0][0], -pairs[0][1]), (pairs[1][0], -pairs[1][1]), (pairs[2][0], -pairs[2][1]))
    line = find_line(shifts, (a.zero_point, b.zero_point, op.output.zero_point))
    if line is not None:
        fields["line"] = vars(line)
    return replace(_stage(op, "add_stage", fields), inputs=inputs)


def _lookup(op: g.Elu) -> Stage:
    fields = {"channels": op.output.shape[3], "table": Array("table")}
    return _stage(op, "lookup_stage", fields, arrays={"table": tables.elu_of(op)})


def _global_mean(op: g.Op) -> list[Stage]:
    """A stage that adds up whatever comes, and one that divides at the end."""
    image = op.inputs[0]
    _, height, width, channels = image.shape
    sums = replace(image, index=-1 - op.index)
    result = replace(op.output, shape=(1, 1, 1, channels))
    add_up = Stage(op, "sum_stage", "sum_stage", {"channels": channels}, (image,), sums)
    if isinstance(op, g.Pool2D):
        divide = _pool(op)
        divide = replace(divide, kernel="divide_stage", inputs=(sums,), output=result)
        return [add_up, divide]
    count = height * width
    mean = mean_fields(cast("g.Mean", op))
    if count * 255 >= 2**31:
        raise ValueError(f"a sum of {count} elements may leave 32 bits")
    names = ("sum_offset", "multiplier", "shift", "zero_point")
    fields = {"channels": channels, **{name: mean[name] for name in names}}
    size = (height, width)
    return [
        add_up,
        Stage(op, "mean_stage", "mean_stage", fields, (sums,), result, size=size, stride=size),
    ]
