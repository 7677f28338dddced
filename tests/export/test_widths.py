from __future__ import annotations

import numpy as np
import pytest
from chains import Chain
from onnx_models import Maker

from export import from_onnx, ir, quantize, widths
from export.calibration import calibrate
from targets.errors import InputError


def kinds(graph: ir.Graph) -> list[str]:
    return [type(op).__name__ for op in graph.ops]


def branches() -> ir.Graph:
    """conv0 is read by conv1 and by the sum of both; a pool and the head follow."""
    m = Maker()
    x = m.conv(m.unsqueeze(), 4, 6)
    x = m.node("Add", x, m.conv(x, 6, 6))
    x = m.node("AveragePool", x, kernel_shape=[1, 4], strides=[1, 4])
    return from_onnx.read(m.model(m.head(x, 60)))


def test_nothing_wide_leaves_the_graph_as_it_is(mic: Chain) -> None:
    widened = widths.widen(mic.graph)
    assert widened.graph.ops == mic.graph.ops
    assert set(widened.bits.values()) == {8}


def test_all_is_wide_from_end_to_end_without_joints(mic: Chain) -> None:
    widened = widths.widen(mic.graph, "all")
    assert widened.graph.ops == mic.graph.ops
    assert set(widened.bits.values()) == {16}


def test_every_operator_by_name_keeps_8_bit_ends(mic: Chain) -> None:
    graph, bits = (w := widths.widen(mic.graph, [op.name for op in mic.graph.ops])).graph, w.bits
    assert [kinds(graph)[i] for i in (0, -1)] == ["Requantise", "Requantise"]
    assert (bits[graph.input], bits[graph.output]) == (8, 8)
    assert (graph.input, graph.output) == (mic.graph.input, mic.graph.output)


def test_two_readers_of_one_tensor_share_one_copy() -> None:
    graph = branches()
    first, second, add, pool, head = graph.ops
    widened = widths.widen(graph, [second.name, add.name])
    assert kinds(widened.graph) == [
        "Conv2D", "Requantise", "Conv2D", "Add", "Requantise", "AveragePool2D", "Conv2D",
    ]  # fmt: skip
    copy = f"{first.output}/int16"
    assert [op.input for op in widened.graph.ops if copy in op.inputs] == [copy, copy]
    assert widened.origin[copy] == first.output
    assert widened.bits[pool.output] == widened.bits[head.output] == 8


def test_both_operands_of_an_addition_are_brought_to_its_width() -> None:
    graph = branches()
    first, second, add, *_ = graph.ops
    found = widths.widen(graph, [second.name]).graph
    total = next(op for op in found.ops if isinstance(op, ir.Add))
    assert total.inputs == (first.output, f"{second.output}/int8")
    found = widths.widen(graph, [add.name]).graph
    total = next(op for op in found.ops if isinstance(op, ir.Add))
    assert total.inputs == (f"{first.output}/int16", f"{second.output}/int16")


def test_an_output_that_is_read_again_keeps_its_name_in_8_bits() -> None:
    graph = branches()
    second = graph.ops[1]
    cut = ir.Graph(graph.tensors, graph.ops[:2], graph.input, second.output)
    found = widths.widen(cut, [second.name])
    last = found.graph.ops[-1]
    assert (last.input, last.output) == (f"{second.output}/int16", second.output)
    assert found.origin[last.input] == second.output


def test_operators_are_checked() -> None:
    graph = branches()
    with pytest.raises(InputError, match=r"no such operator \(found absent, .*conv1"):
        widths.widen(graph, ["absent", graph.ops[0].name])
    with pytest.raises(InputError, match="no such operator"):
        quantize.quantize(graph, {}, wide="every")
    elu = ir.Elu("elu", graph.output, "after")
    tensors = {**graph.tensors, "after": ir.Tensor("after", (1, 1, 1, 3), ir.Layout.NHWC)}
    longer = ir.Graph(tensors, (*graph.ops, elu), graph.input, "after").validate()
    with pytest.raises(InputError, match=r"operator elu: ELU does not exist in 16 bits"):
        widths.widen(longer, "all")
    assert kinds(widths.widen(longer, [graph.ops[0].name]).graph)[-1] == "Elu"


def test_scales_of_a_mixed_graph() -> None:
    graph = branches()
    windows = np.random.default_rng(0).normal(size=(40, 4, 40)).astype(np.float32)
    ranges = calibrate(graph, windows)
    first, second, add, pool, head = graph.ops
    qgraph = quantize.quantize(graph, ranges, wide=[add.name, pool.name])
    assert qgraph.wide == {add.name, pool.name}
    wide = qgraph.quants[add.output]
    low, high = ranges[add.output]
    assert (wide.bits, wide.zero_point) == (16, 0)
    assert wide.scale[0] == pytest.approx(max(-low, high) / 32767)
    assert qgraph.quants[pool.output] is wide
    plain = quantize.quantize(graph, ranges)
    for name in (graph.input, first.output, second.output, graph.output):
        assert qgraph.quants[name].scale == plain.quants[name].scale
    assert all(qgraph.constants[op.bias].dtype == np.int32 for op in (first, second, head))
    every = quantize.quantize(graph, ranges, wide="all")
    assert all(every.constants[op.bias].dtype == np.int64 for op in (first, second, head))
    assert all(every.constants[op.weight].dtype == np.int8 for op in (first, second, head))


def test_arena_counts_each_tensor_in_its_width() -> None:
    graph = branches()
    ranges = dict.fromkeys(graph.lifetimes(), (-1.0, 1.0))
    assert quantize.quantize(graph, ranges).arena_bytes() == graph.arena_bytes()
    assert quantize.quantize(graph, ranges, wide="all").arena_bytes() == 2 * graph.arena_bytes()
    mixed = quantize.quantize(graph, ranges, wide=[graph.ops[0].name])
    assert mixed.arena_bytes() == 2 * 40 * 4 + 2 * 40 * 6  # the copy of the input, the map
