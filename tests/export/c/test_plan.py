"""The arena: no two live buffers overlap, and the peak is near what is possible."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from models import chain_model

from export.c.graph import Reshape
from export.c.layers import lower
from export.c.plan import Buffer, aliases, live_bytes, peak, place, search
from export.c.reader import read
from export.c.schedule import _Lives, schedule

lives = st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 4))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(lives, max_size=12))
def test_live_buffers_never_overlap(spec):
    wanted = [Buffer(i, size, first, first + more) for i, (size, first, more) in enumerate(spec)]
    bound = live_bytes(wanted)
    offsets = search(wanted, bound)
    assert set(offsets) == {b.root for b in wanted}
    assert all(offset % 4 == 0 and offset >= 0 for offset in offsets.values())
    for a in wanted:
        for b in wanted:
            if a is not b and a.first <= b.last and b.first <= a.last:
                apart = offsets[a.root] + a.size <= offsets[b.root]
                assert apart or offsets[b.root] + b.size <= offsets[a.root]
    assert peak(wanted, offsets) >= bound


def test_a_chain_reaches_the_bound():
    wanted = [Buffer(i, size, i, i + 1) for i, size in enumerate([400, 4000, 1000, 3000, 20])]
    assert live_bytes(wanted) == 5000
    assert peak(wanted, search(wanted, live_bytes(wanted))) == 5000


def test_search_beats_greedy_by_size():
    """A large early buffer in front of three that live side by side later."""
    spec = [(12800, 0, 1), (7680, 1, 4), (7680, 2, 3), (7680, 3, 4)]
    wanted = [Buffer(i, *life) for i, life in enumerate(spec)]
    by_size = sorted(wanted, key=lambda b: (-b.size, b.first))
    assert peak(wanted, place(by_size)) == 28160
    assert peak(wanted, search(wanted, live_bytes(wanted))) == 23040 == live_bytes(wanted)


def test_reshape_shares_the_bytes_and_the_ends_are_outside():
    graph = read(chain_model())
    added, pooled, flat, out = (op.output.index for op in graph.ops)
    roots = aliases(graph)
    assert roots[flat] == pooled
    lives = _Lives({graph.input.index, roots[graph.output.index]})
    for op in graph.ops:
        if not isinstance(op, Reshape):
            lives.layer(lower(op, "reference"), roots)
    assert [(b.root, b.size, b.first, b.last) for b in lives.buffers()] == [
        (added, 36, 0, 1),
        (pooled, 18, 1, 2),
    ]
    assert live_bytes(lives.buffers()) == 54
    made = schedule(graph, "reference").plan
    assert out not in made.offsets
    assert graph.input.index not in made.offsets
    assert made.peak == made.lower_bound
