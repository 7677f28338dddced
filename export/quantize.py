"""Calibrated int8: one set of scales, which TFLite, QDQ ONNX and the C code then share.

Scheme: TFLite's 8-bit specification (ai.google.dev/edge/litert/models/quantization_spec).
Activations asymmetric per tensor, weights symmetric per output channel (-127..127), biases int32
with scale input * weight. In 16 bits activations are symmetric and biases int64 (int16x8).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from export import ir
from export.calibration import Range
from export.weights import WMAX, round_constant, weight_quant
from export.widths import widen

QMIN, QMAX = -128, 127
QMAX_16 = 32767
# Of a tensor that is zero on the whole calibration set: any scale is right, this one is harmless.
DEAD_SCALE = 2.0**-8
# int32 accumulators: at most half for the bias, which leaves 2**30 / (255 * 127) > 33,000 products.
BIAS_LIMIT = 2.0**30
# int64 accumulators, which the reference scales below 2**47: at most half for the bias.
BIAS_LIMIT_16 = 2.0**46


def quantize(
    graph: ir.Graph, ranges: Mapping[str, Range], *, wide: Collection[str] | str = ()
) -> ir.QuantizedGraph:
    """Choose all scales and round the constants.

    Parameters
    ----------
    ranges : mapping
        Extremes of every activation, from :func:`export.calibration.calibrate`.
    wide : collection of str, or "all"
        Operators (by name) that run in int16x8; the others, the input and the output stay int8.
        With "all" the input and the output are int16 too.

    Raises
    ------
    InputError
        An operator that the graph has not, or one that no target has in 16 bits.
    """
    widened = widen(graph, wide)
    graph = widened.graph
    quants: dict[str, ir.Quant] = {}

    def choose(name: str) -> ir.Quant:
        return activation_quant(*ranges[widened.origin[name]], bits=widened.bits[name])

    quants[graph.input] = choose(graph.input)
    constants: dict[str, npt.NDArray[np.integer]] = {}
    for op in graph.ops:
        source = quants[op.input]
        if isinstance(op, ir.Pool | ir.Pad):
            # TFLite's integer pooling does not requantise: input and output share one scale.
            quants[op.output] = source
            continue
        quants[op.output] = choose(op.output)
        if isinstance(op, ir.Weighted):
            weight, bias = graph.tensors[op.weight], graph.tensors[op.bias]
            limit, kind = (BIAS_LIMIT_16, np.int64) if source.bits == 16 else (BIAS_LIMIT, np.int32)
            quants[op.weight] = weight_quant(weight, _least_scales(bias, source, limit))
            quants[op.bias] = ir.Quant(source.scale * quants[op.weight].scale, axis=0)
            constants[op.weight] = round_constant(weight, quants[op.weight], np.int8, WMAX)
            constants[op.bias] = round_constant(bias, quants[op.bias], kind, int(limit))
    names = frozenset(
        op.name
        for op in graph.ops
        if not isinstance(op, ir.Requantise) and quants[op.output].bits == 16
    )
    return ir.QuantizedGraph(graph, quants, constants, names)


def activation_quant(low: float, high: float, *, bits: int = 8) -> ir.Quant:
    """Scale and zero point of a range; it is widened to contain 0, which becomes exact.

    A range that starts at 0, as behind a ReLU, gets zero point -128. In 16 bits the scale is the
    larger magnitude / 32767 and the zero point 0.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if bits == 16:
        symmetric = np.float32(max(-low, high) / QMAX_16)
        dead = symmetric < np.finfo(np.float32).tiny
        return ir.Quant(np.array([DEAD_SCALE if dead else symmetric], np.float32), bits=16)
    scale = np.float32((high - low) / (QMAX - QMIN))
    if scale < np.finfo(np.float32).tiny:
        scale = np.float32(DEAD_SCALE)
    zero_point = int(np.clip(round(QMIN - low / float(scale)), QMIN, QMAX))
    return ir.Quant(np.array([scale], np.float32), zero_point)


def _least_scales(bias: ir.Tensor, source: ir.Quant, limit: float) -> npt.NDArray[np.float64]:
    """Weight scales at which each bias just stays below `limit`: what (nearly) dead channels take.

    `source` is the scale of the layer's input.
    """
    assert bias.data is not None
    return np.abs(bias.data) / (float(source.scale[0]) * limit)
