"""Bias correction: the means of the rounded layers come back to the float ones."""

from __future__ import annotations

import numpy as np
import torch
from chains import Chain
from hard_graphs import data

from export import ir
from export.calibration import observe
from export.quantisation.bias import correct_biases
from export.quantisation.torch_graph import TorchGraph, with_constants
from export.quantize import quantize
from export.runtimes import TfliteModel
from export.tflite import write_int8


def mean_shift(graph: ir.Graph, qgraph: ir.QuantizedGraph, x: np.ndarray) -> np.ndarray:
    """Shift of the logits' means, in steps of the output."""
    want = TorchGraph(graph)(torch.from_numpy(x)).detach().numpy().mean(axis=0)
    got = TfliteModel(write_int8(qgraph), reference=True).run(x).mean(axis=0)
    return np.abs(got - want) / qgraph.output_quant.scale[0]


def test_shifted_means_come_back(chain: Chain) -> None:
    """Weights on 5 bits' worth of noise shift every mean; corrected biases take it back."""
    ranges = observe(chain.graph, chain.calibration).ranges()
    rng = np.random.default_rng(0)
    op = next(op for op in chain.graph.ops[1:] if isinstance(op, ir.Conv2D))
    shifted = data(chain.graph, op.weight)
    shifted += 0.1 * np.abs(shifted).max() * rng.standard_normal(shifted.shape)
    wrong = with_constants(chain.graph, {op.weight: shifted.astype(np.float32)})
    # The quantised form is of other weights than the float graph: as if rounding were this coarse.
    qwrong = quantize(wrong, ranges)
    mended = correct_biases(chain.graph, qwrong, chain.calibration)
    assert set(mended.tensors) == set(chain.graph.tensors)
    with_biases = with_constants(
        wrong,
        {o.bias: data(mended, o.bias) for o in mended.ops if isinstance(o, ir.Weighted)},
    )
    before = mean_shift(chain.graph, qwrong, chain.calibration)
    after = mean_shift(chain.graph, quantize(with_biases, ranges), chain.calibration)
    assert before.max() > 1.5
    assert after.max() < 0.6 * before.max()


def test_a_faithful_graph_hardly_changes(chain: Chain) -> None:
    mended = correct_biases(chain.graph, chain.qgraph, chain.calibration)
    for op in chain.graph.ops:
        if isinstance(op, ir.Weighted):
            step = chain.qgraph.quants[op.output].scale[0]
            change = np.abs(data(mended, op.bias) - data(chain.graph, op.bias))
            assert change.max() < 4 * step
            same = data(mended, op.weight) == data(chain.graph, op.weight)
            assert same.all()
