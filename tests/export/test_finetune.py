"""Fine-tuning under rounding: it mends what rounding broke, and does the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import student
from chains import Chain
from hard_graphs import Seen, common_mode, data

from export import ir
from export.calibration import observe
from export.quantisation.finetune import Finetuning, finetune
from export.quantize import quantize
from export.runtimes import TfliteModel
from export.tflite import write_fp32, write_int8


@pytest.fixture(scope="module")
def hard(mic: Chain) -> tuple[ir.Graph, Seen, Seen, np.ndarray]:
    """Average-referenced windows, and a graph whose spatial weights leave int8 few steps."""
    train, val = (Seen(*student.windows(n, seed=s)) for n, s in ((160, 21), (80, 22)))
    for seen in (train, val):
        seen.x -= seen.x.mean(axis=1, keepdims=True)
    graph = common_mode(mic.graph, 80.0)
    targets = TfliteModel(mic.fp32).run(train.x)
    return graph, train, val, targets


def test_common_mode_is_no_change_in_float(mic: Chain, hard) -> None:
    graph, _, val, _ = hard
    want, got = (TfliteModel(write_fp32(g)).run(val.x) for g in (mic.graph, graph))
    np.testing.assert_allclose(got, want, atol=1e-3 * np.abs(want).max())


def test_it_mends_what_rounding_broke(mic: Chain, hard) -> None:
    graph, train, val, targets = hard
    want = TfliteModel(mic.fp32).run(val.x)
    ranges = observe(graph, train.x).ranges()
    qgraph = quantize(graph, ranges)

    def error(found: ir.QuantizedGraph) -> float:
        return float(np.sqrt(np.mean((TfliteModel(write_int8(found)).run(val.x) - want) ** 2)))

    options = Finetuning(epochs=6)
    tuned = finetune(graph, qgraph, train, val, targets, options)
    assert error(quantize(tuned, ranges)) < 0.5 * error(qgraph)
    assert set(tuned.tensors) == set(graph.tensors)
    again = finetune(graph, qgraph, train, val, targets, options)
    for op in tuned.ops:
        if isinstance(op, ir.Weighted):
            np.testing.assert_array_equal(data(tuned, op.weight), data(again, op.weight))


def test_windows_without_labels_serve_too(mic: Chain, hard) -> None:
    graph, train, val, targets = hard
    few = Seen(train.x[:40], np.full(40, -1))
    qgraph = quantize(graph, observe(graph, train.x).ranges())
    tuned = finetune(graph, qgraph, few, val, targets[:40], Finetuning(epochs=1))
    assert all(np.isfinite(t.data).all() for t in tuned.tensors.values() if t.data is not None)
