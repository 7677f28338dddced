"""Figures that need no run."""

import copy

import pytest
from artefacts import MANIFEST

from firmware_bench import static
from firmware_bench.artefact import Artefact, load


def one(found, **fields):
    (hit,) = [m for m in found if all(getattr(m, k) == v for k, v in fields.items())]
    return hit


def test_sizes_counts_and_accuracies(artefact_folder):
    found = static.measurements(load(artefact_folder))
    size = (artefact_folder / "teacher.fp32.onnx").stat().st_size
    assert one(found, metric="file_size", model="teacher").value == size
    assert one(found, metric="macs", model="student").value == 4_160_000
    distilled = one(found, metric="balanced_accuracy", model="distilled")
    assert distilled.value == pytest.approx(0.65)
    assert distilled.interval.kind == "standard deviation"
    assert distilled.note == "test split: 4 subjects, 3 seeds"
    assert one(found, metric="teacher_agreement").model == "distilled"
    assert {m.target for m in found} == {"any"}


def test_the_drop_of_each_format_is_against_fp32(artefact_folder):
    found = static.measurements(load(artefact_folder))
    drop = one(found, metric="accuracy_drop", format="int8.tflite")
    assert drop.value == pytest.approx(0.01)
    assert one(found, metric="accuracy_drop", format="fp32.onnx").value == 0


def test_a_manifest_without_metrics_gives_only_sizes(tmp_path):
    manifest = copy.deepcopy(MANIFEST)
    del manifest["metrics"], manifest["models"]
    assert static.measurements(Artefact(tmp_path, manifest, None)) == []
