"""The ladder's result survives being kept, and a missed gate says what was tried."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hard_graphs import scaled_channel
from made_sources import source_of

from export.calibration import observe
from export.options import Options
from export.quantised import AccuracyGateError, quantised_student
from export.store import Store
from export.tflite import write_int8


@pytest.fixture
def source(mic):
    return source_of(mic.proto, mic.windows.shape[2])


def quantise(graph, source, options, folder, say=lambda text: None):
    calibration = source.splits["train"]
    observed = observe(graph, calibration.x)
    store = Store(folder)
    made = quantised_student(
        graph, observed, source, calibration, options, store, say, key={"graph": options.method}
    )
    return made, store


def test_what_is_kept_gives_the_same_model(mic, source, tmp_path):
    hard = scaled_channel(mic.graph)
    first, store = quantise(hard, source, Options(), tmp_path)
    again, kept = quantise(hard, source, Options(), tmp_path)
    assert (store.made, kept.made) == (["ladder"], [])
    assert write_int8(first.qgraph) == write_int8(again.qgraph)
    assert json.dumps(first.report) == json.dumps(again.report)
    assert first.widest_ranges == again.widest_ranges


def test_a_hard_student_climbs_and_the_log_says_which_rung_did_it(mic, source, tmp_path):
    said = []
    hard = scaled_channel(mic.graph)
    made, _ = quantise(hard, source, Options(), tmp_path, said.append)
    names = [row["name"] for row in made.report["rungs"]]
    assert names[0] == "int8"
    assert len(names) > 1
    assert made.report["passed_by"] == names[-1]
    assert made.summary["passed_by"] == names[-1]
    assert said[-1].startswith(f"quantisation passed the gate by {names[-1]}")
    for name, tensor in hard.tensors.items():
        assert made.graph.tensors[name].shape == tensor.shape


def test_scales_that_a_runtime_refuses_are_no_form_and_the_ladder_climbs_on(mic, source, tmp_path):
    made, _ = quantise(scaled_channel(mic.graph, factor=1e5), source, Options(), tmp_path)
    assert made.report["passed_by"] == "equalisation"
    assert made.report["rungs"][0]["after"]["cosine"] == 0


def test_a_gate_that_nothing_passes_names_every_rung(mic, source, tmp_path):
    hard = scaled_channel(mic.graph, factor=2e4)
    with pytest.raises(AccuracyGateError) as err:
        quantise(hard, source, Options(rungs=("calibration",)), tmp_path)
    text = str(err.value)
    assert "int8 misses the accuracy gate" in text
    assert "\n  int8: percentile: " in text
    assert "\n  calibration: " in text
    assert "--max-drop" in text


def test_sixteen_bits_have_headroom(mic, source, tmp_path):
    made, _ = quantise(mic.graph, source, Options(), tmp_path)
    peak = float(np.abs(source.splits["train"].x).max())
    low, high = made.widest_ranges[mic.graph.input]
    assert max(-low, high) == pytest.approx(4 * peak, rel=1e-3)


def test_another_validation_set_is_another_result(mic, source, tmp_path):
    quantise(mic.graph, source, Options(), tmp_path)
    val = source.splits["val"]
    fewer = replace(source, splits={**source.splits, "val": val.select(np.arange(30))})
    assert quantise(mic.graph, fewer, Options(), tmp_path)[1].made == ["ladder"]
