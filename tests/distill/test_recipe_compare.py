import tomllib

import pytest
from pydantic import ValidationError

from distill.recipe.compare import CompareTable
from distill.recipe.student import StudentTable

TEXT = """
reference = "matched"
labelled = [150, 50]

[[arms]]
name = "matched"
method = { name = "none" }

[[arms]]
name = "dlink"
method = { name = "dlink", router = "routed" }
student = { epochs = 7 }
unlabelled = true
"""


def table(**changes: str) -> CompareTable:
    text = TEXT
    for old, new in changes.values():
        assert text.count(old) == 1
        text = text.replace(old, new)
    return CompareTable(**tomllib.loads(text))


def refused(old: str, new: str) -> str:
    with pytest.raises(ValidationError) as caught:
        table(change=(old, new))
    return str(caught.value)


def test_what_it_holds():
    compare = table()
    assert [arm.name for arm in compare.arms] == ["matched", "dlink"]
    assert compare.labelled == (50, 150)  # in rising order, however they were given
    assert compare.arm("dlink").unlabelled
    assert not compare.arm("matched").unlabelled
    assert compare.arm("dlink").method.router == "routed"
    with pytest.raises(KeyError):
        compare.arm("kd")


def test_an_arm_replaces_only_the_keys_that_it_names():
    base = StudentTable(epochs=30, batch=16)
    dlink, matched = (base.replaced(table().arm(name).student) for name in ("dlink", "matched"))
    assert (dlink.epochs, dlink.batch) == (7, 16)
    assert matched == base


def test_a_default_that_an_arm_repeats_still_replaces_and_shows_in_the_hash():
    default = StudentTable().epochs
    repeated = table(change=("{ epochs = 7 }", f"{{ epochs = {default} }}"))
    empty = table(change=("student = { epochs = 7 }\n", ""))
    base = StudentTable(epochs=default + 1)
    assert base.replaced(repeated.arm("dlink").student).epochs == default
    assert base.replaced(empty.arm("dlink").student).epochs == default + 1
    assert repeated.model_dump_json() != empty.model_dump_json()
    assert CompareTable(**repeated.model_dump()) == repeated


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "dlink"\n', 'name = "matched"\n', "arms need names of their own; twice: matched"),
        ('reference = "matched"', 'reference = "kd"', "reference 'kd' is none of the arms"),
        ('name = "dlink"\n', 'name = "teacher"\n', "'teacher' is taken: every table has such a"),
        ('name = "dlink"\n', 'name = "../dlink"\n', "arms.1.name"),
        ("[150, 50]", "[50, 50]", "labelled must be different numbers from 1 on, are [50, 50]"),
        ("[150, 50]", "[0]", "labelled must be different numbers from 1 on, are [0]"),
        ("epochs = 7", "epoch = 7", "arms.1.student.epoch"),
        ("epochs = 7", "epochs = 0", "arms.1.student.epochs"),
        ('name = "dlink", router = "routed"', 'name = "none"', "'none' learns from labels only"),
        ('{ name = "none" }', '{ name = "nothing" }', "arms.0.method"),
    ],
)  # fmt: skip
def test_what_it_refuses(old, new, message):
    assert message in refused(old, new)


def test_one_arm_is_no_comparison():
    with pytest.raises(ValidationError, match="at least 2 items"):
        CompareTable(**tomllib.loads(TEXT[: TEXT.rindex("[[arms]]")]))
