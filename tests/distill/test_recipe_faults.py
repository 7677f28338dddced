import pytest
from eeg_files import recipe

from distill.recipe import load_recipe
from targets.errors import InputError

COMPARE = """
[compare]
reference = "matched"

[[compare.arms]]
name = "matched"
method = { name = "none" }

[[compare.arms]]
name = "soft"
[compare.arms.method]
name = "kd"
"""


def faults(path):
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    return str(caught.value).splitlines()


def line_of(path, text):
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_five_mistakes_are_five_sentences_with_line_allowed_values_and_suggestion(tmp_path):
    path = recipe(
        tmp_path,
        {
            "seeds = [0]": "sedes = [0]",
            'kind = "cross_subject"': 'kind = "cross_subjet"',
            'name = "labram"': 'name = "labramm"',
            "[student]": '[method]\nrouter = "routd"\n[student]\nwidht = 3',
        },
    )
    head, *found = faults(path)
    assert "recipe has 5 faults" in head
    assert [line.split(":")[0].strip() for line in found] == [
        f"line {line_of(path, text)}" for text in ("sedes", "subjet", "labramm", "routd", "widht")
    ]
    for line, (wrong, right) in zip(found, [
        ("'sedes'", "'seeds'"), ("'cross_subjet'", "'cross_subject'"), ("'labramm'", "'labram'"),
        ("'routd'", "'routed'"), ("widht'", "'width'"),
    ], strict=True):  # fmt: skip
        assert wrong in line
        assert f"did you mean {right}?" in line
    assert "'within_session'" in found[1]  # what else is allowed
    assert "'static'" in found[3]


def test_a_fault_inside_a_chosen_kind_of_table_names_the_keys_of_the_file(tmp_path):
    path = recipe(tmp_path, {"n_trials": "n_trial"})
    (_, *found) = faults(path)
    line = line_of(path, "n_trial")
    assert found == [
        f"  line {line}: key 'data.simulate.n_trial' is unknown; did you mean 'n_trials'?."
    ]


def test_an_unknown_kind_lists_the_kinds(tmp_path):
    (_, found) = faults(recipe(tmp_path, {'source = "simulate"': 'source = "simulatd"'}))
    assert "'files'" in found
    assert "did you mean 'simulate'?" in found


def test_an_entry_of_an_array_of_tables_has_its_own_line(tmp_path):
    path = recipe(tmp_path)
    path.write_text(path.read_text() + COMPARE + "temprature = 3\n")
    (_, found) = faults(path)
    assert found.startswith(f"  line {line_of(path, 'temprature')}: ")
    assert "'compare.arms.1.method.temprature' is unknown; did you mean 'temperature'?" in found


def test_a_comparison_is_read(tmp_path):
    path = recipe(tmp_path)
    path.write_text(path.read_text() + COMPARE + "temperature = 3.0\n")
    compare = load_recipe(path).compare
    assert [(arm.name, arm.method.name) for arm in compare.arms] == [
        ("matched", "none"), ("soft", "kd"),
    ]  # fmt: skip
    assert compare.arms[1].method.temperature == 3.0
