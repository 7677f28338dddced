"""Every verdict, and the exit code that follows."""

import pytest
from artefacts import QUIET, SHARED, flash, ratio, results

from firmware_bench.gate import as_json, exit_code, judge
from firmware_bench.results import Interval, figure
from targets.budget import load

LINE = """[[budget]]
target = "{target}"
model = "{model}"
metric = "{metric}"
limit = "{limit}"
{more}
"""


@pytest.fixture
def budget(tmp_path):
    def make(metric, limit, *, target="nucleo-l4r5zi", model="student", more=""):
        path = tmp_path / "budgets.toml"
        path.write_text(
            LINE.format(target=target, model=model, metric=metric, limit=limit, more=more)
        )
        return load(path)

    return make


def verdict(lines, *measurements, **extra):
    (found,) = judge(lines, results(*measurements, **extra))
    return found


@pytest.mark.parametrize(
    ("value", "more", "status", "reason"),
    [
        (131_072, "", "pass", "exactly at the limit"),
        (65_536, "", "pass", "50 % below the limit"),
        (131_073, "", "fail", "above the limit"),
        (135_000, 'tolerance = "5 %"', "pass", "within the tolerance"),
        (140_000, 'tolerance = "5 %"', "fail", "7 % above the limit"),
    ],
)
def test_exact_figures_are_hard_gates_even_on_a_shared_machine(budget, value, more, status, reason):
    found = verdict(budget("flash_bytes", "128 KiB", more=more), flash(value), environment=SHARED)
    assert (found.status, reason in found.reason) == (status, True)


def test_a_value_that_rounds_to_the_limit_is_printed_exactly(budget):
    found = verdict(budget("flash_bytes", "128 KiB"), flash(131_073))
    assert found.value_text == "131,073 B"
    assert found.limit_text == "≤ 128 KiB"
    assert verdict(budget("flash_bytes", "128 KiB"), flash(40_000)).value_text == "39.1 KiB"


def test_zero_differing_bytes(budget):
    lines = budget("golden_differing_bytes", "0")
    for value, status in ((0, "pass"), (1, "fail")):
        one = figure("nucleo-l4r5zi", "student", "golden_differing_bytes", value, "emulated")
        assert verdict(lines, one).status == status


@pytest.mark.parametrize(
    ("interval", "status"),
    [((6.0, 7.0, 8.0), "pass"), ((4.0, 7.0, 8.0), "inconclusive"), ((2.0, 3.0, 4.9), "fail")],
)
def test_a_ratio_is_judged_by_its_interval_on_any_machine(budget, interval, status):
    lines = budget("latency_ratio", "5x", target="host", model="ratio")
    assert verdict(lines, ratio(*interval), environment=SHARED).status == status


def test_an_estimate_must_lie_below_with_its_whole_band(budget):
    lines = budget("latency_estimated", "100 ms")
    for value, status in ((60.0, "pass"), (90.0, "inconclusive"), (130.0, "fail")):
        band = Interval(low=0.84 * value, high=1.47 * value, kind="model band")
        one = figure(
            "nucleo-l4r5zi", "student", "latency_estimated", value, "estimated", interval=band
        )
        assert verdict(lines, one).status == status


@pytest.mark.parametrize("value", [0.5, 50.0])
def test_milliseconds_of_a_shared_machine_carry_no_verdict(budget, value):
    lines = budget("latency_median", "5 ms", target="host")
    one = figure("host", "student", "latency_median", value, "measured")
    found = verdict(lines, one, environment=SHARED)
    assert found.status == "inconclusive"
    assert "a virtual machine shares its processor" in found.reason
    assert verdict(lines, one, environment=QUIET).status == ("pass" if value < 5 else "fail")


def test_missing_says_what_to_do(budget):
    lines = budget("flash_bytes", "128 KiB")
    assert "run dlink-bench with -t nucleo-l4r5zi" in verdict(lines, targets=["host"]).reason
    assert verdict(lines).reason == "no such figure in the results"
    fmt = budget("latency_ratio", "5x", target="host", model="ratio", more='format = "c int8"')
    assert verdict(fmt, ratio(6, 7, 8)).reason == 'no format "c int8"; measured: fp32.onnx'
    absent = figure("host", "student", "model_rss", None, "measured", reason="too small")
    found = verdict(budget("model_rss", "1 MiB", target="host"), absent)
    assert (found.status, found.reason) == ("missing", "too small")


def test_without_a_format_the_worst_one_decides(budget):
    both = [ratio(6, 7, 8), ratio(1, 2, 3, fmt="int8.onnx")]
    lines = budget("latency_ratio", "5x", target="host", model="ratio")
    found = verdict(lines, *both)
    assert (found.status, found.measurement.format) == ("fail", "int8.onnx")
    named = budget("latency_ratio", "5x", target="host", model="ratio", more='format = "fp32.onnx"')
    assert verdict(named, *both).status == "pass"


def test_a_figure_of_the_model_alone_serves_any_target(budget):
    size = figure("any", "student", "file_size", 1000, "measured")
    for target in ("any", "host", "rpi5"):
        assert verdict(budget("file_size", "1 kB", target=target), size).status == "pass"


def test_accuracy_has_a_floor_judged_by_its_mean(budget):
    lines = budget("balanced_accuracy", "60 %", target="any", model="distilled")
    spread = Interval(low=0.55, high=0.67, kind="standard deviation")
    for value, status in ((0.61, "pass"), (0.59, "fail")):
        one = figure("any", "distilled", "balanced_accuracy", value, "measured", interval=spread)
        assert verdict(lines, one).status == status


def test_exit_codes(budget):
    lines = budget("flash_bytes", "128 KiB")
    good, bad = verdict(lines, flash(1)), verdict(lines, flash(10**6))
    missing = verdict(lines)
    vague = verdict(
        budget("latency_ratio", "5x", target="host", model="ratio"), ratio(4.0, 7.0, 8.0)
    )
    assert exit_code([good, good]) == 0
    assert exit_code([good, missing, bad, vague]) == 1
    assert exit_code([good, missing]) == exit_code([good, vague]) == 3
    assert exit_code([]) == 3


def test_json_names_everything(budget):
    data = as_json([verdict(budget("flash_bytes", "128 KiB"), flash(10**6))])
    assert data["exit_code"] == 1
    (line,) = data["verdicts"]
    assert line["status"] == "fail"
    assert line["budget"]["line"] == 1
    assert line["measurement"]["value"] == 10**6
