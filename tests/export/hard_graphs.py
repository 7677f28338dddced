"""Graphs that int8 spoils in one way each, with the float function they had before."""

from __future__ import annotations

import numpy as np

from export import ir
from export.quantisation.torch_graph import with_constants


class Seen:
    """Windows with labels."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.y)


def data(graph: ir.Graph, name: str) -> np.ndarray:
    found = graph.tensors[name].data
    assert found is not None
    return found.copy()


def scaled_channel(graph: ir.Graph, channel: int = 3, factor: float = 1000.0) -> ir.Graph:
    """One channel of the spatial 1x1 times `factor`, its depthwise reader's weights divided."""
    spatial, temporal = graph.ops[:2]
    assert isinstance(spatial, ir.Conv2D)
    assert isinstance(temporal, ir.DepthwiseConv2D)
    weight, bias = data(graph, spatial.weight), data(graph, spatial.bias)
    weight[channel] *= factor
    bias[channel] *= factor
    reader = data(graph, temporal.weight)
    m = temporal.multiplier
    reader[..., channel * m : (channel + 1) * m] /= factor
    return with_constants(
        graph, {spatial.weight: weight, spatial.bias: bias, temporal.weight: reader}
    )


def common_mode(graph: ir.Graph, factor: float) -> ir.Graph:
    """A constant on all electrodes' weights: no change where their potentials sum to zero."""
    spatial = graph.ops[0]
    assert isinstance(spatial, ir.Conv2D)
    weight = data(graph, spatial.weight)
    weight += factor * np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    return with_constants(graph, {spatial.weight: weight})


def offset(graph: ir.Graph, amount: float) -> ir.Graph:
    """Every spatial map raised by `amount`, which its reader's biases take back.

    Only where the filters reach over the ends of the window do the zeros there make a difference.
    """
    spatial, temporal = graph.ops[:2]
    assert isinstance(spatial, ir.Conv2D)
    assert isinstance(temporal, ir.DepthwiseConv2D)
    taps = data(graph, temporal.weight).sum(axis=(0, 1, 2))
    return with_constants(
        graph,
        {
            spatial.bias: data(graph, spatial.bias) + np.float32(amount),
            temporal.bias: data(graph, temporal.bias) - np.float32(amount) * taps,
        },
    )
