from pathlib import Path

import eeg_files
import pytest

from distill.recipe import FilesData, expand, load_recipe
from distill.teachers import needs
from targets.errors import InputError

EXAMPLES = Path(__file__).parents[2] / "examples"


def refused(tmp_path, changes, text=eeg_files.SIMULATED):
    path = eeg_files.recipe(tmp_path, changes, text)
    with pytest.raises(InputError) as caught:
        load_recipe(path).signal_spec()
    return str(caught.value)


@pytest.mark.parametrize(
    "name", sorted(p.name for p in EXAMPLES.glob("*.toml") if p.name != "budgets.toml")
)
def test_examples_are_whole_and_make_a_contract(name):
    recipe = load_recipe(EXAMPLES / name)
    signal = recipe.signal_spec()
    assert (signal.sfreq, signal.unit) == (200.0, "uV")
    assert signal.n_times == recipe.signal.seconds * 200
    assert signal.n_times % needs(recipe.teacher).patch == 0
    assert all(recipe.split.groups().values())


def test_the_teacher_fills_what_the_signal_leaves_out(tmp_path):
    recipe = load_recipe(eeg_files.recipe(tmp_path, {"band = [0.5, 45.0]\n": ""}))
    signal = recipe.signal_spec()
    assert (signal.band, signal.unit, signal.scale) == ((0.1, 75.0), "uV", 100.0)
    assert recipe.split.groups() == {"train": ("S00", "S01"), "val": ("S02",), "test": ("S03",)}


def test_hash_sees_every_value_and_no_formatting(tmp_path):
    path = eeg_files.recipe(tmp_path)
    first = load_recipe(path).hash
    path.write_text(path.read_text() + "\n# a comment\n")
    assert load_recipe(path).hash == first
    assert load_recipe(eeg_files.recipe(tmp_path, {"seeds = [0]": "seeds = [1]"})).hash != first


def test_defaults_of_method_and_sizes_are_parts_of_the_recipe(tmp_path):
    text = eeg_files.SIMULATED + "width = 24\n[method]\nrouter = 'static'\nkd = 0.0\n"
    recipe = load_recipe(eeg_files.recipe(tmp_path, text=text))
    assert recipe.student.sizes().width == 24
    assert recipe.method.router == "static"
    assert recipe.method.kd == 0.0


SEEDS = "seeds: seeds must be different numbers from 0 on"
TRAINED = "epochs = 1\nbatch = 8\n\n"  # [teacher]'s


@pytest.mark.parametrize(
    ("old", "new", "named_line", "message"),
    [
        ("n_layers = 1", "n_layer = 1", "n_layer = 1",
         "key 'teacher.n_layer' is unknown; did you mean 'n_layers'?"),
        ("n_trials = 8", "n_trial = 8", "n_trial = 8",
         "key 'data.simulate.n_trial' is unknown; did you mean 'n_trials'?"),
        ("[student]", "[studnt]", "[studnt]", "key 'studnt' is unknown; did you mean 'student'?"),
        ("[student]", "[student]\nzzz = 1", "zzz = 1",
         "key 'student.zzz' is unknown; known: arguments, batch, blocks,"),
        ("seconds = 2.0\nband", 'seconds = "two"\nband', 'seconds = "two"',
         "signal.seconds: Input should be a valid number"),
        ('name = "labram"', 'name = "eegnet"', 'name = "eegnet"',
         "teacher.name: Input should be 'labram', 'cbramod', 'biot'"),
        ("seeds = [0]", "seeds = [1, 1]", "seeds = [1, 1]", SEEDS),
        ("seeds = [0]", "seeds = [-1]", "seeds = [-1]", SEEDS),
        (TRAINED, TRAINED.replace("1", "0"), "[teacher]", "teacher: epochs = 0 needs a checkpoint"),
        ('source = "simulate"', 'source = "zip"', 'source = "zip"',
         "data.source: must be 'files', 'moabb', 'bids' or 'simulate' (found 'zip')"),
        ("cross_subject", "within_session", "[split]", "split: within_session splits by time"),
        ('val = ["S02"]\n', "", "[split]", "split: cross_subject needs train, val and test"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line_and_a_way_out(tmp_path, old, new, named_line, message):
    text = refused(tmp_path, {old: new})
    assert "recipe.toml: recipe has a fault\n" in text
    lines = (tmp_path / "recipe.toml").read_text().splitlines()
    assert f"\n  line {lines.index(named_line) + 1}: {message}" in text


def test_all_faults_come_at_once(tmp_path):
    text = refused(
        tmp_path,
        {"n_layers = 1": "n_layer = 1", "seeds = [0]": "seeds = []", 'val = ["S02"]\n': "",
         "seconds = 2.0\nband": "seconds = -2.0\nband"},
    )  # fmt: skip
    assert "recipe has 4 faults" in text
    assert len(text.splitlines()) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(?P<subject>", "(", "pattern needs a group (?P<subject>...)"),
        ("(?P<label>", "(", "labels need a group (?P<label>...) in pattern"),
        ("(?P<subject>", "(?P<subject", "pattern is no regular expression"),
        ("[data.labels]", "[data.events]\nx = 'rest'\n[data.labels]", "either labels"),
        ('root = "$DLINK_DATA"\n', "", "data.root: Field required"),
    ],
)
def test_faults_of_a_data_set_of_files(tmp_path, old, new, message):
    assert message in refused(tmp_path, {old: new}, eeg_files.FILES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seconds = 2.0\nband", "seconds = 2.5\nband", "n_times must be a multiple of the patch"),
        ("seconds = 2.0\nband", "seconds = 2.0\nsfreq = 250.0\nband", "sfreq must be 200.0"),
        ("band = [0.5, 45.0]", "band = [45.0, 0.5]", "must rise"),
        ('["C3", "Cz", "C4", "Fz"]', '["C3", "C3"]', "C3 more than once"),
    ],
)
def test_the_contract_must_suit_the_teacher(tmp_path, old, new, message):
    text = refused(tmp_path, {old: new})
    assert text.startswith("[signal]: ")
    assert message in text


def test_files_that_are_no_recipe(tmp_path):
    with pytest.raises(InputError, match="recipe not found"):
        load_recipe(tmp_path / "none.toml")
    for content in (b"name = ", b"\xff\xfe", b"a = 1\na = 2\n"):
        (tmp_path / "r.toml").write_bytes(content)
        with pytest.raises(InputError, match=r"r\.toml: recipe is not TOML"):
            load_recipe(tmp_path / "r.toml")
    with pytest.raises(InputError, match="recipe is not TOML"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (("00-02",), ("00", "01", "02")),
        (("S8-S11",), ("S8", "S9", "S10", "S11")),
        (("S08-S09", "extra"), ("S08", "S09", "extra")),
        (("a-b", "12"), ("a-b", "12")),
        (("5-3",), ()),
    ],
)
def test_ranges(members, expected):
    assert expand(members) == expected


def test_data_root_is_found_by_the_environment(tmp_path, monkeypatch):
    data = FilesData(source="files", root="$DLINK_DATA/set", pattern="(?P<subject>.)(?P<label>.)",
                     labels={"1": "a"})  # fmt: skip
    monkeypatch.setenv("DLINK_DATA", str(tmp_path))
    assert data.folder == tmp_path / "set"
    monkeypatch.delenv("DLINK_DATA")
    assert data.folder == Path("../shared/data/set")


def test_a_baseline_is_refused_where_the_method_needs_tokens(tmp_path):
    baseline = {"[student]\nepochs = 1": '[student]\nname = "eegnet"\nepochs = 1'}
    with pytest.raises(InputError, match="dlink needs the tokens of a MiC, which EEGNet has not"):
        load_recipe(eeg_files.recipe(tmp_path, baseline))
    path = eeg_files.recipe(tmp_path, baseline)
    path.write_text(path.read_text() + '\n[method]\nname = "kd"\n')
    assert load_recipe(path).student.label == "EEGNet"
