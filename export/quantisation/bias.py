"""Empirical bias correction: rounding shifts a layer's mean output; its bias takes the shift back.

Nagel et al. 2019 (arXiv:1906.04721, section 4.2), with calibration windows: layer by layer in the
order of execution, so that each sees its predecessors corrected.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from distill.batches import batches
from export import ir
from export.quantisation.torch_graph import TorchGraph

MOST_WINDOWS = 128  # a mean over time and windows needs no more
_Means = dict[str, torch.Tensor]


def correct_biases(
    graph: ir.Graph, qgraph: ir.QuantizedGraph, windows: npt.NDArray[np.float32]
) -> ir.Graph:
    """`graph` with biases that keep each channel's mean where the float graph has it.

    Parameters
    ----------
    qgraph : quantised form of `graph`, whose scales round.
    windows : calibration windows (n, n_chans, n_times); at most MOST_WINDOWS are used.
    """
    rows = np.unique(np.linspace(0, len(windows) - 1, MOST_WINDOWS).round().astype(int))
    x = np.asarray(windows[rows], np.float32)
    model = TorchGraph(qgraph).eval()
    wanted = _channel_means(TorchGraph(graph).eval(), x)
    for op in model.graph.ops:
        if isinstance(op, ir.Weighted):
            shift = _channel_means(model, x)[op.output] - wanted[_in_float(op.output, graph)]
            with torch.no_grad():
                model.constant(op.bias).sub_(shift)
    return model.trained(graph)


def _in_float(name: str, graph: ir.Graph) -> str:
    """The float graph's name of a tensor; a wide output is renamed where it meets int8."""
    return name if name in graph.lifetimes() else graph.output


def _channel_means(model: TorchGraph, x: npt.NDArray[np.float32]) -> _Means:
    """Mean (C,) of each convolution's output before its activation and its rounding."""
    totals: _Means = {}
    with torch.no_grad():
        for part in batches(x, 64):
            for name, value in model.activations(part, before=True).items():
                total = value.double().mean(dim=(1, 2)).sum(dim=0)
                totals[name] = totals.get(name, torch.zeros_like(total)) + total
    return {name: total / len(x) for name, total in totals.items()}
