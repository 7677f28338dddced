"""The ladder, one graph a rung: each is spoilt in a way that exactly that rung mends."""

from __future__ import annotations

import json

import numpy as np
import pytest
import student
from chains import Chain
from hard_graphs import Seen, common_mode, scaled_channel

from export import ir
from export.calibration import METHODS, observe
from export.quantisation.ladder import RUNGS, Climbed, Gate, LadderWindows, climb
from export.quantisation.rungs import around
from export.quantisation.score import thinned
from export.runtimes import TfliteModel
from export.tflite import write_fp32, write_int8
from targets.errors import InputError


@pytest.fixture(scope="module")
def windows(mic: Chain) -> LadderWindows:
    train, val = (Seen(*student.windows(n, seed=s)) for n, s in ((160, 21), (80, 22)))
    return LadderWindows(mic.calibration, val, train)


def referenced(windows: LadderWindows) -> LadderWindows:
    """The same under an average reference: potentials sum to zero."""

    def centred(x: np.ndarray) -> np.ndarray:
        return x - x.mean(axis=1, keepdims=True)

    val, train = (Seen(centred(s.x), s.y) for s in (windows.val, windows.train))
    return LadderWindows(centred(windows.calibration), val, train)


def climbed(graph: ir.Graph, windows: LadderWindows, **more: object) -> tuple[Climbed, list[str]]:
    said: list[str] = []
    found = climb(graph, windows, Gate(), said.append, **more)  # type: ignore[arg-type]
    assert len(found.comparisons) == len(METHODS)
    assert len(said) >= len(METHODS) + len(found.rungs) - 1
    return found, said


def agreement(found: Climbed, graph: ir.Graph, x: np.ndarray) -> float:
    want = TfliteModel(write_fp32(graph)).run(x).argmax(axis=1)
    return float((TfliteModel(write_int8(found.qgraph)).run(x).argmax(axis=1) == want).mean())


def test_what_passes_as_it_comes_is_left_as_it_is(mic: Chain, windows: LadderWindows) -> None:
    observed = observe(mic.graph, mic.calibration)
    found, _ = climbed(mic.graph, windows, observed=observed)
    assert found.passed
    assert (found.method, found.wide, found.changed) == ("percentile", (), False)
    assert found.graph is mic.graph
    assert [rung.name for rung in found.rungs] == ["int8"]
    assert found.ranges == observed.ranges()
    assert write_int8(found.qgraph) == mic.int8
    assert len(found.sensitivity) == len(mic.graph.ops) + 1
    plain = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert [row["method"] for row in plain["comparisons"]] == list(METHODS)


def test_another_calibration_mends_blinks(mic: Chain, windows: LadderWindows) -> None:
    blinking = mic.calibration.copy()
    at = np.random.default_rng(0).random((len(blinking), 800)) < 1e-3
    blinking = np.where(at[:, None, :], 1000 * np.sign(blinking), blinking).astype(np.float32)
    found, said = climbed(mic.graph, LadderWindows(blinking, windows.val))
    assert not found.comparisons[0].passed
    assert found.passed
    assert found.method == "entropy"
    assert (found.changed, found.graph) == (False, mic.graph)
    assert [(r.name, r.kept, r.passed) for r in found.rungs] == [
        ("int8", True, False),
        ("calibration", True, True),
    ]
    assert found.rungs[1].before == found.rungs[0].after
    assert any("calibration percentile" in line and "not enough" in line for line in said)


def test_equalisation_mends_a_loud_channel(mic: Chain, windows: LadderWindows) -> None:
    hard = scaled_channel(mic.graph)
    found, _ = climbed(hard, windows, method="percentile")
    assert found.passed
    assert [r.name for r in found.rungs] == ["int8", "equalisation"]
    assert found.rungs[-1].what.startswith("channels equalised (")
    assert not found.changed
    assert agreement(found, hard, windows.val.x) >= 0.95
    want, got = (TfliteModel(write_fp32(g)).run(windows.val.x) for g in (hard, found.graph))
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())


def test_int16_mends_a_loud_channel_too(mic: Chain, windows: LadderWindows) -> None:
    hard = scaled_channel(mic.graph)
    found, _ = climbed(hard, windows, method="minmax", rungs=("int16x8",))
    assert found.passed
    # One tensor was enough: it keeps 16 bits between the operators that make and read it.
    assert found.wide == (hard.ops[0].name, hard.ops[1].name)
    assert found.qgraph.quants[hard.ops[0].output].bits == 16
    assert found.graph is hard
    assert not found.changed
    assert agreement(found, hard, windows.val.x) >= 0.95


def test_fine_tuning_mends_coarse_weights(mic: Chain, windows: LadderWindows) -> None:
    hard, seen = common_mode(mic.graph, 80.0), referenced(windows)
    asked = []

    def teacher() -> np.ndarray:
        asked.append(True)
        return TfliteModel(mic.fp32).run(seen.train.x)

    found, _ = climbed(hard, seen, soft_targets=teacher)
    assert found.passed
    assert [r.name for r in found.rungs] == ["int8", *RUNGS]
    assert found.rungs[-1].what == "fine-tuned by the teacher's decisions"
    assert asked == [True]
    assert found.changed
    by_name = {rung.name: rung for rung in found.rungs}
    assert not by_name["int16x8"].kept  # weights have 8 bits there too: taken back
    assert found.wide == ()
    assert agreement(found, hard, seen.val.x) >= 0.95


def test_where_nothing_helps_the_best_is_handed_back(mic: Chain, windows: LadderWindows) -> None:
    seen = referenced(windows)
    without = LadderWindows(seen.calibration, seen.val)
    found, said = climbed(common_mode(mic.graph, 2000.0), without)
    assert not found.passed
    assert "finetune: nothing to try" in said
    errors = [r.after.rmse for r in found.rungs if r.kept]
    assert found.score.rmse == errors[-1] <= errors[0]


def test_rungs_may_be_left_out(mic: Chain, windows: LadderWindows) -> None:
    found, _ = climbed(scaled_channel(mic.graph), windows, method="minmax", rungs=())
    assert not found.passed
    assert [r.name for r in found.rungs] == ["int8"]
    assert found.method == "minmax"


def test_windows_without_labels_are_judged_by_agreement(mic: Chain, windows: LadderWindows) -> None:
    val = Seen(windows.val.x, np.full(len(windows.val), -1))
    found, _ = climbed(mic.graph, LadderWindows(mic.calibration, val))
    assert found.passed
    assert found.score.drop is None


def test_many_windows_are_judged_by_some(windows: LadderWindows) -> None:
    many = thinned(Seen(np.tile(windows.val.x, (30, 1, 1)), np.tile(windows.val.y, 30)), 2048)
    assert len(many) == 2048
    assert len(thinned(many, 5000)) == 2048
    np.testing.assert_array_equal(thinned(windows.val, 80).x, windows.val.x)


def test_bad_requests(mic: Chain, windows: LadderWindows) -> None:
    with pytest.raises(InputError, match="no such calibration method"):
        climbed(mic.graph, windows, method="magic")
    with pytest.raises(InputError, match="no such rung"):
        climbed(mic.graph, windows, rungs=("prayer",))
    empty = Seen(windows.val.x[:0], windows.val.y[:0])
    with pytest.raises(InputError, match="no validation windows"):
        climbed(mic.graph, LadderWindows(mic.calibration, empty))


def test_operators_around_a_tensor(mic: Chain) -> None:
    names = [op.name for op in mic.graph.ops]
    assert around(mic.graph.input, mic.graph) == set()
    assert around(mic.graph.output, mic.graph) == set()
    assert around(mic.graph.ops[0].output, mic.graph) == set(names[:2])
    pool = next(op for op in mic.graph.ops if isinstance(op, ir.AveragePool2D))
    at = names.index(pool.name)  # its maker, the pool and its reader: they share a scale
    assert around(pool.output, mic.graph) == set(names[at - 1 : at + 2])
    add = next(op for op in mic.graph.ops if isinstance(op, ir.Add))
    readers = {op.name for op in mic.graph.ops if add.input in op.inputs}
    assert readers | {add.name} <= around(add.input, mic.graph)
