"""The command that says how far off the estimates are, and the figures that the docs quote."""

import json

import pytest
from click.testing import CliRunner

from firmware_bench.estimate import recorded, validation
from firmware_bench.estimate.fit import CHOSEN


@pytest.fixture(scope="module")
def data():
    return validation.collect()


def test_errors_stay_where_the_docs_say(data):
    every = data["all"]
    assert every["median"] <= 0.052
    assert every["p90"] <= 0.145
    assert every["worst"] <= validation.GOAL[1]
    assert data["nested"]["median"] <= 0.052
    assert data["nested"]["worst"] <= validation.GOAL[1]
    assert data["plain"]["p90"] <= 0.17


def test_every_board_has_rows_and_an_error(data):
    assert set(data["boards"]) == set(recorded.MACHINES)
    assert sum(b["rows"] for b in data["boards"].values()) == data["all"]["rows"]
    assert max(b["worst"] for b in data["boards"].values()) == data["all"]["worst"]


def test_the_terms_in_use_beat_what_others_use_on_the_same_rows(data):
    tried = data["candidates"]
    assert tried[" + ".join(CHOSEN)] == data["all"]
    assert len({one["rows"] for one in tried.values()}) == 1
    for simple in ("instructions", "cycles", "cycles + lines"):
        assert data["all"]["p90"] < tried[simple]["p90"]
    assert data["without_llvm_mca"]["p90"] > data["all"]["p90"]


def test_the_nested_choice_rates_every_row_once(data):
    assert data["nested"]["rows"] == data["all"]["rows"]
    families = {row.family for row in validation.counted(recorded.load().rows)}
    assert sum(data["taken"].values()) == len(families)


def test_constants_are_physical(data):
    for constants in data["constants"].values():
        assert 0.3 < constants["cycles"] < 2.5
        assert all(value >= 0 for value in constants.values())
        assert constants["lines"] < 200  # ns, below a full random access to LPDDR
    assert all(1 < ratio < 3 for ratio in data["attention"].values())


def test_the_command_prints_the_same_figures_twice_over(data, tmp_path):
    picture = tmp_path / "errors.png"
    first = CliRunner().invoke(validation.command, ["--json", "--plot", str(picture)])
    assert first.exit_code == 0, first.output
    assert json.loads(first.output) == json.loads(json.dumps(data))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 100_000


def test_the_table_is_for_people_too(data):
    shown = CliRunner().invoke(validation.command, []).output
    assert f"{100 * data['all']['median']:.1f} %" in shown
    assert "rpi-zero2w" in shown
    assert "Goal: median 5 %, worst 20 %" in shown
