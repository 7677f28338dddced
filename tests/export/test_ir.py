from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chains import Chain
from hypothesis import given
from hypothesis import strategies as st

from export import ir


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(1, 3))
def test_same_padding_gives_ceil_of_n_over_stride(
    n: int, kernel: int, stride: int, dil: int
) -> None:
    before, after = ir.same_pads(n, kernel, stride, dil)
    reach = (kernel - 1) * dil + 1
    assert 0 <= after - before <= 1
    if before + after:
        assert (n + before + after - reach) // stride + 1 == -(-n // stride)
    window = ir.Window((1, kernel), (1, stride), (1, dil), ir.Padding.SAME)
    assert window.output_hw(1, n) == (1, -(-n // stride))
    assert window.pads(1, n) == ((0, 0), (before, after))


def test_valid_window() -> None:
    window = ir.Window((2, 25), (1, 25))
    assert window.output_hw(3, 104) == (2, 4)
    assert window.pads(3, 104) == ((0, 0), (0, 0))


def test_macs_by_hand(mic: Chain) -> None:
    by_hand = (
        800 * 19 * 16  # spatial
        + 200 * 32 * 24  # depthwise, stride 4
        + 100 * 32 * 8  # depthwise, stride 2
        + 100 * 32 * 32
        + 100 * 32 * 9 + 100 * 32 * 32  # block
        + 4 * 32 * 16  # compress
        + 16 * 3  # head
    )  # fmt: skip
    assert mic.graph.macs() == by_hand
    assert sum(mic.graph.op_macs(op) for op in mic.graph.ops) == by_hand


def test_parameters_are_those_of_torch_with_norms_folded(mic: Chain) -> None:
    weights = [p.numel() for n, p in mic.model.named_parameters() if p.ndim > 1]
    biases = 16 + 32 + 32 + 32 + 32 + 32 + 16 + 3
    assert mic.graph.n_parameters() == sum(weights) + biases


def test_arena_is_the_widest_moment(mic: Chain) -> None:
    assert mic.graph.arena_bytes() == 800 * (19 + 16)  # input and the first map
    assert mic.graph.arena_bytes(4) == 4 * 800 * (19 + 16)


def test_arena_counts_the_waiting_branch_of_an_addition(mic: Chain) -> None:
    spans = mic.graph.lifetimes()
    add = next(op for op in mic.graph.ops if isinstance(op, ir.Add))
    at = mic.graph.ops.index(add)
    assert spans[add.input][1] == spans[add.other][1] == at
    live = [n for n, (first, last) in spans.items() if first <= at - 1 <= last]
    assert len(live) == 3  # branch, input and output of the block's last convolution


def test_validate_names_the_contradiction(mic: Chain) -> None:
    graph = mic.graph
    graph.validate()
    with pytest.raises(ValueError, match="is not computed before"):
        ir.Graph(graph.tensors, graph.ops[::-1], graph.input, graph.output).validate()
    with pytest.raises(ValueError, match="is computed twice"):
        ir.Graph(graph.tensors, graph.ops[:1] * 2, graph.input, graph.output).validate()
    with pytest.raises(ValueError, match="is never computed"):
        ir.Graph(graph.tensors, graph.ops[:-1], graph.input, graph.output).validate()
    first = graph.ops[0]
    tensors = {**graph.tensors, first.bias: replace(graph.tensors[first.bias], shape=(15,))}
    with pytest.raises(ValueError, match=r"has shape \(15,\), expected \(16,\)"):
        ir.Graph(tensors, graph.ops, graph.input, graph.output).validate()


def test_rounding_is_half_away_from_zero_and_saturates() -> None:
    quant = ir.Quant(np.array([0.5], np.float32), zero_point=3)
    real = np.array([0.0, 0.25, -0.25, 0.75, -0.75, 0.24, 1e9, -1e9])
    assert quant.quantise(real).tolist() == [3, 4, 2, 5, 1, 3, 127, -128]
    assert quant.dequantise(np.array([3, 5], np.int8)).tolist() == [0.0, 1.0]


def test_16_bits_round_alike_and_saturate_later() -> None:
    quant = ir.Quant(np.array([0.5], np.float32), bits=16)
    real = np.array([0.0, 0.25, -0.25, 200.0, 1e9, -1e9])
    assert quant.quantise(real).tolist() == [0, 1, -1, 400, 32767, -32768]
    assert quant.quantise(real).dtype == quant.dtype == np.int16
    assert quant.dequantise(np.array([400], np.int16)).tolist() == [200.0]


def test_padding_grows_height_and_width_only() -> None:
    tensors = {
        name: ir.Tensor(name, shape, ir.Layout.NHWC)
        for name, shape in (("x", (1, 3, 40, 2)), ("p", (1, 4, 47, 2)), ("y", (1, 4, 47, 2)))
    }
    ops = ir.Pad("pad", "x", "p", ((1, 0), (3, 4))), ir.Elu("elu", "p", "y")
    graph = ir.Graph(tensors, ops, "x", "y").validate()
    assert graph.macs() == 0
    assert graph.arena_bytes({"x": 1, "p": 2, "y": 1}) == 4 * 47 * 2 * 3
    with pytest.raises(ValueError, match=r"p has shape \(1, 4, 47, 2\), expected \(1, 3, 47, 2\)"):
        ir.Graph(tensors, (replace(ops[0], pads=((0, 0), (3, 4))),), "x", "p").validate()
