"""Cross-layer equalisation: channels of one tensor brought to like ranges, the function unchanged.

Nagel et al. 2019 (arXiv:1906.04721, section 4.1): a channel may be divided by s behind one layer if
the next layer's weights for it are multiplied by s, whenever what lies between commutes with a
positive factor: nothing, ReLU, pooling, zeros around it. ReLU6 does so only below 6, so there, if
at all, a channel is scaled only where calibration shows it at half of that or less before and
after: a window much louder than those would change the function.

Their s equalises weights that share one scale a tensor. Here each output channel has its own scale,
so the first layer's weights do not count; what shares one scale is the activation between. With
a = largest magnitude of the activation's channel and r = that of the next layer's weights for it,

    s = sqrt(a / r)   before a dense convolution (as Xiao et al. 2023, arXiv:2211.10438)
    s = a             before a depthwise one, whose weights have scales of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export import ir
from export.quantisation.torch_graph import with_constants

Doubles = npt.NDArray[np.float64]
CLEAR = 3.0  # of ReLU6's 6: twice the room for windows that calibration has not seen
_FLOOR = 1e-6  # of the largest channel: a smaller one is silent, and is left alone


@dataclass(frozen=True)
class Pair:
    """Two convolutions, and the activations between them, which share channels."""

    first: ir.Weighted
    second: ir.Weighted
    between: tuple[str, ...]


def pairs(graph: ir.Graph) -> list[Pair]:
    """Convolutions whose every output goes to one other convolution, past pools and padding."""
    readers: dict[str, list[ir.Op]] = {}
    for op in graph.ops:
        for name in op.inputs:
            readers.setdefault(name, []).append(op)

    def following(op: ir.Weighted) -> Iterator[Pair]:
        between = [op.output]
        while between[-1] != graph.output and len(readers.get(between[-1], [])) == 1:
            (reader,) = readers[between[-1]]
            if isinstance(reader, ir.Weighted):
                yield Pair(op, reader, tuple(between))
                return
            if not isinstance(reader, ir.Pool | ir.Pad):
                return
            between.append(reader.output)

    # Weights that two layers share cannot be scaled for one of them.
    own = [op for op in graph.ops if isinstance(op, ir.Weighted) and len(readers[op.weight]) == 1]
    return [pair for op in own for pair in following(op) if pair.second in own]


def equalise(
    graph: ir.Graph,
    peaks: Mapping[str, npt.NDArray[np.float32]],
    *,
    through_relu6: bool = False,
    rounds: int = 3,
) -> ir.Graph:
    """A graph with the same float function whose tensors have channels of like ranges.

    Parameters
    ----------
    peaks : largest magnitude of each channel of each activation, of
        :class:`export.calibration.Observed`.
    through_relu6 : whether ReLU6 may lie between; then the function is the same on windows no more
        than twice as loud as the calibration set, and on others nearly so.
    rounds : times the chain of layers is gone through; one pair's scales change the next pair's.
    """
    heights: dict[str, Doubles] = {k: np.asarray(v, np.float64) for k, v in peaks.items()}
    data: dict[str, Doubles] = {
        name: np.asarray(tensor.data, np.float64)
        for name, tensor in graph.tensors.items()
        if tensor.data is not None
    }
    for _ in range(rounds):
        for pair in pairs(graph):
            if pair.first.activation is ir.Activation.RELU6 and not through_relu6:
                continue
            factor = _factors(pair, data, heights)
            _divide_outputs(pair.first, data, factor)
            _multiply_inputs(pair.second, data, factor)
            for name in pair.between:
                heights[name] = heights[name] / factor
    return with_constants(graph, data)


def _factors(pair: Pair, data: Mapping[str, Doubles], peaks: Mapping[str, Doubles]) -> Doubles:
    """By what each channel between the two is divided."""
    a = peaks[pair.between[0]]
    heard = a > _FLOOR * a.max()
    if isinstance(pair.second, ir.DepthwiseConv2D):
        r = np.ones_like(a)
        factor = np.where(heard, a, 1.0)
    else:
        r = np.abs(data[pair.second.weight]).max(axis=(0, 1, 2))
        r = np.maximum(r, _FLOOR * max(r.max(), np.finfo(np.float32).tiny))
        factor = np.sqrt(np.where(heard, a, 1.0) / r)
    if not heard.any():
        return np.ones_like(a)
    if pair.first.activation is ir.Activation.RELU6:
        free = heard & (a < CLEAR)
        if not free.any():
            return np.ones_like(a)
        # The loudest of the free channels takes all the room there is below 6.
        factor *= (a / factor)[free].max() / CLEAR
        return np.where(free, factor, 1.0)
    # A common factor changes nothing: keep the tensor's peak where it is.
    factor *= (a / factor)[heard].max() / a.max()
    return np.where(heard, factor, 1.0)


def _divide_outputs(op: ir.Weighted, data: dict[str, Doubles], factor: Doubles) -> None:
    """Output channels are the first axis of dense weights, the last of depthwise ones."""
    dense = isinstance(op, ir.Conv2D)
    data[op.weight] = data[op.weight] / (factor[:, None, None, None] if dense else factor)
    data[op.bias] = data[op.bias] / factor


def _multiply_inputs(op: ir.Weighted, data: dict[str, Doubles], factor: Doubles) -> None:
    """Input channels are the last axis; a depthwise one makes `multiplier` outputs of each."""
    if isinstance(op, ir.DepthwiseConv2D):
        factor = np.repeat(factor, op.multiplier)
    data[op.weight] = data[op.weight] * factor
