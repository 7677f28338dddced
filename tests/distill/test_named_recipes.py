"""The recipes of public data sets, on small files in the formats and under the names of the real.

What a name means, where a window begins and which class it has is thereby tested; that the real
files look like these is not.
"""

from pathlib import Path

import eeg_files
import numpy as np
import pytest
from scipy.io import savemat

from distill.dataset import file_sources, find_recordings, load_windows
from distill.moabb_data import moabb_sources
from distill.recipe import load_recipe
from distill.windows import split_windows

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("DLINK_DATA", str(tmp_path))
    return tmp_path


def named(name):
    return load_recipe(EXAMPLES / f"{name}.toml")


def untreated(recipe, sfreq):
    """The recipe's [signal] without filters, at the files' own rate: samples stay what they are."""
    signal = recipe.signal.model_copy(update={"reference": "as-recorded", "notch": None})
    spec = recipe.signal_spec().model_copy(
        update={"reference": "as-recorded", "notch": None, "band": None, "scale": 1.0,
                "sfreq": float(sfreq), "n_times": round(signal.seconds * sfreq)}
    )  # fmt: skip
    return spec


def read(recipe, sfreq):
    """All windows of a recipe's files, untreated."""
    spec = untreated(recipe, sfreq)
    return [
        part
        for source in file_sources(recipe.data, spec)
        for part in source.read()
    ]  # fmt: skip


def numbered(n_chans, n_times):
    """Each sample is its own number in tenths of a microvolt plus its channel's in microvolts.

    No channel is flat, and every window tells where it was cut.
    """
    return 1e-7 * np.arange(n_times) + 1e-6 * np.arange(n_chans)[:, None]


def touch(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def split_is_what_is_there(recipe):
    """Subjects that the recipe's files give, and those of its split."""
    present = {groups["subject"] for _, groups in find_recordings(recipe.data)}
    members = [name for group in recipe.split.groups().values() for name in group]
    assert len(set(members)) == len(members)
    return present, set(members)


# PhysioNet motor imagery --------------------------------------------------------------------------

MOVEMENTS = ("left fist", "right fist", "both fists", "both feet")
# In the order of the files.
PHYSIONET = (
    "Fc5", "Fc3", "Fc1", "Fcz", "Fc2", "Fc4", "Fc6", "C5", "C3", "C1", "Cz", "C2", "C4", "C6",
    "Cp5", "Cp3", "Cp1", "Cpz", "Cp2", "Cp4", "Cp6", "Fp1", "Fpz", "Fp2", "Af7", "Af3", "Afz",
    "Af4", "Af8", "F7", "F5", "F3", "F1", "Fz", "F2", "F4", "F6", "F8", "Ft7", "Ft8", "T7", "T8",
    "T9", "T10", "Tp7", "Tp8", "P7", "P5", "P3", "P1", "Pz", "P2", "P4", "P6", "P8", "Po7", "Po3",
    "Poz", "Po4", "Po8", "O1", "Oz", "O2", "Iz",
)  # fmt: skip


def physionet_file(folder, subject, run, sfreq=160):
    path = folder / "physionet-mi" / f"S{subject:03d}" / f"S{subject:03d}R{run:02d}.edf"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [f"{name:.<4}" for name in PHYSIONET]  # "Fc5.", "C5.."
    cues = [(0.0, "T0"), (4.2, "T2"), (8.3, "T0"), (12.5, "T1")]
    return eeg_files.write_edf_plus(path, numbered(64, 20 * sfreq), names, sfreq, cues)


def test_a_fist_is_left_in_one_run_and_both_in_the_next(data):
    for run in (3, 4, 6):
        physionet_file(data, 1, run)
    recipe = named("physionet-mi")
    fists, feet = read(recipe, 160)  # run 3 is movement carried out, not imagined
    assert fists.labels == MOVEMENTS
    assert [fists.labels[k] for k in fists.y] == ["right fist", "left fist"]
    assert [feet.labels[k] for k in feet.y] == ["both feet", "both fists"]
    assert fists.x.shape == (2, 64, 640)
    starts = 0.1 * 160 * np.array([4.2, 12.5])
    np.testing.assert_allclose(fists.x[:, 0, 0], starts, atol=0.06)
    assert np.abs(fists.x[:, :, 0] - fists.x[:, :1, 0] - np.arange(64)).max() < 0.12  # their order


def test_subjects_recorded_at_128_hertz_are_taken_too(data):
    physionet_file(data, 88, 14, sfreq=128)
    windows = load_windows(named("physionet-mi"))
    assert windows.x.shape == (2, 64, 800)
    assert windows.subjects == ("088",)
    np.testing.assert_allclose(windows.x.mean(axis=1), 0, atol=1e-5)  # average reference


def test_the_109_subjects_are_split_as_in_the_papers(data):
    touch(data / "physionet-mi", [
        f"S{s:03d}/S{s:03d}R{r:02d}.edf{suffix}"
        for s in range(1, 110) for r in range(1, 15) for suffix in ("", ".event")
    ])  # fmt: skip
    recipe = named("physionet-mi")
    assert len(find_recordings(recipe.data)) == 109 * 6
    present, members = split_is_what_is_there(recipe)
    assert present == members
    assert [len(group) for group in recipe.split.groups().values()] == [70, 19, 20]


# BCI Competition IV 2a ----------------------------------------------------------------------------

TEN_TEN = ("Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6", "CP3",
           "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz")  # fmt: skip
IMAGERY = ("left_hand", "right_hand", "feet", "tongue")


def bnci_mat(path):
    """A session as BNCI Horizon stores it: a run without trials, then one trial of each class."""
    microvolts = 1e6 * numbered(25, 250 * 40).T
    classes = np.array(["left hand", "right hand", "feet", "tongue"], object)
    common = {"X": microvolts, "fs": 250, "gender": "male", "age": 22, "classes": classes}
    nothing = {**common, "trial": [], "y": [], "artifacts": []}
    starts = np.array([1001, 3001, 5001, 7001])  # counted from 1
    trials = {**common, "trial": starts, "y": [3, 1, 4, 2], "artifacts": [0, 0, 1, 0]}
    runs = np.empty(2, object)
    runs[:] = [nothing, trials]
    savemat(path, {"data": runs})


@pytest.fixture
def bnci(tmp_path, monkeypatch):
    """MOABB with files of the tests' in place of its download."""
    bnci_2014 = pytest.importorskip("moabb.datasets.bnci.bnci_2014")

    def data_path(url, path=None, force_update=False, update_path=None, verbose=None):
        path = tmp_path / url.rsplit("/", 1)[1]
        if not path.exists():
            bnci_mat(path)
        return [str(path)]

    monkeypatch.setattr(bnci_2014, "data_path", data_path)
    return tmp_path


def test_both_sessions_of_2a_come_through_moabb(bnci):
    recipe = named("bcic-iv-2a")
    assert recipe.signal.ch_names == TEN_TEN
    labels, sources = moabb_sources(recipe.data, untreated(recipe, 250))
    assert labels == IMAGERY
    assert [source.name for source in sources] == [
        f"BNCI2014_001 subject {k}" for k in range(1, 10)
    ]
    first, second = sources[0].read()
    assert sorted(path.name for path in bnci.glob("*.mat")) == ["A01E.mat", "A01T.mat"]
    for part, session in ((first, "0train"), (second, "1test")):
        assert set(part.session) == {session}
        assert [part.labels[k] for k in part.y] == ["feet", "left_hand", "tongue", "right_hand"]
        # The cue comes two seconds into the trial, and microvolts are volts in between.
        starts = 0.1 * (np.array([1000, 3000, 5000, 7000]) + 500)
        np.testing.assert_allclose(part.x[:, 0, 0], starts, rtol=1e-5)
        np.testing.assert_allclose(part.x[0, :, 0] - part.x[0, 0, 0], np.arange(22), atol=1e-4)


def test_2a_is_split_by_its_nine_subjects(bnci):
    recipe = named("bcic-iv-2a")
    windows = load_windows(recipe)
    assert windows.x.shape == (9 * 2 * 4, 22, 800)
    parts = split_windows(windows, recipe.split.kind, recipe.split.groups())
    assert {name: part.subjects for name, part in parts.items()} == {
        "train": ("1", "2", "3", "4", "5"), "val": ("6", "7"), "test": ("8", "9"),
    }  # fmt: skip


GDF = eeg_files.with_data(r"""
[data]
source = "files"
root = "$DLINK_DATA/2a"
pattern = "A(?P<subject>\\d\\d)T\\.gdf"
strip = ["EEG-"]

[data.rename]
"EEG-0" = "FC3"
"EEG-1" = "FC1"

[data.events]
769 = "left_hand"
770 = "right_hand"
""").replace('["C3", "Cz", "C4", "Fz"]', '["Fz", "C3", "FC1", "FC3"]')


def test_gdf_files_name_most_electrodes_by_numbers(data):
    (data / "2a").mkdir()
    # As in A01T.gdf: most channels are called "EEG" alone, which mne numbers.
    names = ("EEG-Fz", "EEG", "EEG", "EEG-C3", "EOG-left")
    cues = [(250, 768), (750, 770), (2500, 768), (3000, 769), (3100, 1023)]
    eeg_files.write_gdf(data / "2a" / "A01T.gdf", numbered(5, 250 * 20), names, 250, cues)
    recipe = load_recipe(eeg_files.recipe(data, text=GDF))
    [windows] = read(recipe, 250)
    assert [windows.labels[k] for k in windows.y] == ["right_hand", "left_hand"]
    np.testing.assert_allclose(windows.x[:, 0, 0], [75, 300], atol=0.06)
    np.testing.assert_allclose(windows.x[0, :, 0], [75, 78, 77, 76], atol=0.06)


# Mental arithmetic --------------------------------------------------------------------------------


def test_all_36_subjects_of_eegmat_are_split_as_in_the_papers(data):
    touch(data / "eegmat", [f"Subject{k:02d}_{part}.edf" for k in range(36) for part in (1, 2)])
    recipe = named("mental-arithmetic")
    present, members = split_is_what_is_there(recipe)
    assert present == members
    assert [len(group) for group in recipe.split.groups().values()] == [28, 4, 4]


def test_eegmat_recordings_are_cut_side_by_side_into_5_s(data):
    (data / "eegmat").mkdir()
    names = [f"EEG {name}" for name in named("mental-arithmetic").signal.ch_names]
    old = {"EEG T7": "EEG T3", "EEG T8": "EEG T4", "EEG P7": "EEG T5", "EEG P8": "EEG T6"}
    names = [old.get(name, name) for name in names] + ["EEG A2-A1", "ECG ECG"]
    for part, seconds in ((1, 18), (2, 6)):
        path = data / "eegmat" / f"Subject35_{part}.edf"
        eeg_files.write_edf(path, numbered(21, seconds * 500), names, 500)
    rest, task = read(named("mental-arithmetic"), 500)
    assert (rest.labels, rest.y.tolist(), task.y.tolist()) == (("rest", "arithmetic"), [0] * 3, [1])
    np.testing.assert_allclose(rest.x[:, 0, 0], [0, 250, 500], atol=0.06)
    assert task.subjects == ("35",)


# Mumtaz 2016 --------------------------------------------------------------------------------------


def mumtaz_names():
    """As figshare lists them: 64 people, three files each, one of them twice under numbers."""
    names = []
    for group, count in (("H", 30), ("MDD", 34)):
        for k in range(1, count + 1):
            spaces = "  " if k % 3 == 0 else " "  # some names have two
            names += [f"{group} S{k}{spaces}{part}.edf" for part in ("EC", "EO", "TASK")]
    names[names.index("H S15  EO.edf")] = "6921143_H S15 EO.edf"
    return [*names, "6921959_H S15 EO.edf"]


def test_mumtaz_is_split_by_subject_without_the_copies(data):
    touch(data / "mumtaz2016", mumtaz_names())
    recipe = named("mumtaz2016")
    found = find_recordings(recipe.data)
    assert len(found) == 2 * 64
    present, members = split_is_what_is_there(recipe)
    copies, torn = {"H S30", "MDD S34"}, {"H S12", "H S18", *(f"MDD S{k}" for k in (4, 8, 12, 16))}
    assert present - members == copies | torn
    assert members <= present
    for group in recipe.split.groups().values():
        assert {name.split()[0] for name in group} == {"H", "MDD"}


def test_mumtaz_recordings_have_the_class_of_their_group(data):
    (data / "mumtaz2016").mkdir()
    names = [f"EEG {name}-LE" for name in named("mumtaz2016").signal.ch_names] + ["EEG A2-A1"]
    names = [name.replace("T7", "T3").replace("P8", "T6") for name in names]
    for name in ("H S1 EC.edf", "MDD S12  EO.edf", "MDD S12 TASK.edf"):
        eeg_files.write_edf(
            data / "mumtaz2016" / name, eeg_files.noise(11, 20, sfreq=256), names, 256
        )
    windows = load_windows(named("mumtaz2016"))
    assert windows.x.shape == (4, 19, 1000)
    assert windows.labels == ("healthy", "depressed")
    rows = zip(windows.subject.tolist(), windows.session.tolist(), windows.y.tolist(), strict=True)
    assert list(rows) == [("H S1", "EC", 0)] * 2 + [("MDD S12", "EO", 1)] * 2
