import re
from pathlib import Path
from typing import get_args

import eeg_files
import pytest

from distill.methods.base import Method
from distill.methods.registry import METHODS, MethodTable
from distill.recipe import load_recipe

DOCS = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
CONFIGS = {
    tagged.__metadata__[0].tag: tagged.__origin__ for tagged in get_args(get_args(MethodTable)[0])
}
OURS = ("kd", "fitnet", "subdistill", "topology")


def test_every_method_has_a_table_and_every_table_a_method():
    assert set(CONFIGS) == set(METHODS)
    assert all(issubclass(method, Method) for method in METHODS.values())
    assert all(config().name == name for name, config in CONFIGS.items())


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_recipe_chooses_it_by_name(tmp_path, name):
    text = eeg_files.SIMULATED + f'\n[method]\nname = "{name}"\n'
    assert load_recipe(eeg_files.recipe(tmp_path, text=text)).method == CONFIGS[name]()


def documented(name):
    """Defaults by key, as text: of the table for all methods, then of the method's own."""
    sections = re.split(r"^##+ ", DOCS, flags=re.MULTILINE)
    found = {}
    for section in sections:
        if section.partition("\n")[0].lower() not in ("the other methods", name):
            continue
        for keys, values in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE):
            names = re.findall(r"`(\w+)`", keys)
            found |= zip(names, [values] if len(names) == 1 else values.split(", "), strict=True)
    special = f"{name}: "
    return {
        key: text.split(special)[1].strip(")") if special in text else text.split(" (")[0]
        for key, text in found.items()
    }


@pytest.mark.parametrize("name", OURS)
def test_every_key_is_described_and_documented_with_its_default(name):
    defaults = documented(name)
    fields = {key: field for key, field in CONFIGS[name].model_fields.items() if key != "name"}
    assert set(defaults) == set(fields)
    for key, field in fields.items():
        assert field.description
        if isinstance(field.default, str):
            assert defaults[key] == f'`"{field.default}"`'
        elif field.default is None:
            assert defaults[key] in ("all", "the last half")
        else:
            assert float(defaults[key]) == field.default


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('layer = "first"', 'method.layer: a layer is its number from 0 on, or "middle" or "last"'),
        ("chans = 1", "method.chans: Input should be 'all' or 'mean'"),
        ("hint = -1.0", "method.hint: Input should be greater than or equal to 0"),
        ("hnt = 1.0", "key 'method.hnt' is unknown; did you mean 'hint'?"),
    ],
)
def test_a_fault_is_told_with_its_key(tmp_path, line, message):
    text = eeg_files.SIMULATED + f'\n[method]\nname = "fitnet"\n{line}\n'
    with pytest.raises(Exception, match="recipe has a fault") as caught:
        load_recipe(eeg_files.recipe(tmp_path, text=text))
    assert message in str(caught.value)
