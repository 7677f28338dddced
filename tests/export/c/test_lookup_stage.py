"""ELU inside pipelines and streams: a table between layers that work on a part of their image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from build import T, build
from nets import SAME, Net, random_net
from oracles import bytes_like, ours, reference
from test_packed import PACKED
from test_streaming import DSP, PLAIN, UNDEFINED, check, needs_compiler

from export.c.fold import fold
from export.c.generate import generate
from export.c.host import HostModel
from export.c.reader import read
from export.c.schedule import schedule
from export.c.stages import can_be_stage

SEEDS = [3, 4, 7]


def small_net() -> bytes:
    net = Net(np.random.default_rng(2), (1, 1, 60, 3), 2)
    net.conv("Conv2D", 5, 1, 1, SAME, 8)
    net.elu()
    net.pool("MAX", 2, 2, 1)
    net.elu()
    net.conv("DepthwiseConv2D", 3, 1, 1, SAME, 2)
    return net.pack()


def test_elu_does_not_cut_a_pipeline() -> None:
    order = schedule(fold(read(small_net())), "reference")
    assert not order.layers
    kernels = [stage.kernel for part in order.pipelines for stage in part.stages]
    assert kernels.count("lookup_stage") == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_random_nets_equal_the_reference(seed: int, tmp_path: Path) -> None:
    model, _, _ = random_net(seed, elu=True)
    graph = read(model)
    assert any(op.kind == "ELU" for op in graph.ops)
    rows = bytes_like(np.random.default_rng(seed), 6, graph.input.size)
    want = reference(model, rows)
    np.testing.assert_array_equal(ours(model, rows), want)
    library = generate(model, tmp_path / "c").out_dir
    np.testing.assert_array_equal(HostModel(library, PACKED).run(rows), want)


@needs_compiler
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_random_nets_stream(seed: int, tmp_path: Path) -> None:
    model, times, stride = random_net(seed, elu=True)
    hop = stride * min(times // stride, seed + 2)
    check(model, tmp_path, hop, [1, 7, hop], (PLAIN if seed == SEEDS[0] else DSP) + UNDEFINED)


def test_where_the_references_part_it_stays_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No such scales are known; but if there are, a stage would not know whom to follow."""
    from export.c import tables

    (op,) = read(build("ELU", [T((1, 1, 9, 2), 0.05, 3)], T((1, 1, 9, 2), 0.04, -90))).ops
    assert can_be_stage(op)
    table = tables.elu_of(op)
    monkeypatch.setattr(
        tables, "elu_of", lambda op, difference=False: table ^ np.int8(1) if difference else table
    )
    assert not can_be_stage(op)


def test_rows_of_a_vector_are_a_layer() -> None:
    (op,) = read(build("ELU", [T((1, 18), 0.05, 3)], T((1, 18), 0.04, -90))).ops
    assert not can_be_stage(op)
