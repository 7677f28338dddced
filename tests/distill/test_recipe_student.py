import pytest
from pydantic import ValidationError

from distill.mic import MiCConfig
from distill.mic_sizes import NAMES, SIZES
from distill.recipe.student import StudentTable


def test_without_a_word_it_is_todays_mic():
    table = StudentTable()
    assert table.name == "mic"
    assert table.sizes() == MiCConfig()
    assert table.label == "MiC"
    assert (table.epoch_windows, table.target, table.ch_names) == (None, None, ())


@pytest.mark.parametrize("size", NAMES)
def test_a_size_fills_the_table_and_stays_replaceable(size):
    table = StudentTable(size=size)
    assert table.sizes() == SIZES[size]
    assert table.model_dump()["width"] == SIZES[size].width  # what a run records was built
    assert table.model_dump(exclude_unset=True) == {"size": size}
    assert table.label == size


def test_own_keys_override_the_sizes():
    table = StudentTable(size="mic-s", width=80, dropout=0.25)
    assert table.sizes() == SIZES["mic-s"].model_copy(update={"width": 80})
    assert table.label == "mic-s (dropout 0.25, width 80)"


def test_what_was_recorded_builds_the_same():
    table = StudentTable(size="mic-m", blocks=2)
    assert StudentTable(**table.model_dump()).sizes() == table.sizes()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"name": "eegnet", "width": 16},
            "only MiC has width; keywords of EEGNet go into arguments",
        ),
        (
            {"name": "atcnet", "size": "mic-s", "target": "rp2040"},
            "only MiC has size, target;",
        ),
        ({"name": "eegnet", "arguments": {"n_times": 3}}, "leave out n_times"),
        ({"arguments": {"F1": 4}}, "arguments are a baseline's (eegnet, shallow,"),
        ({"name": "resnet"}, "'mic', 'eegnet', 'shallow', 'eegconformer' or 'atcnet'"),
        ({"size": "mic-xl"}, "'mic-xs', 'mic-s' or 'mic-m'"),
        ({"target": "nucleo-l4r5z"}, 'no such board. Did you mean "nucleo-l4r5zi"'),
        ({"ch_names": ("C3", "C4", "C3")}, "C3 more than once"),
        ({"target": "zzzzzzzz"}, "Known: corstone300, host, nrf52840"),
        ({"epoch_windows": 0}, "greater than or equal to 2"),
        ({"depth": 3}, "Extra inputs"),
    ],
)
def test_what_does_not_go_together_is_refused(keys, message):
    with pytest.raises(ValidationError) as caught:
        StudentTable(**keys)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("base", "other", "expected"),
    [
        ({"width": 24, "lr": 0.1}, {"epochs": 3}, {"width": 24, "lr": 0.1, "epochs": 3}),
        ({"size": "mic-s", "width": 24}, {"width": 32}, {"size": "mic-s", "width": 32}),
        ({"size": "mic-s", "width": 24}, {"size": "mic-m"}, {"size": "mic-m"}),
        ({"size": "mic-s", "target": "rp2040", "ch_names": ("C3",)}, {"name": "eegnet"},
         {"name": "eegnet", "ch_names": ("C3",)}),
        ({"name": "eegnet", "arguments": {"F1": 4}}, {"name": "mic", "blocks": 1},
         {"name": "mic", "blocks": 1}),
        ({"name": "eegnet", "arguments": {"F1": 4}}, {"name": "eegnet", "batch": 8},
         {"name": "eegnet", "arguments": {"F1": 4}, "batch": 8}),
    ],
)  # fmt: skip
def test_keys_of_another_table_replace(base, other, expected):
    merged = StudentTable(**base).replaced(StudentTable(**other))
    assert merged == StudentTable(**expected)


def test_a_baseline_is_called_by_its_papers_name():
    assert StudentTable(name="shallow").label == "ShallowFBCSPNet"
