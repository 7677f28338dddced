"""Teachers from the recipe's table, and the table of their sizes in the documentation."""

from pathlib import Path

import pytest
import torch
from teacher_makers import NAMES, contract, make, windows

from distill.checkpoints import save_weights, state_hash
from distill.recipe.teacher import TeacherTable
from distill.signal import SignalSpec
from distill.teachers import architecture, build, check, layout, needs
from distill.teachers.__main__ import table as sizes
from targets.errors import InputError

CONFORMER = TeacherTable(
    name="module", module="braindecode.models:EEGConformer", arguments={"num_layers": 2},
    layers=("transformer.0", "transformer.1"), axes="batch steps d", head="final_layer",
    sfreq=128.0, unit="mV", scale=0.1, patch=64, band=(1.0, 40.0),
)  # fmt: skip
AT_128 = SignalSpec(ch_names=("C3", "Cz", "C4"), sfreq=128, n_times=512, unit="mV", scale=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_teacher_is_that_of_its_name(name):
    table = TeacherTable(name=name, n_layers=1, dropout=0.3)
    assert needs(table) == architecture(name).needs
    torch.manual_seed(0)
    teacher = build(table, contract(name), 2)
    assert state_hash(teacher) == state_hash(make(name))
    assert layout(table, contract(name), 2) == teacher.layout
    rates = {m.p for m in teacher.modules() if isinstance(m, torch.nn.Dropout)}
    assert 0.3 in rates


def test_a_module_is_that_of_its_table():
    found = needs(CONFORMER)
    assert (found.sfreq, found.band, found.unit, found.scale, found.patch) == (
        128.0, (1.0, 40.0), "mV", 0.1, 64,
    )  # fmt: skip
    check(CONFORMER, AT_128)
    teacher = build(CONFORMER, AT_128, 3).eval()
    with torch.no_grad():
        logits, hidden = teacher.hidden(torch.randn(2, 3, 512))
    assert logits.shape == (2, 3)
    assert hidden.shape == (2, 2, 1, 8, 40)
    with pytest.raises(InputError, match=r"sfreq must be 128\.0 for this module, is 200"):
        check(CONFORMER, contract("labram"))


@pytest.mark.parametrize(
    ("table", "signal"), [(CONFORMER, AT_128), (TeacherTable(), contract("labram"))]
)
def test_asking_for_the_layout_draws_no_random_numbers(table, signal):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = layout(table, signal, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert found == build(table, signal, 2).layout


@pytest.mark.parametrize("own", [True, False])
def test_another_checkpoint_takes_the_place_of_the_tables(own, tmp_path):
    for seed, name in ((1, "own"), (2, "other")):
        save_weights(make("biot", seed=seed).model, tmp_path / f"{name}.safetensors")
    table = TeacherTable(name="biot", n_layers=1, checkpoint=str(tmp_path / "own.safetensors"))
    other = None if own else tmp_path / "other.safetensors"
    teacher = build(table, contract("biot"), 2, checkpoint=other)
    assert state_hash(teacher) == state_hash(make("biot", seed=1 if own else 2))


def test_the_documented_sizes_are_what_the_command_prints():
    text = (Path(__file__).parents[2] / "docs" / "teachers.md").read_text()
    assert sizes() in text


def test_windows_of_the_contract_suit_every_teacher():
    for name in NAMES:
        with torch.no_grad():
            assert make(name)(windows(name)).isfinite().all()
