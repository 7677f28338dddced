"""A graph in torch, in batches: exactly in float, or with its int8 steps simulated.

The simulation rounds with torch's own fake-quantise operators, whose gradient passes straight
through within the range (Jacob et al. 2018, arXiv:1712.05877). It differs from TFLite's integers
only where a value lies on the edge of a step.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export import ir
from export.quantize import WMAX

_AXIS = {ir.Layout.OHWI: 0, ir.Layout.IHWO: 3}  # output channels of weights
_ACTIVATIONS = {
    ir.Activation.NONE: lambda x: x,
    ir.Activation.RELU: F.relu,
    ir.Activation.RELU6: F.relu6,
}


class TorchGraph(nn.Module):
    """Runs a graph; its weights and biases are the parameters.

    Parameters
    ----------
    graph : float, or quantised. Of a quantised graph the scales of the activations are kept; those
        of the weights follow the weights, as :func:`export.quantize.quantize` would choose them.

    Attributes
    ----------
    rounded, weights_rounded : names of the operators whose output, and whose weights, are rounded
        to their steps; the graph's input counts as an operator under its own name. All of a
        quantised graph's at first, none of a float one's.
    """

    rounded: frozenset[str]
    weights_rounded: frozenset[str]

    def __init__(self, graph: ir.Graph | ir.QuantizedGraph) -> None:
        super().__init__()
        quants = graph.quants if isinstance(graph, ir.QuantizedGraph) else {}
        self.graph = graph.graph if isinstance(graph, ir.QuantizedGraph) else graph
        self.quants: Mapping[str, ir.Quant] = quants
        self.only(self.operators() if quants else ())
        constants = [t for t in self.graph.tensors.values() if t.data is not None]
        # By number: names of tensors hold dots, which parameters may not.
        self._index = {t.name: i for i, t in enumerate(constants)}
        self._constants = nn.ParameterList(
            [nn.Parameter(torch.from_numpy(np.array(t.data, np.float32))) for t in constants]
        )

    def operators(self) -> tuple[str, ...]:
        """What can be rounded by itself: the graph's input, then each operator."""
        return (self.graph.input, *(op.name for op in self.graph.ops))

    def only(self, rounded: Collection[str], weights: Collection[str] | None = None) -> TorchGraph:
        """Round the outputs of these operators alone, and their weights or those of `weights`."""
        self.rounded = frozenset(rounded)
        self.weights_rounded = self.rounded if weights is None else frozenset(weights)
        unknown = (self.rounded | self.weights_rounded) - set(self.operators())
        if unknown:
            raise ValueError(f"no such operators: {sorted(unknown)}")
        return self

    def constant(self, name: str) -> Tensor:
        """The parameter that stands for a weight or bias, in the layout of the graph."""
        return self._constants[self._index[name]]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, n_outputs) of windows (batch, n_chans, n_times)."""
        return self._run(x, {})[self.graph.output].flatten(1)

    def activations(self, x: Tensor, *, before: bool = False) -> dict[str, Tensor]:
        """Every activation (batch, H, W, C) of windows (batch, n_chans, n_times), by name.

        before : take convolutions before their activation and rounding, as bias correction needs.
        """
        linear: dict[str, Tensor] = {}
        found = self._run(x, linear)
        chosen = {**found, **linear} if before else found
        return {name: value.permute(0, 2, 3, 1) for name, value in chosen.items()}

    def trained(self, graph: ir.Graph) -> ir.Graph:
        """`graph` with this module's weights and biases in place of its own, by name."""
        learnt = {name: self.constant(name).detach().numpy().copy() for name in self._index}
        return with_constants(graph, {k: v for k, v in learnt.items() if k in graph.tensors})

    def _run(self, x: Tensor, linear: dict[str, Tensor]) -> dict[str, Tensor]:
        """Every activation (batch, C, H, W); convolutions before their activation to `linear`."""
        graph = self.graph
        found = {graph.input: self._rounded(graph.input, graph.input, self._arranged(x))}
        for op in graph.ops:
            value = self._compute(op, found[op.input], found)
            if isinstance(op, ir.Weighted):
                linear[op.output] = value
            value = _ACTIVATIONS[getattr(op, "activation", ir.Activation.NONE)](value)
            found[op.output] = self._rounded(op.name, op.output, value)
        return found

    def _arranged(self, x: Tensor) -> Tensor:
        """Windows (batch, n_chans, n_times) as the input (batch, C, H, W)."""
        _, height, width, chans = self.graph.tensors[self.graph.input].shape
        if (height, width, chans) == (1, x.shape[2], x.shape[1]):
            return x.unsqueeze(2)
        return x.reshape(len(x), chans, height, width)

    def _compute(self, op: ir.Op, x: Tensor, found: Mapping[str, Tensor]) -> Tensor:
        """The operator without its fused activation."""
        match op:
            case ir.Weighted():
                y = self._convolve(op, x)
            case ir.Add():
                y = x + found[op.other]
            case ir.AveragePool2D():
                y = F.avg_pool2d(x, op.window.kernel, op.window.stride)
            case ir.MaxPool2D():
                y = F.max_pool2d(x, op.window.kernel, op.window.stride)
            case ir.Pad():
                (top, bottom), (left, right) = op.pads
                y = F.pad(x, (left, right, top, bottom))
            case ir.Elu():
                y = F.elu(x)
            case ir.Requantise():
                y = x
            case _:
                raise TypeError(f"unknown operator {type(op).__name__}")
        return y

    def _convolve(self, op: ir.Weighted, x: Tensor) -> Tensor:
        weight, bias = self.constant(op.weight), self.constant(op.bias)
        if op.name in self.weights_rounded:
            weight = _rounded_weight(weight, _AXIS[self.graph.tensors[op.weight].layout])
        depthwise = isinstance(op, ir.DepthwiseConv2D)
        order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        (top, bottom), (left, right) = op.window.pads(*x.shape[2:])
        return F.conv2d(
            F.pad(x, (left, right, top, bottom)), weight.permute(order), bias, op.window.stride,
            0, op.window.dilation, x.shape[1] if depthwise else 1,
        )  # fmt: skip

    def _rounded(self, op: str, tensor: str, value: Tensor) -> Tensor:
        if op not in self.rounded:
            return value
        quant = self.quants[tensor]
        limits = np.iinfo(quant.dtype)
        return torch.fake_quantize_per_tensor_affine(
            value, float(quant.scale[0]), quant.zero_point, int(limits.min), int(limits.max)
        )


def _rounded_weight(weight: Tensor, axis: int) -> Tensor:
    """Symmetric int8 steps per output channel."""
    peak = weight.detach().abs().amax(dim=[i for i in range(weight.ndim) if i != axis])
    scale = torch.where(peak > 0, peak, peak.max().clamp_min(1.0)) / WMAX
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -WMAX, WMAX)


def with_constants(graph: ir.Graph, data: Mapping[str, npt.NDArray[np.floating]]) -> ir.Graph:
    """A copy of `graph` in which these weights and biases are others of the same shape."""
    tensors = dict(graph.tensors)
    for name, values in data.items():
        if values.shape != tensors[name].shape:
            raise ValueError(f"{name} has shape {values.shape}, not {tensors[name].shape}")
        tensors[name] = replace(tensors[name], data=np.asarray(values, np.float32))
    return replace(graph, tensors=tensors)
