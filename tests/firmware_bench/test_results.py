"""results.json: whole round trip, and figures that contradict themselves are refused."""

import json

import pytest
from artefacts import flash, ratio, results
from pydantic import ValidationError

from firmware_bench.results import figure, load, save
from targets.errors import InputError


def test_round_trip_keeps_every_field(tmp_path):
    before = results(flash(40_000, note="x"), ratio(4.0, 5.5, 6.0))
    save(tmp_path / "results.json", before)
    after = load(tmp_path / "results.json")
    assert after == before
    assert isinstance(after.measurements[0].value, int)


def test_select_and_environment():
    found = results(flash(1), flash(2, target="nrf52840"), ratio(1, 2, 3))
    assert [m.value for m in found.select(target="nrf52840")] == [2]
    assert found.environment("host").valid
    assert found.environment("rpi5") is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"metric": "flash", "unit": "B"}, "unknown metric"),
        ({"metric": "flash_bytes", "unit": "kB"}, "is stored in B"),
        ({"metric": "flash_bytes", "unit": "B", "value": None}, "a reason why not"),
        ({"metric": "flash_bytes", "unit": "B", "reason": "no"}, "a reason why not"),
        ({"metric": "flash_bytes", "unit": "B", "evidence": "guessed"}, "evidence"),
    ],
)
def test_contradictions_are_refused(fields, message):
    good = flash(1).model_dump()
    with pytest.raises(ValidationError, match=message):
        type(flash(1))(**(good | fields))


def test_a_figure_without_value_says_why():
    one = figure("host", "student", "model_rss", None, "measured", reason="too small")
    assert one.unit == "B"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "not a results file of this version"),
        ('{"schema_version": 2}', "schema_version 2"),
        ('{"schema_version": 1}', "Field required"),
    ],
)
def test_faulty_files_are_one_sentence(tmp_path, text, message):
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load(path)


def test_a_misspelt_field_is_named(tmp_path):
    data = results(flash(1)).model_dump(mode="json")
    data["measurements"][0]["valu"] = 3
    path = tmp_path / "results.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"measurements\.0\.valu"):
        load(path)
