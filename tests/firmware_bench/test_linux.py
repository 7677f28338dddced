"""The host bench on real models in real runtimes."""

import shutil

import pytest
from artefacts import seal

from firmware_bench import artefact as artefacts
from firmware_bench import linux
from targets.errors import InputError
from targets.target import load


@pytest.fixture(scope="module")
def measured(artefact_folder):
    steps = []
    artefact = artefacts.load(artefact_folder)
    run, found = linux.bench(artefact, load("host"), runs=40, progress=steps.append)
    assert len(steps) == linux.steps(artefact, 40)
    return run, found


def by(found, **fields):
    return [m for m in found if all(getattr(m, k) == v for k, v in fields.items())]


def test_every_model_has_every_figure_with_its_runtime(measured):
    _, found = measured
    for model, fmt in (("student", "fp32.onnx"), ("teacher", "fp32.onnx")):
        metrics = {m.metric for m in by(found, model=model, format=fmt)}
        latencies = {f"latency_{name}" for name in ("median", "p90", "p99", "worst")}
        assert metrics == latencies | {"peak_rss", "model_rss"}
    assert all(m.evidence == "measured" and m.target == "host" for m in found)
    assert all(m.runtime for m in found)


def test_percentiles_are_in_order(measured):
    for median in by(measured[1], metric="latency_median"):
        same = {"model": median.model, "format": median.format}
        tail = [
            by(measured[1], metric=f"latency_{name}", **same)[0].value
            for name in ("p90", "p99", "worst")
        ]
        assert [median.value, *tail] == sorted([median.value, *tail])
        assert median.samples.count == 40
        assert median.interval.low <= median.value <= median.interval.high


def test_the_teacher_is_slower_larger_and_the_ratio_says_so(measured):
    _, found = measured
    (ratio,) = by(found, model="ratio", format="fp32.onnx")
    student, teacher = (
        by(found, model=model, format="fp32.onnx", metric="latency_median")[0].value
        for model in ("student", "teacher")
    )
    assert 1 / 3 < ratio.value / (teacher / student) < 3  # loose: the machine may be busy
    assert ratio.interval.low <= ratio.value <= ratio.interval.high
    assert ratio.interval.low > 2
    memory = {m.model: m.value for m in by(found, metric="model_rss", format="fp32.onnx")}
    assert memory["teacher"] > 6e6


def test_the_environment_is_recorded(measured):
    environment = measured[0].environment
    assert environment.facts["cpu"]
    assert "onnxruntime" in environment.facts["versions"]


def test_without_a_teacher_there_is_no_ratio(tmp_path, artefact_folder):
    copy = tmp_path / "copy"
    shutil.copytree(artefact_folder, copy)
    (copy / "teacher.fp32.onnx").unlink()
    seal(copy)
    _, found = linux.bench(artefacts.load(copy), load("host"), runs=2)
    assert by(found, model="ratio") == []


def test_an_artefact_without_models_is_refused(tmp_path):
    seal(tmp_path)
    with pytest.raises(InputError, match="no model file"):
        linux.bench(artefacts.load(tmp_path), load("host"))
