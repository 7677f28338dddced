"""What counts as a change between two commits."""

import pytest
from artefacts import QUIET, SHARED, flash, results

from firmware_bench.history.compare import compare
from firmware_bench.history.figures import figures_of
from firmware_bench.results import Interval, figure


def timed(ms, spread=0.1, metric="latency_median", model="student", evidence="measured", **extra):
    interval = None
    if spread is not None:
        interval = Interval(low=ms - spread, high=ms + spread, kind="95 % CI")
    extra = {"format": "fp32.onnx", "runtime": "onnxruntime 1.31.1"} | extra
    return figure("host", model, metric, ms, evidence, interval=interval, **extra)


def one(metric, value, evidence="measured", target="host", **extra):
    return figure(target, "student", metric, value, evidence, **extra)


def of(*measurements, environment=QUIET, created="2026-11-20T12:00:00+00:00", commit="a"):
    found = results(*measurements, environment=environment)
    return figures_of(found.model_copy(update={"created": created}), commit)


def band(value, half=0.25):
    return Interval(low=value * (1 - half), high=value * (1 + half), kind="model band")


@pytest.mark.parametrize(
    ("before", "after", "verdict", "why"),
    [
        (flash(1000), flash(1000), "same", ""),
        (flash(1000), flash(1001), "worse", "deterministic"),
        (flash(1000), flash(999), "better", "deterministic"),
        (one("golden_differing_bytes", 0), one("golden_differing_bytes", 1), "worse", ""),
        (one("golden_agreement", 0.9), one("golden_agreement", 1.0), "better", "deterministic"),
        (timed(2.0), timed(2.15), "worse", "outside both"),
        (timed(2.0), timed(1.85), "better", "outside both"),
        (timed(2.0), timed(2.05), "same", "within an interval"),
        (timed(2.0, 0.01), timed(2.15, 0.3), "same", "within an interval"),
        (timed(2.0, None), timed(2.15, None), "same", "within 10%"),
        (timed(2.0, None), timed(2.25, None), "worse", "beyond 10%"),
        (timed(2.0), timed(2.25, None), "worse", "beyond 10%"),
        (one("peak_rss", 1000), one("peak_rss", 1001), "same", "within 10%"),
        (one("peak_rss", 1000), one("peak_rss", 1200), "worse", "beyond 10%"),
        (
            one("latency_estimated", 9.0, "estimated", interval=band(9.0)),
            one("latency_estimated", 9.1, "estimated", interval=band(9.1)),
            "worse",
            "deterministic",
        ),
        (
            one("latency_estimated", 0.1 + 0.2, "estimated"),
            one("latency_estimated", 0.3, "estimated"),
            "same",
            "deterministic",
        ),
    ],
)
def test_verdicts(before, after, verdict, why):
    (change,) = compare(of(before), of(after))
    assert change.verdict == verdict
    assert why in change.why


def test_times_of_an_invalid_environment_are_indicative_only():
    before, after = of(timed(2.0)), of(timed(9.0), environment=SHARED)
    for first, second in ((before, after), (after, before)):
        (change,) = compare(first, second)
        assert change.verdict == "indicative"
    counts = compare(of(flash(1), environment=SHARED), of(flash(2), environment=SHARED))
    assert [change.verdict for change in counts] == ["worse"]


def test_a_figure_is_compared_with_its_like_only():
    before = of(timed(2.0), one("macs", 5), flash(1))
    after = of(
        timed(9.0, evidence="emulated"),
        timed(9.0, model="teacher"),
        timed(9.0, format="int8.tflite"),
        timed(9.0, runtime="onnxruntime 1.31.1, 2 threads"),
        flash(1, "rp2040"),
        one("macs", 5),
    )
    assert sorted(change.verdict for change in compare(before, after)) == [
        "gone", "gone", "new", "new", "new", "new", "new", "same",
    ]  # fmt: skip
    (change,) = compare(of(timed(2.0)), of(timed(3.0, runtime="onnxruntime 2.0")))
    assert change.verdict == "worse"
    assert change.relative == pytest.approx(0.5)


def test_the_latest_results_of_a_commit_count_and_missing_values_do_not():
    early = of(flash(1), created="2026-11-20T12:00:00+00:00")
    late = of(flash(2), created="2026-11-21T12:00:00+00:00")
    failed = of(flash(None, reason="board gone"), created="2026-11-22T12:00:00+00:00")
    (change,) = compare([*late, *early], [*early, *failed])
    assert (change.before.value, change.after.value, change.verdict) == (2, 1, "better")


def test_tolerance_is_the_users():
    (change,) = compare(of(timed(2.0, None)), of(timed(2.25, None)), tolerance=0.2)
    assert change.verdict == "same"
    (change,) = compare(of(one("golden_differing_bytes", 0)), of(one("golden_differing_bytes", 3)))
    assert change.relative is None
