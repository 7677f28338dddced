"""From a board's report to figures: medians, ratios, verdicts, and reasons where there is none."""

import pytest
from pi_records import ENTRIES, JOB, record, state, units

from firmware_bench.pi import energy, figures
from firmware_bench.pi.record import read
from targets.errors import InputError

FP32, INT8, TEACHER = ENTRIES


def by(found, **fields):
    return [m for m in found if all(getattr(m, k) == v for k, v in fields.items())]


def measured(found=None, meter=None, **job):
    return figures.measurements(record(found, **job), "rpi5", meter)


def test_medians_ratios_and_which_precision_is_faster():
    found = measured()
    (median,) = by(found, metric="latency_median", format="int8.tflite")
    assert median.value == pytest.approx(2.02)
    assert (median.evidence, median.runtime, median.samples.count) == ("measured", "litert 1", 12)
    (ratio,) = by(found, metric="latency_ratio", format="int8.tflite")
    assert ratio.value == pytest.approx(20.0)
    (faster,) = by(found, metric="int8_speedup")
    assert faster.value == pytest.approx(2.0)
    assert faster.note.startswith("int8 is faster under litert")
    (four,) = by(found, metric="latency_threads", format="int8.tflite")
    assert four.value == pytest.approx(2.02 / 4)
    assert four.runtime == "litert 1, 4 threads"


def test_a_slower_int8_is_said_to_be_slower():
    found = units()
    for key, value in found.items():
        if key.startswith("round:"):
            value["runs"][FP32], value["runs"][INT8] = value["runs"][INT8], value["runs"][FP32]
    (faster,) = by(measured(found), metric="int8_speedup")
    assert faster.value == pytest.approx(0.5)
    assert faster.note.startswith("fp32 is faster under litert")


def test_start_memory_and_hop():
    found = {m.metric: m.value for m in by(measured(), format="int8.tflite")}
    assert found["cold_start"] == pytest.approx(510.0)
    assert found["first_inference"] == pytest.approx(5.0)
    assert found["model_rss"] == 10_000_000
    assert found["real_time_factor"] == pytest.approx(2.02 / 250)
    assert found["deadline_misses"] == 0
    assert found["response_worst"] == pytest.approx(3.0)
    assert 0 < found["latency_jitter"] < 0.05


def set_golden(entry, **changed):
    found = units()
    found[f"alone:{entry}"]["golden"].update(changed)
    return found


@pytest.mark.parametrize(
    ("found", "entry", "words"),
    [
        (set_golden(FP32, max_abs=0.5), FP32, "off by 2.5e-01 of the largest"),
        (set_golden(TEACHER, finite=False), TEACHER, "not finite"),
        (set_golden(INT8, worst_step=3, differing=40), INT8, "3 steps from the reference"),
    ],
)
def test_a_wrong_kernel_gets_no_milliseconds(found, entry, words):
    figures_found = measured(found)
    about = record().model(entry)
    (median,) = by(
        figures_found, metric="latency_median", model=about["model"], format=about["format"]
    )
    assert median.value is None
    assert words in median.reason
    others = [m for m in by(figures_found, metric="latency_median") if m is not median]
    assert all(m.value for m in others)


def test_int8_may_differ_from_the_float_model_and_two_steps_from_the_reference():
    found = measured(set_golden(INT8, max_abs=0.3, agreement=0.75, worst_step=2, differing=9))
    (median,) = by(found, metric="latency_median", format="int8.tflite")
    assert median.value
    assert by(found, metric="golden_agreement", format="int8.tflite")[0].value == 0.75
    assert by(found, metric="golden_differing_bytes")[0].value == 9


def test_a_crash_a_damaged_file_and_a_missing_runtime_say_so():
    found = units()
    found[f"fault:{INT8}"] = {"phase": "alone", "error": "SIGSEGV", "signal": "SIGSEGV"}
    del found[f"alone:{INT8}"]
    found["files"]["teacher.fp32.onnx"]["whole"] = False
    entries = found["start:0"]["entries"]
    entries[f"{FP32.partition('@')[0]}@none"] = entries.pop(FP32)
    reasons = {m.format: m.reason for m in by(measured(found), metric="latency_median")}
    assert reasons["int8.tflite"] == "alone: SIGSEGV"
    assert "damaged" in reasons["fp32.onnx"]
    assert "looked for onnxruntime, litert" in reasons["fp32.tflite"]


def test_a_round_that_is_missing_makes_no_median():
    found = units()
    del found["round:1:2"]["runs"][INT8]
    (median,) = by(measured(found), metric="latency_median", format="int8.tflite")
    assert median.reason == "a round of it is missing"
    assert by(measured(found), metric="int8_speedup") == []


def test_minutes_of_load_tell_the_last_fifth_and_the_heat():
    found = units()
    points = [
        {"s": float(k), "median_ns": (2 + k / 10) * 1e6, "state": state(k, temperature_c=50.0 + k)}
        for k in range(11)
    ]
    found["sustained"] = {"entry": INT8, "threads": 4, "points": points}
    (late,) = by(measured(found), metric="latency_sustained")
    assert late.value == pytest.approx(2.9)
    assert "50 to 60 °C" in late.note


def block(begin, watts=(), count=0):
    return {
        "before": {"unix": 1e9 + begin, "monotonic": begin}, "count": count,
        "after": {"unix": 1e9 + begin + 10, "monotonic": begin + 10.0},
        "watts": [[begin + k, power] for k, power in enumerate(watts)],
    }  # fmt: skip


def powered(idle=(), busy=()):
    found = units()
    found["energy:idle"] = block(100.0, idle)
    for entry in ENTRIES:
        found[f"energy:{entry}"] = block(200.0, busy, count=1000)
    return found


def test_energy_by_the_boards_own_readings():
    found = measured(powered([2.0] * 6, [5.0] * 6), energy_s=10)
    (one,) = by(found, metric="energy", format="int8.tflite")
    assert one.value == pytest.approx(1e3 * 3.0 * 10 / 1000)  # mJ
    assert "above idle" in one.note


def test_energy_by_a_meter_at_the_boards_own_time(tmp_path):
    path = tmp_path / "meter.csv"
    lines = [f"{1e9 + t - 50},{5.0 if t >= 200 else 4.0},{0.5}" for t in range(90, 230)]
    path.write_text("unix,volts,amperes\n" + "\n".join(lines) + "\n")
    report = record(powered(), energy_s=10)
    shifted = type(report)(report.job, report.units, clock_offset=50.0)
    found = figures.measurements(shifted, "rpi5", energy.read_meter(path))
    (one,) = by(found, metric="energy", format="int8.tflite")
    assert one.value == pytest.approx(1e3 * 0.5 * 10 / 1000)


def test_energy_without_readings_or_over_a_clock_jump_is_not_made_up(tmp_path):
    (one,) = by(measured(powered(), energy_s=10), metric="energy", format="int8.tflite")
    assert "gave 0 readings" in one.reason
    found = powered()
    found["energy:idle"]["after"]["unix"] += 3600
    meter = energy.Meter((0.0,), (1.0,))
    (one,) = by(measured(found, meter, energy_s=10), metric="energy", format="int8.tflite")
    assert "clock jumped by +3600.0 s" in one.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,power\n1,2\n", "lacks its columns"),
        ("", "lacks its columns"),
        ("unix,watts\n1,2\n2,x\n", "not a reading"),
        ("unix,watts\n1,nan\n", "not a reading"),
    ],
)
def test_a_meters_file_that_cannot_be_used_is_refused(tmp_path, text, words):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        energy.read_meter(tmp_path / "m.csv")


def test_results_of_a_run_by_hand_are_refused_until_it_is_finished(tmp_path):
    import json

    (tmp_path / "job.json").write_text(json.dumps(JOB))
    with pytest.raises(InputError, match="results file not found"):
        read(tmp_path)
    found = units()
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "units": found}))
    assert read(tmp_path).entries == ENTRIES
    del found["end"]
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "units": found}))
    with pytest.raises(InputError, match="has not finished"):
        read(tmp_path)
