"""Cross-layer equalisation: the same function, channels of like ranges."""

from __future__ import annotations

import numpy as np
import pytest
from chains import Chain
from hard_graphs import data, scaled_channel
from onnx_models import Maker

from export import from_onnx, ir
from export.calibration import observe
from export.quantisation.equalise import CLEAR, equalise, pairs
from export.quantize import quantize
from export.runtimes import TfliteModel
from export.tflite import write_fp32, write_int8


def spread_of(graph: ir.Graph, windows: np.ndarray, tensor: str) -> float:
    peaks = observe(graph, windows).peaks[tensor]
    return float(peaks.max() / peaks[peaks > 0].min())


@pytest.mark.parametrize("loudness", [1, 100])
def test_the_function_stays(chain: Chain, loudness: int) -> None:
    changed = equalise(chain.graph, observe(chain.graph, chain.calibration).peaks)
    windows = loudness * chain.windows
    want = TfliteModel(chain.fp32).run(windows)
    got = TfliteModel(write_fp32(changed)).run(windows)
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
    moved = [
        op.weight for op in chain.graph.ops if isinstance(op, ir.Weighted)
        and not np.allclose(data(changed, op.weight), data(chain.graph, op.weight), rtol=1e-3)
    ]  # fmt: skip
    assert len(moved) >= 3


def test_a_channel_a_thousand_times_the_others_comes_back(mic: Chain) -> None:
    hard = scaled_channel(mic.graph)
    seen = observe(hard, mic.calibration)
    want = TfliteModel(mic.fp32).run(mic.windows)

    def error(graph: ir.Graph) -> float:
        ranges = observe(graph, mic.calibration).ranges()
        return float(
            np.abs(TfliteModel(write_int8(quantize(graph, ranges))).run(mic.windows) - want).mean()
        )

    mended = equalise(hard, seen.peaks)
    tensor = hard.ops[0].output
    assert spread_of(hard, mic.calibration, tensor) > 300
    assert spread_of(mended, mic.calibration, tensor) < 1.01  # read by a depthwise layer
    assert error(mended) < error(hard) / 4
    assert error(mended) < 1.5 * error(mic.graph)


def test_pairs_end_at_residuals_and_at_the_output(mic: Chain) -> None:
    found = pairs(mic.graph)
    add = next(op for op in mic.graph.ops if isinstance(op, ir.Add))
    # Both summands and the sum: their channels belong to more than one reader or no convolution.
    touched = {name for pair in found for name in pair.between}
    assert not touched & {add.input, add.other, add.output, mic.graph.output}
    assert found[0].first is mic.graph.ops[0]
    pooled = [pair for pair in found if len(pair.between) > 1]
    assert pooled  # compress -> pool -> readout


def relu6_graph(scale: float) -> tuple[ir.Graph, np.ndarray]:
    """Conv, ReLU6, conv, head; the channels of the first have peaks from far below 6 to above."""
    m = Maker()
    weight = 0.3 * m.rng.normal(size=(6, 4, 1, 1)).astype(np.float32)
    weight *= scale * np.geomspace(0.01, 3.0, 6, dtype=np.float32).reshape(-1, 1, 1, 1)
    bias = np.zeros(6, np.float32)
    x = m.node("Conv", m.unsqueeze(), m.const(weight), m.const(bias))
    x = m.node("Clip", x, m.const(np.float32(0)), m.const(np.float32(6)))
    second = m.const(m.rng.normal(size=(5, 6, 1, 1)).astype(np.float32))
    x = m.node("Conv", x, second, m.const(np.zeros(5, np.float32)))
    graph = from_onnx.read(m.model(m.head(x, 5 * 40)))
    return graph, m.rng.normal(size=(60, 4, 40)).astype(np.float32)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_relu6_only_where_the_channel_stays_clear(scale: float) -> None:
    graph, windows = relu6_graph(scale)
    first = graph.ops[0]
    assert isinstance(first, ir.Weighted)
    assert first.activation is ir.Activation.RELU6
    before = observe(graph, windows).peaks[first.output]
    changed = equalise(graph, observe(graph, windows).peaks, through_relu6=True)
    after = observe(changed, windows).peaks[first.output]
    busy = before >= CLEAR
    np.testing.assert_allclose(after[busy], before[busy], rtol=1e-5)
    assert (after[~busy] <= CLEAR * 1.001).all()
    assert after[~busy].min() > 2 * before[~busy].min()
    for loud in (windows, 1.9 * windows):
        want, got = (TfliteModel(write_fp32(g)).run(loud) for g in (graph, changed))
        np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
    untouched = equalise(graph, observe(graph, windows).peaks)
    assert observe(untouched, windows).peaks[first.output] == pytest.approx(before)


def test_silent_channels_are_left_alone() -> None:
    m = Maker(shape=(1, 3, 40))
    weight = m.rng.normal(size=(4, 3, 1, 1)).astype(np.float32)
    weight[1] = 0
    x = m.node(
        "Relu", m.node("Conv", m.unsqueeze(), m.const(weight), m.const(np.zeros(4, np.float32)))
    )
    second = m.rng.normal(size=(5, 4, 1, 1)).astype(np.float32)
    second[:, 2] = 0  # a channel that nobody reads
    x = m.node("Conv", x, m.const(second), m.const(np.zeros(5, np.float32)))
    graph = from_onnx.read(m.model(m.head(x, 5 * 40)))
    windows = m.rng.normal(size=(30, 3, 40)).astype(np.float32)
    changed = equalise(graph, observe(graph, windows).peaks)
    assert all(np.isfinite(t.data).all() for t in changed.tensors.values() if t.data is not None)
    want, got = (TfliteModel(write_fp32(g)).run(windows) for g in (graph, changed))
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
