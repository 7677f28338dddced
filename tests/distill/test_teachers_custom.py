"""A user's own module as a teacher."""

import pickle
from dataclasses import replace

import eeg_files
import pytest
import torch
from teacher_makers import contract, make, windows

from distill.checkpoints import save_weights, state_hash
from distill.run import run
from distill.teachers import SignalNeeds, Teacher
from distill.teachers.custom import ModuleSpec, build_module
from distill.teachers.tokens import TokenForm
from targets.errors import InputError

NEEDS = SignalNeeds(200.0, (0.1, 75.0), "uV", 100.0, 200)
SIGNAL = contract("cbramod")  # 3 electrodes, 4 patches of 200

USER_MODULE = '''
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Sizes:
    d: int


class Blocks(nn.Module):
    """Patches as tokens behind a class token, two blocks, a head."""

    def __init__(self, n_chans, n_times, n_outputs, ch_names, d=8, blocks=2):
        super().__init__()
        assert len(ch_names) == n_chans
        self.sizes, self.n_chans = Sizes(d), n_chans
        self.stem = nn.Linear(100, d)
        self.cls = nn.Parameter(torch.zeros(1, 1, d))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(d, 2, 2 * d, batch_first=True) for _ in range(blocks)
        )
        self.spare = nn.Linear(d, d)
        self.pair = nn.Identity()
        self.head = nn.Linear(d, n_outputs)
        self.wide = nn.Linear(d, 2 * d)

    def forward(self, x):
        tokens = self.stem(x.reshape(len(x), -1, 100))
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        self.wide(tokens)
        self.pair({"tokens": tokens})
        return self.head(tokens[:, 0])


def fails(n_chans, message="no weights"):
    raise RuntimeError(message)


def wrong_output(n_chans):
    model = Blocks(n_chans, 0, 5, [None] * n_chans)
    model.head = nn.Identity()
    return model


def needs_more(n_chans, n_times):
    return nn.Sequential(nn.Flatten(), nn.Linear(7, 2))


def in_place(n_chans, n_times, n_outputs):
    return nn.Sequential(
        nn.Conv1d(n_chans, 4, 100, 100), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(4 * (n_times // 100), n_outputs),
    )


def no_module():
    return {"weights": 1}
'''


@pytest.fixture
def user_file(tmp_path):
    path = tmp_path / "my_models.py"
    path.write_text(USER_MODULE)
    return path


def spec(factory, **more):
    given = {
        "layers": ("blocks.0", "blocks.1"),
        "form": TokenForm("batch (chans steps) d", cls_tokens=1),
        "head": "head",
        "needs": NEEDS,
    }
    return ModuleSpec(str(factory), **{**given, **more})


def build(factory, n_outputs=2, **more):
    checkpoint = more.pop("checkpoint", None)
    torch.manual_seed(0)
    return build_module(spec(factory, **more), SIGNAL, n_outputs, checkpoint=checkpoint).eval()


def refused(factory, **more):
    with pytest.raises(InputError) as caught:
        build(factory, **more)
    return str(caught.value)


def test_a_module_from_a_file_gives_tokens_on_the_patch_grid(user_file):
    teacher = build(f"{user_file}:Blocks", arguments={"d": 12})
    assert isinstance(teacher, Teacher)
    x = windows("cbramod", 5)
    with torch.no_grad():
        logits, hidden = teacher.hidden(x)
        raw = x.reshape(5, 24, 100)
        tokens = torch.cat([teacher.model.cls.expand(5, -1, -1), teacher.model.stem(raw)], 1)
        first = teacher.model.blocks[0](tokens)[:, 1:].reshape(5, 3, 4, 2, 12).mean(3)
    assert logits.shape == (5, 2)
    assert hidden.shape == (5, 2, 3, 4, 12)
    assert torch.allclose(hidden[:, 0], first, atol=1e-5)
    lay = teacher.layout
    assert (lay.n_chans, lay.n_patches, lay.d, lay.sub_steps, lay.electrodes) == (3, 4, 12, 1, True)


def test_a_module_from_a_package(user_file, monkeypatch):
    monkeypatch.syspath_prepend(user_file.parent)
    by_package, by_file = build("my_models:Blocks"), build(f"{user_file}:Blocks")
    assert state_hash(by_package) == state_hash(by_file)


def test_it_pickles_and_its_groups_have_their_own_learning_rates(user_file):
    teacher = build(f"{user_file}:Blocks")
    with torch.no_grad():
        teacher.model.stem.weight.add_(1.0)
    twin = pickle.loads(pickle.dumps(teacher))
    assert state_hash(twin) == state_hash(teacher)
    body, head = teacher.parameter_groups(1e-4, 5e-4)
    assert [p.shape for p in head["params"]] == [(2, 8), (2,)]
    assert len(body["params"]) == len(list(teacher.parameters())) - 2


def test_its_checkpoint_is_loaded_strictly_and_the_head_may_be_new(user_file, tmp_path):
    factory = f"{user_file}:Blocks"
    donor = build(factory, n_outputs=5)
    save_weights(donor.model, tmp_path / "t.safetensors")
    teacher = build(factory, checkpoint=tmp_path / "t.safetensors")
    assert teacher.fresh == ("head.weight", "head.bias")
    assert torch.equal(teacher.model.stem.weight, donor.model.stem.weight)
    with pytest.raises(InputError, match=r"missing: blocks\.2\."):
        build(factory, arguments={"blocks": 3}, checkpoint=tmp_path / "t.safetensors")


# braindecode's models as modules ----------------------------------------------------------------


def test_a_built_in_teacher_by_its_dotted_path_is_the_same_teacher():
    built_in = make("cbramod", n_layers=2)
    teacher = build(
        "braindecode.models:CBraMod",
        arguments={"n_layer": 2},
        layers=("encoder.layers.0", "encoder.layers.1"),
        form=TokenForm("batch chans steps d"),
        head="final_layer",
    )
    assert state_hash(teacher) == state_hash(built_in)
    with torch.no_grad():
        for ours, theirs in zip(
            teacher.hidden(windows("cbramod")), built_in.hidden(windows("cbramod")), strict=True
        ):
            assert torch.equal(ours, theirs)


def test_eegconformer_without_an_electrode_axis():
    teacher = build(
        "braindecode.models:EEGConformer",
        layers=("transformer.0", "transformer.5"),
        form=TokenForm("batch steps d"),
        head="final_layer",
    )
    with torch.no_grad():
        logits, hidden = teacher.hidden(windows("cbramod"))
    assert logits.shape == (2, 2)
    assert hidden.shape == (2, 2, 1, 4, 40)
    assert teacher.layout.electrodes is False
    assert pickle.loads(pickle.dumps(teacher)).layout == teacher.layout


def test_convolution_maps_of_shallow_fbcsp_are_pooled_to_patches():
    teacher = build(
        "braindecode.models:ShallowFBCSPNet",
        layers=("bnorm",),
        form=TokenForm("batch d steps chans"),
        head="final_layer",
    )
    with torch.no_grad():
        hidden = teacher.hidden(windows("cbramod"))[1]
    assert hidden.shape == (2, 1, 1, 4, 40)


def test_a_recipe_distils_from_a_module(user_file, tmp_path):
    table = f"""name = "module"
module = "{user_file}:Blocks"
layers = ["blocks.0", "blocks.1"]
axes = "batch (chans steps) d"
cls_tokens = 1
head = "head"
sfreq = 200.0
unit = "uV"
scale = 10.0
patch = 200
"""
    recipe = eeg_files.recipe(tmp_path, {'name = "labram"\nn_layers = 1\n': table})
    results = run(recipe, tmp_path / "run")
    assert results["models"]["teacher"]["params_head"] == 8 * 2 + 2
    assert results["router"]["layers"] == ["blocks.0", "blocks.1"]
    assert set(results["arms"]) == {"teacher", "distilled", "matched"}


# What is wrong with a module --------------------------------------------------------------------


def test_every_fault_of_the_table_is_told_at_once(user_file):
    text = refused(
        f"{user_file}:Blocks",
        layers=("blocks.0", "blocks.7", "spare", "wide", "stem", "pair"),
        head="classifier",
    )
    assert text.startswith(f"[teacher] module = '{user_file}:Blocks': does not fit its table\n")
    lines = text.splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "blocks.7: is not in the model: blocks holds 0, 1",
        "classifier: is not in the model: Blocks holds stem, blocks, spare, pair, head, wide",
        "spare: takes no part in the model's forward",
        "stem: has shape (2, 24, 8), which is not 'batch (chans steps) d' for a batch of 2 "
        "and 3 channels with 1 further tokens",
        "pair: gives dict, not a tensor",
        "layers: must agree in (channels, d): blocks.0 (3, 8), wide (3, 16).",
    ]


def test_heads_without_parameters_and_outputs_of_another_size(user_file):
    text = refused(f"{user_file}:wrong_output")
    assert "head: is the head, but has no parameters" in text
    assert "output: must be (2, 2) for 2 windows, is (2, 8)" in text


def test_a_layer_that_is_overwritten_in_place_is_refused(user_file):
    factory = f"{user_file}:in_place"
    form = TokenForm("batch d steps")
    text = refused(factory, layers=("0",), head="3", form=form)
    assert text.startswith("0: a later layer works in place on the output of this one")
    assert build(factory, layers=("1",), head="3", form=form).layout.d == 4


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("fails", "factory failed: RuntimeError: no weights (found FILE:fails). It was called with "
         "n_chans."),
        ("needs_more", "fails on windows (2, 3, 800): RuntimeError: mat1 and mat2"),
        ("no_module", "factory gives no torch module (found dict)"),
        ("Absent", "FILE has no callable 'Absent' (allowed Sizes, Blocks, fails, wrong_output"),
    ],
)  # fmt: skip
def test_factories_that_do_not_work(user_file, factory, message):
    text = refused(f"{user_file}:{factory}", layers=("0",), head="1")
    assert message in text.replace(str(user_file), "FILE")


def test_modules_that_cannot_be_imported(tmp_path):
    assert "cannot be imported: ModuleNotFoundError: No module named 'not_there'" in refused(
        "not_there.models:make"
    )
    assert "cannot be imported: FileNotFoundError" in refused(f"{tmp_path}/none.py:make")
    (tmp_path / "broken.py").write_text("import torch\nraise ZeroDivisionError('at import')")
    text = refused(f"{tmp_path}/broken.py:make")
    assert "cannot be imported: ZeroDivisionError: at import" in text
    assert text.endswith("or name the file: path/to/file.py:factory.")


def test_arguments_that_the_factory_does_not_take(user_file):
    text = refused(f"{user_file}:Blocks", arguments={"depth": 3, "n_times": 800, "d": 4})
    assert text == (
        "[teacher] arguments: n_times comes from the signal and the classes; "
        "depth is no parameter of the factory (allowed d, blocks)."
    )


def test_the_signal_must_be_what_the_module_needs(user_file):
    wrong = replace(NEEDS, sfreq=128.0, patch=300)
    text = refused(f"{user_file}:Blocks", needs=wrong)
    assert "sfreq must be 128.0 for this module, is 200.0" in text
    assert "n_times must be a multiple of the patch (300), is 800" in text
