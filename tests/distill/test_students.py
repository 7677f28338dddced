from pathlib import Path

import pytest
import torch

from distill.braindecode_import import braindecode_models
from distill.checkpoints import load_strict, read_state, save_weights
from distill.footprint import estimate
from distill.methods.registry import METHODS
from distill.mic import MiC, MiCConfig
from distill.mic_sizes import NAMES, SIZES
from distill.recipe.student import BASELINES, StudentTable
from distill.signal import SignalSpec
from distill.students import (
    Baseline,
    build_student,
    size_rows,
    size_table,
    smallest_board,
    student_columns,
    student_signal,
)
from targets.errors import InputError

NAMES_1020 = ("Fp1", "Fp2", "C3", "Cz", "C4", "O1")


def signal(n_times=400, **changes):
    return SignalSpec(ch_names=NAMES_1020, sfreq=200.0, n_times=n_times, **changes)


def build(spec=None, n_outputs=3, seed=0, **keys):
    torch.manual_seed(seed)
    return build_student(StudentTable(**keys), spec or signal(), n_outputs, patch=200, d=40)


def test_the_default_is_todays_mic_to_the_last_bit():
    torch.manual_seed(0)
    today = MiC(6, 400, 3, patch=200, d=40, config=MiCConfig()).state_dict()
    state = torch.get_rng_state()
    for keys in ({}, {"target": "rp2040"}):
        built = build(**keys)
        assert torch.equal(torch.get_rng_state(), state), keys
        assert built.state_dict().keys() == today.keys()
        assert all(torch.equal(built.state_dict()[key], today[key]) for key in today)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_train_on_labels_and_on_the_teachers_logits(name):
    student = build(name=name)
    x, y = torch.randn(4, 6, 400), torch.tensor([0, 1, 2, 0])
    assert student(x).shape == (4, 3)
    assert student.n_outputs == 3
    assert student.training
    torch.nn.functional.cross_entropy(student(x), y).backward()
    assert all(p.grad is not None for p in student.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baselines_logits_are_unbounded(name):
    """Cross-entropy and kd take a softmax themselves: one in the model would be taken twice."""
    student = build(name=name).eval()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.mul_(3)
        logits = student(10 * torch.randn(8, 6, 400))
    assert (logits > 0).any()
    assert (logits.exp().sum(1) - 1).abs().max() > 0.1


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_saved_copied_and_reproducible(name, tmp_path):
    student, twin, other = build(name=name), build(name=name), build(name=name, seed=1)
    x = torch.randn(2, 6, 400)
    with torch.no_grad():
        expected = student.deploy()(x)
        torch.testing.assert_close(twin.eval()(x), expected, atol=0, rtol=0)
        assert student.training
        save_weights(student, tmp_path / "w.safetensors")
        load_strict(other, read_state(tmp_path / "w.safetensors"), where="w")
        torch.testing.assert_close(other.eval()(x), expected)


@pytest.mark.parametrize("ask", [
    lambda s: s.with_tokens(torch.zeros(1, 6, 400)), lambda s: s.mimic_chans, lambda s: s.width,
])  # fmt: skip
def test_a_baseline_has_no_tokens_and_says_what_goes(ask):
    with pytest.raises(InputError) as caught:
        ask(build(name="shallow"))
    assert "ShallowFBCSPNet has no tokens" in str(caught.value)
    usable = sorted(name for name, method in METHODS.items() if not method.needs_hidden)
    assert {"none", "kd"} <= set(usable)
    assert str(caught.value).endswith(f"without hidden states: {', '.join(usable)}.")


def test_arguments_reach_the_baselines_class():
    small, wide = (build(name="eegnet", arguments={"F1": f, "D": 1}) for f in (2, 16))
    assert isinstance(small, Baseline)
    assert small.model.F1 == 2
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in wide.parameters())


@pytest.mark.parametrize(
    ("keys", "n_times", "message"),
    [
        ({"name": "eegnet", "arguments": {"F": 2}}, 400, r"no such keyword \(found F, allowed D"),
        ({"name": "eegnet", "arguments": {"drop_prop": 0.1}}, 400, 'Did you mean "drop_prob"'),
        ({"name": "shallow"}, 40, "ShallowFBCSPNet cannot be built for these windows"),
        ({"name": "atcnet", "arguments": {"head_dim": "x"}}, 400, "ATCNet cannot be built"),
        ({"kernel": 33}, 400, "padding would be one-sided"),
        ({"ch_names": ["C3", "Fpz"]}, 400, r"\(found Fpz, allowed Fp1, Fp2.*Did you mean"),
        ({"spatial": 256, "expand": 4, "target": "rp2040"}, 2000, r"needs more RAM.*\"mic-m\""),
    ],
)
def test_what_cannot_be_built_is_refused(keys, n_times, message):
    with pytest.raises(InputError, match=message):
        build(signal(n_times), **keys)


def test_a_baseline_is_as_braindecode_builds_it():
    """The trial run that finds what cannot be built leaves weights and statistics alone."""
    student = build(name="eegnet")
    torch.manual_seed(0)
    kind = braindecode_models().EEGNet
    own = kind(n_chans=6, n_outputs=3, n_times=400, sfreq=200.0).state_dict()
    assert student.model.state_dict().keys() == own.keys()
    assert all(torch.equal(value, own[key]) for key, value in student.model.state_dict().items())


def test_the_student_sees_its_own_electrodes_in_its_own_order():
    table = StudentTable(ch_names=("C4", "C3"))
    assert student_columns(table, signal()) == [4, 2]
    assert student_signal(table, signal()).ch_names == ("C4", "C3")
    assert build(ch_names=("C4", "C3")).n_chans == 2
    assert student_columns(StudentTable(), signal()) == [0, 1, 2, 3, 4, 5]
    assert student_signal(StudentTable(), signal()) == signal()


def test_seen_electrodes_of_the_signal_seen_are_all():
    table = StudentTable(ch_names=("C4", "C3"))
    seen = student_signal(table, signal())
    assert student_signal(table, seen) == seen
    assert student_columns(table, seen) == [0, 1]


def test_a_reference_needs_its_electrodes():
    table = StudentTable(ch_names=("C3", "C4"))
    for reference in ("average", "Cz"):
        with pytest.raises(InputError, match=rf"the reference needs.*found reference {reference}"):
            student_signal(table, signal(reference=reference))
        assert student_signal(StudentTable(), signal(reference=reference)).reference == reference
    assert student_signal(table, signal(reference="c4")).reference == "c4"
    everyone = StudentTable(ch_names=NAMES_1020[::-1])
    assert student_signal(everyone, signal(reference="average")).ch_names == NAMES_1020[::-1]


def test_old_and_new_names_of_a_reference_are_one():
    spec = SignalSpec(ch_names=("T7", "C3", "C4"), sfreq=200.0, n_times=400, reference="T3")
    assert student_signal(StudentTable(ch_names=("T7", "C3")), spec).n_chans == 2


def test_rows_cover_every_size_on_every_window():
    rows = size_rows(((19, 800), (4, 400)), n_outputs=4)
    assert [(row.size, row.n_chans, row.n_times) for row in rows] == [
        (size, *window) for window in ((19, 800), (4, 400)) for size in NAMES
    ]
    assert rows[1].cost == estimate(SIZES["mic-s"], 19, 800, 4)
    table = size_table(rows).splitlines()
    assert len(table) == 2 + len(rows)
    assert table[2].startswith("| mic-xs | 19 x 800 | ")
    assert len({line.count("|") for line in table}) == 1


def test_the_smallest_board_has_the_least_ram_that_suffices():
    assert smallest_board(estimate(SIZES["mic-xs"], 19, 800, 2)) == "nrf52840"
    larger = estimate(MiCConfig(spatial=128, expand=2), 19, 2000, 2)
    assert smallest_board(larger) == "corstone300"
    assert smallest_board(estimate(SIZES["mic-xs"], 256, 8000, 2)) is None


def test_the_table_in_the_documentation_is_what_the_command_prints():
    text = (Path(__file__).parents[2] / "docs" / "students.md").read_text(encoding="utf-8")
    assert size_table(size_rows()) in text
