"""Errors of the estimates, computed from the published table; what is quoted is said to be."""

import json
from importlib import resources

import pytest
from click.testing import CliRunner

from firmware_bench import validation
from firmware_bench.validation_cli import command
from targets.errors import InputError
from targets.target import all_ids, load

TEXT = (resources.files("firmware_bench") / "data" / "validation.toml").read_text()
BOARD = load("nucleo-l4r5zi")


def test_published_rates_become_times_and_cycles():
    rows = {(p.board, p.engine, p.round, p.model): p for p in validation.load().published}
    tvm = rows["nucleo-l4r5zi", "microTVM + CMSIS-NN", "v1.0", "kws"]
    assert tvm.time_ms == pytest.approx(99.80, abs=0.01)
    assert tvm.cycles == pytest.approx(11.976e6, rel=1e-4)
    assert tvm.source.startswith("https://")
    assert rows["nrf5340-dk", "microTVM + CMSIS-NN", "v1.0", "ic"].clock_hz == 128_000_000
    assert len(rows) == len(validation.load().published) == 11 * 4 - 2 + 3 * 3


def test_the_bar_is_the_fastest_published_engine():
    evidence = validation.load()
    kws, ic = evidence.best("nucleo-l4r5zi", "kws"), evidence.best("nucleo-l4r5zi", "ic")
    assert (kws.engine, kws.time_ms, ic.time_ms) == ("ST X-CUBE-AI", 43.2, 165.0)
    assert (round(kws.cycles / 1e6, 1), round(ic.cycles / 1e6, 1)) == (5.2, 19.8)
    assert evidence.best("nucleo-l4r5zi", "none") is None


def test_errors_are_computed_from_the_pairs():
    errors = {pair.model: pair.error for pair in validation.load().errors("nucleo-l4r5zi")}
    assert errors["kws"] == pytest.approx(90.8 / (1000 / 10.02) - 1)
    assert set(errors) == {"kws", "ad", "ic", "vww"}
    assert all(-0.11 < error < -0.05 for error in errors.values())


def test_the_band_of_a_calibrated_board_holds_every_computed_error():
    band = validation.band(BOARD)
    errors = [pair.error for pair in validation.load().errors(BOARD.id)]
    assert band.low <= min(errors)
    assert band.high >= max(*errors, 0.05)
    assert "-10.5 to -5.4 % on 4 models of TFLM + CMSIS-NN" in band.text
    assert "two engines" in band.text


def test_the_true_time_follows_from_the_error():
    low, high = validation.Band(-0.2, 0.25, "").times(100.0)
    assert (low, high) == (80.0, 125.0)


@pytest.mark.parametrize("target_id", [one for one in all_ids() if load(one).kind == "cortex-m"])
def test_every_board_has_an_error_and_its_origin(target_id):
    band = validation.band(load(target_id))
    assert band.low < 0 < band.high
    assert ("error quoted from a study" in band.text) == (target_id != "nucleo-l4r5zi")


def test_a_change_in_the_table_changes_the_error():
    changed = validation.parse(TEXT.replace("kws = 90.8", "kws = 99.8003992"))
    errors = {pair.model: pair.error for pair in changed.pairs}
    assert errors["kws"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(InputError, match="no error is known"):
        validation.band(load("rpi5"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('against = "microTVM', 'against = "microTWM'),
        ('round = "v0.5"', 'round = "v0.4"'),
        ("[study]", "[studdy]"),
        ('clock = "120 MHz"', "clok = 1"),
        ("rate = {", "rate = ["),
    ],
)
def test_faulty_data_is_refused(old, new):
    assert old in TEXT
    with pytest.raises(InputError, match="validation data cannot be used"):
        validation.parse(TEXT.replace(old, new))


def test_ours_against_the_best_is_a_ratio_of_times():
    found = validation.against_best(BOARD, {"kws": 5_184_000, "unknown": 1})
    assert [(model, count) for model, count, _, _ in found] == [("kws", 5_184_000)]
    assert found[0][3] == pytest.approx(1.0)


def test_the_command_says_what_it_is_and_is_not():
    found = CliRunner().invoke(command, [], env={"DLINK_REFERENCE": ""})
    assert found.exit_code == 0, found.output
    for words in ("-9.0 %", "Not the same binary", "quoted from a study, not computed here"):
        assert words in found.output
    data = json.loads(CliRunner().invoke(command, ["--json"], env={"DLINK_REFERENCE": ""}).output)
    assert len(data["errors"]) == 4
    assert data["ours"] == []


def test_the_command_refuses_a_folder_without_models(tmp_path):
    found = CliRunner().invoke(command, ["--models", str(tmp_path)])
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert "reference model not found" in found.output
