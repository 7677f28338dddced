"""Calibrated int8: one set of scales, which TFLite, QDQ ONNX and the C code then share.

Scheme: TFLite's 8-bit specification (ai.google.dev/edge/litert/models/quantization_spec).
Activations asymmetric per tensor, weights symmetric per output channel (-127..127), biases int32
with scale input * weight.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from export import ir
from export.calibration import Range

QMIN, QMAX, WMAX = -128, 127, 127
# Of a tensor that is zero on the whole calibration set: any scale is right, this one is harmless.
DEAD_SCALE = 2.0**-8
# int32 accumulators: at most half for the bias, which leaves 2**30 / (255 * 127) > 33,000 products.
BIAS_LIMIT = 2.0**30


def quantize(graph: ir.Graph, ranges: Mapping[str, Range]) -> ir.QuantizedGraph:
    """Choose all scales and round the constants.

    Parameters
    ----------
    ranges : mapping
        Extremes of every activation, from :func:`export.calibration.calibrate`.
    """
    quants = {graph.input: activation_quant(*ranges[graph.input])}
    constants: dict[str, npt.NDArray[np.integer]] = {}
    for op in graph.ops:
        source = quants[op.input]
        if isinstance(op, ir.Pool):
            # TFLite's integer pooling does not requantise: input and output share one scale.
            quants[op.output] = source
            continue
        quants[op.output] = activation_quant(*ranges[op.output])
        if isinstance(op, ir.Weighted):
            weight, bias = graph.tensors[op.weight], graph.tensors[op.bias]
            quants[op.weight] = _weight_quant(weight, bias, float(source.scale[0]))
            quants[op.bias] = ir.Quant(source.scale * quants[op.weight].scale, axis=0)
            constants[op.weight] = _round(weight, quants[op.weight], np.int8, WMAX)
            constants[op.bias] = _round(bias, quants[op.bias], np.int32, int(BIAS_LIMIT))
    return ir.QuantizedGraph(graph, quants, constants)


def activation_quant(low: float, high: float) -> ir.Quant:
    """Scale and zero point of a range; it is widened to contain 0, which becomes exact.

    A range that starts at 0, as behind a ReLU, gets zero point -128.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / (QMAX - QMIN))
    if scale < np.finfo(np.float32).tiny:
        scale = np.float32(DEAD_SCALE)
    zero_point = int(np.clip(round(QMIN - low / float(scale)), QMIN, QMAX))
    return ir.Quant(np.array([scale], np.float32), zero_point)


def _weight_quant(weight: ir.Tensor, bias: ir.Tensor, input_scale: float) -> ir.Quant:
    """Symmetric scales of weights per output channel.

    A channel with (nearly) zero weights takes a scale at which its bias still fits int32.
    """
    assert weight.data is not None
    assert bias.data is not None
    axis = {ir.Layout.OHWI: 0, ir.Layout.IHWO: 3}[weight.layout]
    others = tuple(i for i in range(weight.data.ndim) if i != axis)
    scale = np.abs(weight.data).max(axis=others).astype(np.float64) / WMAX
    scale[scale == 0] = scale.max() if scale.max() > 0 else 1.0 / WMAX
    scale = np.maximum(scale, np.abs(bias.data) / (input_scale * BIAS_LIMIT))
    return ir.Quant(scale.astype(np.float32), axis=axis)


def _round(
    tensor: ir.Tensor, quant: ir.Quant, dtype: type[np.integer], limit: int
) -> npt.NDArray[np.integer]:
    assert tensor.data is not None
    shape = [1] * tensor.data.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    scaled = tensor.data.astype(np.float64) / quant.scale.astype(np.float64).reshape(shape)
    return np.clip(np.rint(scaled), -limit, limit).astype(dtype)
