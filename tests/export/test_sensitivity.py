"""Sensitivity: the layer that was spoilt comes first, alone and as the one whose absence helps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import student
from chains import Chain
from hard_graphs import Seen, scaled_channel

from export.calibration import observe
from export.quantisation.score import Gate, Score, score
from export.quantisation.sensitivity import by_output, plot_sensitivity, sensitivity
from export.quantize import quantize


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen(*student.windows(80, seed=9))


def test_the_spoilt_layer_comes_first(mic: Chain, seen: Seen) -> None:
    hard = scaled_channel(mic.graph)
    qgraph = quantize(hard, observe(hard, mic.calibration).ranges())
    rows = sensitivity(hard, qgraph, seen)
    assert {row.operator for row in rows} == {mic.graph.input, *(op.name for op in hard.ops)}
    first, second = rows[:2]
    assert first.operator == hard.ops[0].name
    assert first.tensor == hard.ops[0].output
    assert first.alone.snr_db < second.alone.snr_db - 6
    best = max(rows, key=lambda row: row.without.snr_db)
    assert best.operator == first.operator
    assert by_output(rows)[0].operator == first.operator
    alone = [row.alone.snr_db for row in rows if row.alone.snr_db is not None]
    assert alone == sorted(alone)


def test_rows_and_plot_need_no_objects(mic: Chain, seen: Seen, tmp_path) -> None:
    rows = sensitivity(mic.graph, mic.qgraph, seen)
    assert all(row.alone.agreement >= 0.9 for row in rows)
    plain = json.loads(json.dumps([row.as_dict() for row in rows], allow_nan=False))
    assert plain[0]["alone"]["snr_db"] == rows[0].alone.snr_db
    plot_sensitivity(plain, tmp_path / "sensitivity.png")
    assert (tmp_path / "sensitivity.png").read_bytes().startswith(b"\x89PNG")


LOGITS = np.eye(2, dtype=np.float32)[[0] * 10 + [1] * 10]
TRUE = np.array([0] * 10 + [1] * 10)


def flipped(n: int) -> np.ndarray:
    found = LOGITS.copy()
    found[:n] = found[:n, ::-1]
    return found


def test_scores_count_windows() -> None:
    found = score(flipped(3), LOGITS, TRUE)
    assert found.drop == pytest.approx(0.15)
    assert found.agreement == pytest.approx(0.85)
    assert score(LOGITS, LOGITS, TRUE) == Score(0.0, 1.0, 0.0, pytest.approx(1.0), None)
    assert score(flipped(3), LOGITS, np.full(20, -1)).drop is None
    some = np.where(np.arange(20) < 2, -1, TRUE)  # two of the flipped ones have no label
    assert score(flipped(3), LOGITS, some).drop == pytest.approx(1 / 16)


@pytest.mark.parametrize(("n", "passed"), [(0, True), (1, True), (2, False)])
def test_one_window_may_always_differ(n: int, passed: bool) -> None:
    found = score(flipped(n), LOGITS, TRUE)
    assert Gate(max_drop=0.0, min_agreement=1.0, min_cosine=0.0).passes(found, TRUE) is passed


def test_excess_grows_with_what_is_missed() -> None:
    gate = Gate(min_cosine=0.0)
    excess = [gate.excess(score(flipped(n), LOGITS, TRUE), TRUE) for n in (0, 1, 2, 4, 8)]
    assert excess == sorted(excess)
    assert excess[:2] == [0.0, 0.0]
    assert excess[2] > 0
    unlabelled = np.full(20, -1)
    assert not gate.passes(score(flipped(4), LOGITS, unlabelled), unlabelled)


def test_logits_that_parity_would_refuse_do_not_pass() -> None:
    noise = 0.2 * np.random.default_rng(0).standard_normal(LOGITS.shape)
    found = score((LOGITS + noise).astype(np.float32), LOGITS, TRUE)
    assert (found.drop, found.agreement) == (0.0, 1.0)
    assert 0.8 < found.cosine < 0.99
    assert not Gate().passes(found, TRUE)
    assert Gate().passes(found, TRUE, tuned=True)
