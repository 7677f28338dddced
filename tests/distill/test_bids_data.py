import eeg_files
import mne
import mne_bids
import numpy as np
import pytest

from distill.bids_data import bids_sources
from distill.dataset import load_windows, sources, write_windows
from distill.recipe import load_recipe
from targets.errors import InputError

BIDS = eeg_files.with_data("""
[data]
source = "bids"
root = "$DLINK_DATA/set"
tasks = ["imagery"]

[data.events]
left = "L"
right = "R"
""").replace("S00-S01", "01").replace("S02", "02").replace("S03", "03")  # fmt: skip
BY_TASK = BIDS.replace('tasks = ["imagery"]\n', "").replace(
    'events]\nleft = "L"\nright = "R"', 'labels]\nrest = "rest"\nimagery = "task"'
)  # fmt: skip


def raw_of(number, seconds=14.0):
    """Sample k of channel 0 is k microvolts plus noise elsewhere; a cue every 4 s from 1 s on."""
    values = eeg_files.noise(seconds, seed=number)
    values[0] = 1e-6 * np.arange(values.shape[1]) * 0.1
    raw = eeg_files.as_raw(values)
    raw.info["line_freq"] = 50
    raw.set_annotations(mne.Annotations([1, 5, 9], 2.0, ["left", "right", "left"]))
    return raw


def write(root, subject, number, form, **entities):
    path = mne_bids.BIDSPath(root=root, subject=subject, datatype="eeg", **entities)
    mne_bids.write_raw_bids(raw_of(number), path, format=form, allow_preload=True,
                            overwrite=True, verbose="ERROR")  # fmt: skip
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three subjects, two sessions, imagery and rest; subject 03 in EDF, the others BrainVision."""
    root = tmp_path_factory.mktemp("bids") / "set"
    for k, subject in enumerate(("01", "02", "03")):
        form = "EDF" if subject == "03" else "BrainVision"
        for session in ("a", "b"):
            for task in ("imagery", "rest"):
                number = 10 * k + "ab".index(session)
                write(root, subject, number, form, session=session, task=task)
    table = root / "participants.tsv"
    rows = [line.split("\t") for line in table.read_text("utf-8-sig").splitlines()]
    groups = {"sub-01": "patient", "sub-02": "control", "sub-03": "patient"}
    text = ["\t".join([*row, groups.get(row[0], "group")]) for row in rows]
    table.write_text("\n".join(text) + "\n")
    derived = root / "derivatives" / "cleaned" / "sub-01" / "eeg"
    derived.mkdir(parents=True)
    (derived / "sub-01_task-imagery_eeg.edf").write_bytes(b"not to be found")
    return root.parent


@pytest.fixture
def recipe(tmp_path, data, monkeypatch):
    monkeypatch.setenv("DLINK_DATA", str(data))
    return lambda changes=None, text=BIDS: load_recipe(
        eeg_files.recipe(tmp_path, changes, text)
    )  # fmt: skip


def test_trials_of_a_bids_folder_become_windows(recipe, tmp_path):
    windows = write_windows(recipe(), tmp_path / "w")
    assert windows.x.shape == (3 * 2 * 3, 4, 400)
    assert windows.labels == ("L", "R")
    assert windows.subjects == ("01", "02", "03")
    assert windows.y.tolist() == [0, 1, 0] * 6
    assert windows.session.tolist() == (["a"] * 3 + ["b"] * 3) * 3


@pytest.mark.parametrize("subject", ["02", "03"])  # BrainVision, EDF
def test_windows_are_cut_where_events_tsv_says(recipe, subject):
    one = recipe({'tasks = ["imagery"]': f'tasks = ["imagery"]\nsubjects = ["{subject}"]\n'
                  'sessions = ["a"]', "band = [0.5, 45.0]\n": ""})  # fmt: skip
    signal = one.signal_spec().model_copy(
        update={"sfreq": 250.0, "n_times": 500, "scale": 1.0, "band": None}
    )
    [source] = bids_sources(one.data, signal)
    [windows] = source.read()
    expected = 0.1 * 250 * np.array([1, 5, 9])
    np.testing.assert_allclose(windows.x[:, 0, 0], expected, atol=0.06)  # EDF's least step


def test_a_whole_recording_has_the_class_of_its_task(recipe):
    windows = load_windows(recipe(text=BY_TASK))
    assert windows.labels == ("rest", "task")
    assert np.bincount(windows.y).tolist() == [3 * 2 * 7] * 2  # 14 s, windows of 2 s


def test_or_the_class_of_its_subject(recipe):
    text = BY_TASK.replace('rest = "rest"\nimagery = "task"', 'patient = "ill"\ncontrol = "well"')
    by_group = recipe({"[data.labels]": 'label_by = "group"\n\n[data.labels]'}, text)
    windows = load_windows(by_group)
    assert {(s, windows.labels[y]) for s, y in zip(windows.subject, windows.y, strict=True)} == {
        ("01", "ill"), ("02", "well"), ("03", "ill"),
    }  # fmt: skip


def test_what_an_event_means_may_depend_on_an_entity(recipe):
    by_session = recipe({
        '\n[data.events]\nleft = "L"\nright = "R"': 'events_by = "session"\n\n[data.events]\n'
        '"a:left" = "hand"\n"b:left" = "foot"',
    })  # fmt: skip
    windows = load_windows(by_session)
    assert windows.labels == ("hand", "foot")
    found = set(zip(windows.session.tolist(), windows.y.tolist(), strict=True))
    assert found == {("a", 0), ("b", 1)}


def test_nothing_is_read_before_its_turn(recipe):
    labels, found = sources(recipe())
    assert labels == ("L", "R")
    assert [source.name.endswith("_eeg.vhdr") for source in found] == [True] * 4 + [False] * 2


TASKS = 'tasks = ["imagery"]'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("/set", "/none", "none: data folder not found"),
        (TASKS, 'tasks = ["sleep"]', r"no EEG recording .* \(found tasks sleep\)"),
        (TASKS, 'subjects = ["02-04"]', r"without a recording \(found 04, allowed 02, 03\)"),
        ('left = "L"\nright = "R"', 'up = "U"', "none of the wanted events"),
        ('events]\nleft = "L"\nright = "R"', 'labels]\nsleep = "s"',
         r"label 'imagery' has no class \(allowed sleep\)"),
        ('\n[data.events]\nleft = "L"\nright = "R"', 'label_by = "mood"\n[data.labels]\nx = "y"',
         r"nothing says the class .*\(found mood, allowed participant_id,.* group,.* task"),
        ('\n[data.events]\n', 'events_by = "session"\n[data.events]\n',
         "events_by wants keys as 'VALUE:DESCRIPTION' in events, not 'left'"),
        ('\n[data.events]\nleft = "L"\nright = "R"\n', "", "give either labels"),
    ],
)  # fmt: skip
def test_faults_name_what_is_there(recipe, old, new, message):
    with pytest.raises(InputError, match=message):
        load_windows(recipe({old: new}))


def test_a_damaged_recording_is_named(recipe, tmp_path, monkeypatch):
    root = tmp_path / "data" / "set"
    path = write(root, "01", 0, "BrainVision", task="imagery")
    path.fpath.with_suffix(".eeg").write_bytes(b"12345")
    monkeypatch.setenv("DLINK_DATA", str(tmp_path / "data"))
    with pytest.raises(InputError, match=r"sub-01_task-imagery_eeg\.vhdr: samples cannot be read"):
        load_windows(recipe())
