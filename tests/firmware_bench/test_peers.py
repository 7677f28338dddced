"""The peer's recorded figures, and ours beside them."""

from fractions import Fraction
from importlib import resources

import pytest
from artefacts import REFERENCE, results

from firmware_bench import peers
from firmware_bench.cores import CORES
from firmware_bench.peers import Comparison
from firmware_bench.results import figure
from targets.errors import InputError
from targets.files import sha256
from targets.target import load

TEXT = (resources.files("firmware_bench") / "data" / "peers.toml").read_text()
BOARD = "nucleo-l4r5zi"


def student(**values):
    return [figure(BOARD, "student", name, value, "emulated") for name, value in values.items()]


def beside(name, constants, **values):
    """Results of a bare model `name` with our values and the peer's beside them."""
    row = next(one for one in peers.load().models if one.name == name)
    manifest = {"sha256": row.sha256, "constant_bytes": constants}
    own = student(**values)
    more = peers.measurements(manifest, [load(BOARD), load("nucleo-h743zi")], own)
    return results(*own, *more).model_copy(update={"manifest": manifest})


def test_every_model_has_all_cores_but_the_m7_and_goals():
    for model in peers.load().models:
        assert model.figures.keys() == CORES.keys() - {"cortex-m7"}
        path = REFERENCE / f"{model.name}.tflite"
        if path.exists():
            assert sha256(path) == model.sha256
        for core, row in model.figures.items():
            assert row["ram"] < row["flash"]
            assert {"instructions", "ram"} <= model.goals[core].keys()
    assert len(peers.load().models) == 5


def test_goals_of_the_student_are_stricter_and_differ_by_core():
    by_name = {model.name: model for model in peers.load().models}
    student_goals = by_name["eeg_student.int8"].goals
    assert student_goals["cortex-m4"]["instructions"] == Fraction(1, 4)
    assert student_goals["cortex-m55"]["instructions"] == Fraction(1, 3)
    assert "code" not in student_goals["cortex-m4"]
    assert by_name["kws"].goals["cortex-m4"] == {
        "instructions": Fraction(7, 10), "ram": Fraction(6, 10), "code": Fraction(1, 3),
    }  # fmt: skip


def test_figures_ratios_and_verdicts():
    found = beside(
        "kws", 27_300, instructions=5_389_815, firmware_bytes=47_300, ram_bytes=23_388,
        stack_bytes=422,
    )  # fmt: skip
    compared = {one.figure: one for one in peers.compare(found)}
    assert {one.target for one in compared.values()} == {BOARD}
    assert (compared["code"].ours, compared["code"].peer) == (20_000, 80_000)
    assert compared["code"].met
    assert compared["instructions"].ratio == pytest.approx(0.70001, abs=1e-5)
    assert compared["instructions"].met is False
    assert compared["ram"].met is False
    assert (compared["stack"].ratio, compared["stack"].met) == (0.5, None)
    ratio = found.select(target=BOARD, model="student", metric="code_vs_peer")[0]
    assert (ratio.value, ratio.evidence) == (0.25, "emulated")
    published = found.select(target=BOARD, model="peer", metric="firmware_bytes")[0]
    assert (published.value, published.evidence) == (107_300, "published")
    assert "CMSIS-NN" in published.note


def test_a_goal_is_compared_exactly():
    third = Fraction(1, 3)
    assert Comparison("t", "ram", 1_000_000, 3_000_000, third).met
    assert Comparison("t", "ram", 1_000_001, 3_000_000, third).met is False


def test_unknown_models_and_artefacts_have_no_peer():
    own = student(firmware_bytes=1, instructions=1, ram_bytes=1, stack_bytes=1)
    assert peers.measurements({"sha256": "0"}, [load(BOARD)], own) == []
    assert peers.measurements({}, [load(BOARD)], own) == []
    assert peers.compare(results(*own)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [("[[model]]", "[[modle]]"), ("stack = 956", "stock = 956"), ('ram = "1/3"', 'rom = "1/3"'),
     ('"1/3"', '"a third"'), ('name = "T', 'name = T')],
)  # fmt: skip
def test_faulty_data_is_refused(old, new):
    assert old in TEXT
    with pytest.raises(InputError, match="peer's figures cannot be used"):
        peers.parse(TEXT.replace(old, new))
