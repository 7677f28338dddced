"""Graphs in torch against TFLite: exact in float, within the steps when rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chains import Chain
from onnx_models import Maker

from export import from_onnx, ir, parity
from export.calibration import observe
from export.quantisation.torch_graph import TorchGraph, with_constants
from export.quantize import quantize
from export.runtimes import TfliteModel, to_nhwc
from export.tflite import write_fp32, write_int8


def run(model: TorchGraph, windows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.eval()(torch.from_numpy(windows)).numpy()


def test_float_logits_are_tflites(chain: Chain) -> None:
    want = TfliteModel(chain.fp32).run(chain.windows)
    got = run(TorchGraph(chain.graph), chain.windows)
    np.testing.assert_allclose(got, want, atol=1e-5 * np.abs(want).max())


def test_every_float_activation_is_tflites(chain: Chain) -> None:
    model = TfliteModel(chain.fp32, keep_all=True)
    want = model.tensors(to_nhwc(chain.windows[:1], model.input_shape)[0])
    with torch.no_grad():
        got = TorchGraph(chain.graph).activations(torch.from_numpy(chain.windows[:1]))
    assert set(got) == set(chain.graph.lifetimes())
    for name, value in got.items():
        assert tuple(value.shape) == chain.graph.tensors[name].shape
        np.testing.assert_allclose(value, want[name], atol=1e-5 * np.abs(want[name]).max())


def test_rounded_logits_are_the_int8_models_within_two_steps(chain: Chain) -> None:
    model = TfliteModel(chain.int8, reference=True)
    want = model.run(chain.windows)
    got = run(TorchGraph(chain.qgraph), chain.windows)
    steps = np.abs(got - want) / chain.qgraph.output_quant.scale[0]
    assert (steps.max(axis=1) <= 2.01).mean() >= 0.95
    assert parity.compare(want, got).cosine > 0.999
    fp32 = TfliteModel(chain.fp32).run(chain.windows)
    assert np.abs(got - want).mean() < 0.5 * np.abs(fp32 - want).mean()  # it explains the error


def test_only_the_named_operators_are_rounded(mic: Chain) -> None:
    model = TorchGraph(mic.qgraph)
    exact = run(TorchGraph(mic.graph), mic.windows[:8])
    np.testing.assert_array_equal(run(model.only([]), mic.windows[:8]), exact)
    last = mic.graph.ops[-1]
    quant = mic.qgraph.output_quant
    codes = run(model.only([last.name]), mic.windows[:8]) / quant.scale[0]
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-3)
    with torch.no_grad():
        found = model.only([mic.graph.input]).activations(torch.from_numpy(mic.windows[:8]))
    steps = found[mic.graph.input].numpy() / mic.qgraph.input_quant.scale[0]
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    with pytest.raises(ValueError, match="no such operators"):
        model.only(["nowhere"])


def test_gradients_reach_every_weight_through_the_rounding(chain: Chain) -> None:
    model = TorchGraph(chain.qgraph)
    model(torch.from_numpy(chain.windows[:16])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_before_the_activation_and_after_it(chain: Chain) -> None:
    x = torch.from_numpy(chain.windows[:4])
    model = TorchGraph(chain.graph)
    with torch.no_grad():
        after, before = model.activations(x), model.activations(x, before=True)
    relus = [o for o in chain.graph.ops if isinstance(o, ir.Weighted)
             and o.activation is ir.Activation.RELU]  # fmt: skip
    assert relus
    for op in relus:
        assert before[op.output].min() < 0
        torch.testing.assert_close(before[op.output].clamp_min(0), after[op.output])


def test_trained_weights_go_back_into_the_graph(mic: Chain) -> None:
    model = TorchGraph(mic.qgraph)
    op = next(op for op in mic.graph.ops if isinstance(op, ir.Weighted))
    with torch.no_grad():
        model.constant(op.bias).add_(1.0)
    found = model.trained(mic.graph)
    np.testing.assert_allclose(
        found.tensors[op.bias].data, mic.graph.tensors[op.bias].data + 1, rtol=1e-6
    )
    np.testing.assert_array_equal(found.tensors[op.weight].data, mic.graph.tensors[op.weight].data)
    with pytest.raises(ValueError, match=r"has shape \(3,\)"):
        with_constants(mic.graph, {op.bias: np.zeros(3)})


def test_wide_operators_are_rounded_to_sixteen_bits(mic: Chain) -> None:
    ranges = observe(mic.graph, mic.calibration).ranges()
    first = [op.name for op in mic.graph.ops[:3]]
    qgraph = quantize(mic.graph, ranges, wide=first)
    assert any(isinstance(op, ir.Requantise) for op in qgraph.graph.ops)
    want = TfliteModel(write_int8(qgraph), reference=True).run(mic.windows)
    got = run(TorchGraph(qgraph), mic.windows)
    steps = np.abs(got - want) / qgraph.output_quant.scale[0]
    assert (steps.max(axis=1) <= 2.01).mean() >= 0.95
    trained = TorchGraph(qgraph).trained(mic.graph)
    assert trained.ops == mic.graph.ops


def test_padding_and_elu_are_tflites() -> None:
    m = Maker()
    x = m.conv(m.unsqueeze(), 4, 6, (1, 4))
    x = m.node("Elu", x)
    x = m.node("Pad", x, m.const(np.array([0, 0, 0, 2, 0, 0, 0, 1], np.int64)))
    graph = from_onnx.read(m.model(m.head(m.conv(x, 6, 5, (1, 3)), 5 * 38)))
    windows = m.rng.normal(size=(40, 4, 40)).astype(np.float32)
    assert {ir.Elu, ir.Pad} <= {type(op) for op in graph.ops}
    want = TfliteModel(write_fp32(graph)).run(windows)
    np.testing.assert_allclose(run(TorchGraph(graph), windows), want, atol=1e-5)
    qgraph = quantize(graph, observe(graph, windows).ranges())
    want = TfliteModel(write_int8(qgraph), reference=True).run(windows)
    steps = np.abs(run(TorchGraph(qgraph), windows) - want) / qgraph.output_quant.scale[0]
    assert (steps.max(axis=1) <= 2.01).mean() >= 0.95
