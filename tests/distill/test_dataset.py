import eeg_files
import numpy as np
import pytest

from distill.dataset import find_recordings, load_windows
from distill.recipe import load_recipe
from targets.errors import InputError


@pytest.fixture
def files_recipe(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    monkeypatch.setenv("DLINK_DATA", str(data))
    eeg_files.write_dataset(data)
    return load_recipe(eeg_files.recipe(tmp_path, text=eeg_files.FILES)), data


def test_files_become_windows_of_subjects_and_classes(files_recipe):
    recipe, _ = files_recipe
    windows = load_windows(recipe)
    assert windows.x.shape == (4 * 2 * 3, 4, 400)  # 6 s each, windows of 2 s
    assert windows.subjects == ("00", "01", "02", "03")
    assert windows.labels == ("rest", "task")
    assert windows.y.tolist() == [0, 0, 0, 1, 1, 1] * 4
    assert windows.signal == recipe.signal_spec()
    assert 0.05 < windows.x.std() < 0.4  # 20 microvolts of noise, band-passed, over 100


def test_the_order_does_not_depend_on_the_disk(files_recipe):
    recipe, data = files_recipe
    first = load_windows(recipe)
    path = data / "S00_1.edf"
    path.write_bytes(path.read_bytes())
    (data / "S00_2.edf").rename(data / "moved")
    (data / "moved").rename(data / "S00_2.edf")
    assert load_windows(recipe).hash == first.hash


def test_files_beside_the_pattern_are_left_alone(files_recipe):
    recipe, data = files_recipe
    (data / "README").write_text("x")
    (data / "S00_1.edf.bak").write_text("x")
    assert len(find_recordings(recipe.data)) == 8


def test_simulated_windows_follow_the_recipe(windows):
    assert windows.x.shape == (32, 4, 400)
    assert windows.labels == ("left_hand", "right_hand")
    assert windows.subjects == ("S00", "S01", "S02", "S03")
    assert all(np.bincount(windows.y[windows.subject == s]).tolist() == [4, 4]
               for s in windows.subjects)  # fmt: skip
    assert np.isfinite(windows.x).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("S(?P", "T(?P", "no recording matches the pattern"),
        ("$DLINK_DATA", "/nowhere", "/nowhere: data folder not found"),
        ('2 = "task"\n', "", r"S00_2\.edf: label '2' has no class \(allowed 1\)"),
        ('strip = ["EEG "]\n', "", "channels C3, Cz, C4, Fz are not in the recording"),
    ],
)
def test_faults_name_file_and_way_out(files_recipe, tmp_path, old, new, message):
    recipe = load_recipe(eeg_files.recipe(tmp_path, {old: new}, eeg_files.FILES))
    with pytest.raises(InputError, match=message):
        load_windows(recipe)


BY_RUN = eeg_files.with_data(r"""
[data]
source = "files"
root = "$DLINK_DATA"
pattern = "S(?P<subject>\\d\\d)_(?P<run>\\d)\\.edf"
events_by = "run"

[data.rename]
A1 = "C3"

[data.events]
"1:go" = "left"
"2:go" = "right"
"2:a:b" = "rest"
""")


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Two runs whose "go" means different things; C3 is called A1."""
    monkeypatch.setenv("DLINK_DATA", str(tmp_path))
    for run in (1, 2):
        names = ("A1", *eeg_files.CH_NAMES[1:])
        cues = [(1.0, "go"), (4.0, "a:b")]
        path = tmp_path / f"S00_{run}.edf"
        eeg_files.write_edf_plus(path, eeg_files.noise(9.0, seed=run), names, 250, cues)
    return lambda changes=None: load_recipe(eeg_files.recipe(tmp_path, changes, BY_RUN))


def test_an_events_class_may_depend_on_the_file(runs):
    windows = load_windows(runs())
    assert windows.labels == ("left", "right", "rest")
    assert windows.y.tolist() == [0, 1, 2]  # in run 1 a:b has no class


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"1:go" = "left"\n', "",
         r"S00_1\.edf: no event has a class in recordings whose run is '1' "
         r"\(allowed 2:go, 2:a:b\)"),
        ('"1:go"', '"go"', "events_by wants keys as 'VALUE:DESCRIPTION' in events, not 'go'"),
        ('by = "run"', 'by = "day"', "events_by names 'day', which is no group of pattern"),
        ('A1 = "C3"', 'A1 = "Cz"', r"S00_1\.edf: channels cannot be renamed: .*unique"),
        ('A1 = "C3"', 'B1 = "C3"', "channels C3 are not in the recording"),
    ],
)  # fmt: skip
def test_faults_of_events_by_run_and_of_names(runs, old, new, message):
    with pytest.raises(InputError, match=message):
        load_windows(runs({old: new}))
