"""The [teacher] table, as a recipe has it."""

import eeg_files
import pytest
from pydantic import ValidationError

from distill.recipe import load_recipe
from distill.recipe.teacher import TeacherTable
from targets.errors import InputError

BUILT_IN = 'name = "labram"\nn_layers = 1\n'
MODULE = """name = "module"
module = "my_lab.models:make"
arguments = { depth = 4, act = "gelu" }
layers = ["blocks.0", "blocks.3"]
axes = "batch (chans steps) d"
cls_tokens = 1
head = "classifier"
sfreq = 128.0
unit = "uV"
scale = 10.0
patch = 64
"""


def load(tmp_path, table):
    return load_recipe(eeg_files.recipe(tmp_path, {BUILT_IN: table})).teacher


def fault(tmp_path, table):
    with pytest.raises(InputError) as caught:
        load(tmp_path, table)
    return str(caught.value)


def test_defaults_are_cbramods_fine_tuning():
    table = TeacherTable()
    assert (table.name, table.epochs, table.batch, table.lr, table.head_lr) == (
        "labram", 50, 64, 1e-4, 5e-4,
    )  # fmt: skip
    assert (table.weight_decay, table.label_smoothing, table.dropout) == (5e-2, 0.1, 0.1)
    assert table.once is False


@pytest.mark.parametrize("name", ["labram", "cbramod", "biot", "eegpt"])
def test_built_in_teachers_need_their_name_only(tmp_path, name):
    assert load(tmp_path, f'name = "{name}"\nonce = true\n').once is True


def test_a_module_says_what_a_built_in_teacher_knows(tmp_path):
    table = load(tmp_path, MODULE)
    assert table.arguments == {"depth": 4, "act": "gelu"}
    assert table.layers == ("blocks.0", "blocks.3")
    assert (table.axes, table.cls_tokens, table.end_tokens) == ("batch (chans steps) d", 1, 0)
    assert TeacherTable(**table.model_dump()) == table


@pytest.mark.parametrize("checkpoint", ["runs/t.safetensors", "hf:lab/teacher@v1"])
def test_a_checkpoint_is_a_path_or_a_hub_id(tmp_path, checkpoint):
    assert load(tmp_path, f'checkpoint = "{checkpoint}"\n').checkpoint == checkpoint


def test_every_change_of_a_module_is_another_recipe(tmp_path):
    hashes = {load_recipe(eeg_files.recipe(tmp_path, {BUILT_IN: text})).hash for text in (
        MODULE, MODULE.replace("depth = 4", "depth = 5"), MODULE.replace("blocks.3", "blocks.2"),
        MODULE.replace("cls_tokens = 1\n", ""), MODULE.replace("10.0", "100.0"),
    )}  # fmt: skip
    assert len(hashes) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('module = "my_lab.models:make"\n', "", "name = 'module' needs module"),
        ('axes = "batch (chans steps) d"\n', "", "name = 'module' needs axes"),
        ("my_lab.models:make", "my_lab.models.make", "module must be 'package.module:factory'"),
        ("blocks.3", "blocks.0", "layers holds a path more than once"),
        ("batch (chans steps) d", "batch d chans steps", "for tokens, not for maps"),
        ("patch = 64", "patch = 64\nn_layers = 2\ndropout = 0.2",
         "n_layers, dropout of a module belong in arguments"),
    ],
)  # fmt: skip
def test_faults_of_a_module(tmp_path, old, new, message):
    found = fault(tmp_path, MODULE.replace(old, new))
    assert "recipe has a fault" in found
    assert message in found


def test_a_module_that_is_not_trained_needs_a_checkpoint(tmp_path):
    table = load(tmp_path, MODULE).model_dump() | {"epochs": 0}
    with pytest.raises(ValidationError, match="epochs = 0 needs a checkpoint"):
        TeacherTable(**table)
    assert TeacherTable(**table | {"checkpoint": "t.pt"}).epochs == 0


def test_all_faults_of_a_table_come_at_once(tmp_path):
    found = fault(
        tmp_path, 'name = "module"\nmodule = "make"\ndropout = 0.3\nlayers = ["a", "a"]\n'
    )
    for part in ("needs axes, head, sfreq, unit, scale, patch;", "is 'make';", "more than once;",
                 "dropout of a module"):  # fmt: skip
        assert part in found


def test_a_built_in_teacher_takes_nothing_of_a_module(tmp_path):
    found = fault(tmp_path, BUILT_IN + 'layers = ["blocks.0"]\npatch = 100\ncls_tokens = 1\n')
    assert "layers, patch, cls_tokens are for name = 'module'; labram sets them itself" in found


def test_unknown_names_and_axes_are_told_with_what_is_allowed(tmp_path):
    assert "did you mean 'eegpt'?" in fault(tmp_path, 'name = "eegtp"\n')
    found = fault(tmp_path, MODULE.replace("batch (chans steps) d", "batch (chan steps) d"))
    assert "teacher.axes: Input should be 'batch (chans steps) d'" in found
    assert "did you mean 'batch (chans steps) d'?" in found
