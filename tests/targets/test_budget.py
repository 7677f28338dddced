"""Budget files: exact limits, line numbers, all faults at once."""

from pathlib import Path

import pytest

from targets.budget import load
from targets.errors import InputError

GOOD = """\
schema_version = 1

# a comment
[[budget]]
target = "nucleo-l4r5zi"
model = "student"
metric = "flash_bytes"
limit = "128 KiB"
tolerance = "5 %"

[[budget]]
target = "any"
model = "distilled"
metric = "balanced_accuracy"
limit = "50 %"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "budgets.toml"
    path.write_text(text)
    return path


def test_lines_know_their_place_limit_and_direction(tmp_path):
    first, second = load(write(tmp_path, GOOD))
    assert (first.line, second.line) == (4, 11)
    assert first.place.endswith("budgets.toml:4")
    assert (first.limit, first.unit, first.limit_text) == (131_072, "B", "128 KiB")
    assert first.bound == 137_625.6
    assert (second.limit, second.rule.better, second.bound) == (0.5, "higher", 0.5)


def test_tolerance_lowers_a_floor(tmp_path):
    text = GOOD.replace('limit = "50 %"', 'limit = "50 %"\ntolerance = "10 %"')
    assert load(write(tmp_path, text))[1].bound == 0.45


def test_all_faults_come_at_once_each_with_its_line(tmp_path):
    text = (
        GOOD.replace('metric = "flash_bytes"', 'metric = "flash_byte"')
        .replace('target = "any"', 'target = "nucleo"')
        .replace('limit = "50 %"', 'limit = "50 KB"\ncolour = 1')
    )
    with pytest.raises(InputError) as err:
        load(write(tmp_path, text))
    message = str(err.value)
    assert "4 faults in the budgets" in message
    assert 'line 7: unknown metric "flash_byte"' in message
    assert 'Did you mean "flash_bytes"?' in message
    assert 'line 12: unknown target "nucleo"' in message
    assert "nucleo-h743zi" in message
    assert 'line 15: the unit "KB" is ambiguous' in message
    assert 'line 16: unknown key "colour"' in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no budget in this file"),
        ("[[budget]\n", "not valid TOML"),
        ("budget = 3\n", '"budget" is not a list'),
        ("schema_version = 2\n" + GOOD.split("\n", 1)[1], "schema_version 2 is not known"),
        (GOOD.replace('limit = "128 KiB"\n', ""), 'line 4: "limit" is missing'),
        (GOOD.replace('limit = "128 KiB"', 'limit = "12 ms"'), "line 8: a size is needed here"),
        (GOOD.replace('"5 %"', '"500 %"'), "line 9: tolerance 500 % is not between 0 and 100 %"),
        (GOOD.replace('"nucleo-l4r5zi"', '"any"'), "line 5: .*differs from target to target"),
        (GOOD.replace('"student"', '"pupil"'), 'line 6: unknown model "pupil"'),
        ("budgets = 1\n" + GOOD, 'unknown key "budgets" at the top'),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load(write(tmp_path, text))


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="budget file not found"):
        load(tmp_path / "none.toml")


def test_the_example_is_valid():
    path = Path(__file__).parents[2] / "examples" / "budgets.toml"
    budgets = load(path)
    lines = path.read_text().splitlines()
    assert len(budgets) == 9
    for budget in budgets:
        assert lines[budget.line - 1] == "[[budget]]"
        assert lines[budget.line - 2].startswith("#")  # every line says what it is for
