"""ONNX kernels, strides and pads -> :class:`ir.Window`; what is not SAME is left to a Pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import onnx

from export import ir
from export.onnx_reader import attributes, refuse


def conv_window(
    node: onnx.NodeProto,
    kernel: Sequence[int],
    size: Sequence[int],
    before: Sequence[int] = (0, 0, 0, 0),
) -> tuple[ir.Window, tuple[int, ...]]:
    """Window of a Conv over an input of `size` (height, width), and the zeros it cannot add.

    `before` and the result are (top, left, bottom, right); `before` are zeros around the input
    already, which count as the convolution's own. All zeros are those that TFLite adds for SAME,
    or none, or they are left to a Pad.

    Raises
    ------
    InputError
        Negative pads, or zeros at the wrong end.
    """
    options = attributes(node)
    stride, dilation = _pair(options.get("strides")), _pair(options.get("dilations"))
    same = ir.Window(_pair(kernel), stride, dilation, ir.Padding.SAME)
    height, width = size[0] + before[0] + before[2], size[1] + before[1] + before[3]
    own = _explicit_pads(node, options, same, (height, width))
    if min(own) < 0:
        raise refuse(node, "crops its input", value=f"pads {own}", todo="Pad by 0 or more.")
    pads = tuple(a + b for a, b in zip(before, own, strict=True))
    (top, bottom), (left, right) = same.pads(size[0], size[1])
    if any(pads) and pads == (top, left, bottom, right):
        return same, (0, 0, 0, 0)
    return replace(same, padding=ir.Padding.VALID), pads


def pool_window(node: onnx.NodeProto, size: Sequence[int]) -> ir.Window:
    """Window of an AveragePool or MaxPool, which must not pad.

    Raises
    ------
    InputError
        Padding, dilation, or ceil_mode with an incomplete last window.
    """
    options = attributes(node)
    kernel, stride = _pair(options["kernel_shape"]), _pair(options.get("strides"))
    if _pair(options.get("dilations")) != (1, 1):
        raise refuse(node, "is dilated", value=options["dilations"], todo="Use dilation 1.")
    same = ir.Window(kernel, stride, padding=ir.Padding.SAME)
    pads = _explicit_pads(node, options, same, size)
    if any(pads):
        raise refuse(node, "is padded", value=f"pads {pads}", todo="Pool without padding.")
    if options.get("ceil_mode", 0):
        rest = [(n - k) % s for n, k, s in zip(size, kernel, stride, strict=True)]
        if any(rest):
            raise refuse(
                node,
                "has an incomplete last window (ceil_mode)",
                value=f"{tuple(rest)} samples over",
                todo="Set ceil_mode=False.",
            )
    return ir.Window(kernel, stride)


def _pair(values: Sequence[int] | None) -> tuple[int, int]:
    if values is None:
        return 1, 1
    height, width = values
    return int(height), int(width)


def _explicit_pads(
    node: onnx.NodeProto, options: dict[str, Any], same: ir.Window, size: Sequence[int]
) -> tuple[int, ...]:
    """Pads (top, left, bottom, right), whether written out or left to auto_pad."""
    auto = options.get("auto_pad", b"NOTSET").decode()
    if auto == "VALID":
        return 0, 0, 0, 0
    if auto == "SAME_UPPER":
        (top, bottom), (left, right) = same.pads(size[0], size[1])
        return top, left, bottom, right
    if auto != "NOTSET":
        raise refuse(node, "pads at the wrong end", value=f"auto_pad {auto}",
                     todo="Pad explicitly.")  # fmt: skip
    return tuple(options.get("pads", (0, 0, 0, 0)))
