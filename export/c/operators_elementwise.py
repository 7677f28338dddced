"""Readers of the operators without weights: sums, products, means, copies and activations."""

from __future__ import annotations

import math
from math import prod

from export.c import graph as g
from export.c.raw import INT32, INT64, Node

_SOFTMAX_DEPTH = 4095  # sums of exp() have 12 integer bits
_BROADCAST_AXES = 4
_AGAIN = "Export the model again."
_TOGETHER = "Quantise them together."


def add(node: Node) -> g.Op:
    """ADD; operands of one shape are told apart, as most are."""
    a, b, output, layout = _operands(node)
    parts = node.parts(output, a, b, activation=node.activation())
    powers = all(math.frexp(t.scale)[0] == 0.5 for t in (a, b, output))
    if a.dtype == "int16" and powers and node.option("potScaleInt16"):
        raise node.fail(
            "16-bit ADD in the old form for scales that are powers of two is not supported",
            "Set pot_scale_int16 to false, or calibrate again.",
        )
    if a.shape == b.shape:
        return g.Add(**parts)
    return g.BroadcastAdd(**parts, layout=layout)


def mul(node: Node) -> g.Op:
    """MUL."""
    a, b, output, layout = _operands(node)
    return g.Mul(**node.parts(output, a, b, activation=node.activation()), layout=layout)


def _operands(node: Node) -> tuple[g.Tensor, g.Tensor, g.Tensor, g.Broadcast]:
    """Both operands, the output, and how they lie to each other."""
    a, b = node.input(0), node.input(1)
    rank = max(len(a.shape), len(b.shape))
    wide_a, wide_b = ((1,) * (rank - len(t.shape)) + t.shape for t in (a, b))
    shape = tuple(max(pair) for pair in zip(wide_a, wide_b, strict=True))
    fit = all(1 in pair or pair[0] == pair[1] for pair in zip(wide_a, wide_b, strict=True))
    layout = _broadcast(wide_a, wide_b)
    if not fit or len(layout.size) > _BROADCAST_AXES:
        raise node.fail(
            f"operands of {node.kind} cannot be broadcast to each other",
            "Give both the same shape, or one value for each channel.",
            f"{a.dims} and {b.dims}",
        )
    return a, b, node.output(shape), layout


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> g.Broadcast:
    """Neighbouring axes along which the same operands stand still become one."""
    merged: list[list[int]] = []  # size, whether a and b move along it
    for n_a, n_b in zip(a, b, strict=True):
        axis = [max(n_a, n_b), int(n_a > 1), int(n_b > 1)]
        if merged and merged[-1][1:] == axis[1:]:
            merged[-1][0] *= axis[0]
        elif axis[0] > 1:
            merged.append(axis)
    size, steps = [n for n, _, _ in merged], []
    for operand in (1, 2):
        step, found = 1, []
        for axis in reversed(merged):
            found.append(step * axis[operand])
            step *= axis[0] if axis[operand] else 1
        steps.append(tuple(reversed(found)))
    return g.Broadcast(tuple(size), steps[0], steps[1])


def concatenation(node: Node) -> g.Op:
    """CONCATENATION of tensors with one scale and zero point, as the reference requires."""
    inputs = [node.input(i) for i in range(len(node.inputs))]
    if not inputs or not inputs[0].shape:
        raise node.fail("nothing to concatenate", _AGAIN)
    given, rank = node.option("axis"), len(inputs[0].shape)
    axis = given + rank if given < 0 else given
    rest = {(t.shape[:axis], t.shape[axis + 1 :], len(t.shape)) for t in inputs}
    if not 0 <= axis < rank or len(rest) > 1 or node.activation() != "NONE":
        raise node.fail(
            "inputs do not fit each other along the axis, or an activation is fused",
            _AGAIN,
            f"{', '.join(t.dims for t in inputs)} along axis {given}",
        )
    shape = inputs[0].shape
    total = sum(t.shape[axis] for t in inputs)
    output = node.output((*shape[:axis], total, *shape[axis + 1 :]))
    if any(not t.quantized_as(output) for t in inputs):
        raise node.fail(
            "inputs and output of CONCATENATION must have one scale and zero point", _TOGETHER
        )
    return g.Concatenation(
        **node.parts(output, *inputs),
        outer=prod(shape[:axis]),
        runs=tuple(prod(t.shape[axis:]) for t in inputs),
    )


def mean(node: Node) -> g.Op:
    """MEAN over any axes, as long as no more than two runs of neighbours are averaged."""
    x, output = node.input(), node.output()
    rank = len(x.shape)
    given = node.raw(1).constant(node.where, INT32).reshape(-1).tolist()
    axes = {a + rank if a < 0 else a for a in given}
    if not axes or min(axes) < 0 or max(axes) >= rank:
        raise node.fail(
            "axes of MEAN are missing or not those of its input",
            "Average over height and width.",
            given,
            f"within 0..{rank - 1}",
        )
    kept = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    if not node.option("keepDims"):
        kept = tuple(n for i, n in enumerate(x.shape) if i not in axes)
    node.output(kept)
    runs = [1]  # kept and averaged in turn, axes of 1 in neither
    for i, n in enumerate(x.shape):
        if n == 1 or (i in axes) == (len(runs) % 2 == 0):
            runs[-1] *= n
        else:
            runs.append(n)
    runs += [1] * (3 - len(runs) if len(runs) <= 3 else 5 - len(runs))
    if len(runs) > 5:
        raise node.fail("axes of MEAN are too scattered", "Average in two steps.", given)
    return g.Mean(
        **node.parts(output, x),
        outer=runs[0],
        count=runs[1],
        inner=runs[-1],
        middle=runs[2] if len(runs) == 5 else 1,
        count_after=runs[3] if len(runs) == 5 else 1,
    )


def pad(node: Node) -> g.Op:
    """PAD by the value that stands for 0."""
    x = node.input()
    rank = len(x.shape)
    paddings = node.raw(1).constant(node.where, INT32, INT64)
    if paddings.shape != (rank, 2) or rank > 4 or (paddings < 0).any() or (paddings > 2**20).any():
        raise node.fail("paddings are invalid", "Pad at most four axes, by 0 and more.")
    lead = (1,) * (4 - rank)
    shape = tuple(n + int(p[0]) + int(p[1]) for n, p in zip(x.shape, paddings, strict=True))
    output = node.output(shape)
    if not x.quantized_as(output):
        raise node.fail("input and output of PAD must have one scale and zero point", _TOGETHER)
    before = (0,) * (4 - rank) + tuple(int(p[0]) for p in paddings)
    return g.Pad(
        **node.parts(output, x), in_shape=lead + x.shape, before=before, out_shape=lead + shape
    )


def relu(node: Node) -> g.Op:
    """RELU or RELU6."""
    x = node.input()
    return g.Relu(**node.parts(node.output(x.shape), x, activation=node.kind))


def quantize(node: Node) -> g.Op:
    """QUANTIZE from one scale or type to another; from float only at the model's input."""
    x = node.input()
    return g.Requantize(**node.parts(node.output(x.shape), x, mixed=True))


def dequantize(node: Node) -> g.Op:
    """DEQUANTIZE is left out where it makes the model's output; here it is anywhere else."""
    raise node.fail(
        "DEQUANTIZE is supported only as the model's last operator",
        "Quantise the whole model to int8 (weights, activations, input and output).",
    )


def logistic(node: Node) -> g.Op:
    """LOGISTIC onto 0..255/256, the only output that the reference has."""
    x = node.input()
    output = node.output(x.shape)
    if x.dtype == "int16":
        raise node.fail("16-bit LOGISTIC is not supported", "Leave it out, or use SOFTMAX.")
    if output.zero_point != -128 or output.scale != 1 / 256:
        raise node.fail("output must have scale 1/256 and zero point -128", "Quantise it again.")
    return g.Logistic(**node.parts(output, x))


def elu(node: Node) -> g.Op:
    """ELU of bytes."""
    x = node.input()
    output = node.output(x.shape)
    if x.dtype == "int16":
        raise node.fail("16-bit ELU is not supported", "Leave it in 8 bits, or use ReLU.")
    return g.Elu(**node.parts(output, x))


def softmax(node: Node) -> g.Op:
    """SOFTMAX over the last axis."""
    x = node.input()
    output = node.output(x.shape)
    beta = node.real_option("beta")
    if x.dtype == "int16" and abs(output.scale * 32768 - 1) > 1e-3:
        raise node.fail("output must have scale 1/32768 and zero point 0", "Quantise it again.")
    if x.dtype == "int8" and (output.zero_point != -128 or abs(output.scale * 256 - 1) > 1e-3):
        raise node.fail("output must have scale 1/256 and zero point -128", "Quantise it again.")
    if not x.shape or x.shape[-1] > _SOFTMAX_DEPTH or not 0 < beta < 2**20:
        raise node.fail("softmax is too wide, or beta is not above 0", "", limit=_SOFTMAX_DEPTH)
    return g.Softmax(**node.parts(output, x), beta=beta)


def reshape(node: Node) -> g.Op:
    """RESHAPE; the new shape is the output's own."""
    x, output = node.input(), node.output()
    if x.size != output.size or x.data is not None:
        raise node.fail("output has another size", "Export it again.", output.dims, x.dims)
    return g.Reshape(**node.parts(output, x))
