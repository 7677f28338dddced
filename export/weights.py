"""Constants in integers: symmetric int8 weights with one scale an output channel, and biases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from export import ir

WMAX = 127


def weight_quant(weight: ir.Tensor, least: npt.NDArray[np.floating] | float = 0.0) -> ir.Quant:
    """Symmetric scales of weights per output channel, each `least` or more.

    A channel of zeros takes the largest scale of the others.
    """
    assert weight.data is not None
    axis = {ir.Layout.OHWI: 0, ir.Layout.IHWO: 3}[weight.layout]
    others = tuple(i for i in range(weight.data.ndim) if i != axis)
    scale = np.abs(weight.data).max(axis=others).astype(np.float64) / WMAX
    scale[scale == 0] = scale.max() if scale.max() > 0 else 1.0 / WMAX
    return ir.Quant(np.maximum(scale, least).astype(np.float32), axis=axis)


def round_constant(
    tensor: ir.Tensor, quant: ir.Quant, dtype: type[np.integer], limit: int
) -> npt.NDArray[np.integer]:
    """The constant in steps of `quant`, rounded to nearest and kept within -limit..limit."""
    assert tensor.data is not None
    shape = [1] * tensor.data.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    scaled = tensor.data.astype(np.float64) / quant.scale.astype(np.float64).reshape(shape)
    return np.clip(np.rint(scaled), -limit, limit).astype(dtype)
