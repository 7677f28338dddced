import sys

import eeg_files
import mne
import numpy as np
import pytest

from distill.dataset import load_windows, sources, write_windows
from distill.moabb_data import moabb_sources
from distill.recipe import load_recipe
from distill.windows import split_windows
from targets.errors import InputError

datasets = pytest.importorskip("moabb.datasets")
from moabb.datasets.base import BaseDataset  # noqa: E402

FAKE = eeg_files.with_data("""
[data]
source = "moabb"
dataset = "FakeDataset"

[data.options]
n_subjects = 4
n_sessions = 2
n_runs = 1
duration = 30
n_events = 6
sfreq = 250
seed = 7
channels = ["C3", "Cz", "C4", "Fz"]
event_list = ["left", "right", "rest"]
""").replace("S00-S01", "1-2").replace("S02", "3").replace("S03", "4")  # fmt: skip
TWO = '[data.events]\nright = "R"\nleft = "L"\n\n[data.options]'


def recipe(tmp_path, changes=None):
    return load_recipe(eeg_files.recipe(tmp_path, changes, FAKE))


class Ramps(BaseDataset):
    """Each sample's value is its number, in microvolts: a window tells where it was cut.

    Interval [2, 6] after the trigger, as in BNCI2014_001, whose trigger is the start of a trial
    and whose cue comes two seconds later. Run 1 is of breaks alone; MOABB takes such runs only
    from trigger channels.
    """

    def __init__(self, subjects=None, sessions=None, by_annotation=False):
        self._by_annotation = by_annotation
        super().__init__([1, 2], 1, {"left": 1, "right": 2}, "Ramps", [2, 6], "imagery")

    def _get_single_subject_data(self, subject):
        trials, breaks = self._run([(2.0, 1), (10.0, 2)]), self._run([(3.0, 9)])
        return {"0train": {"0": trials, **({} if self._by_annotation else {"1": breaks})}}

    def _run(self, events):
        values = np.tile(1e-6 * np.arange(250 * 20.0), (4, 1))
        if self._by_annotation:
            raw = eeg_files.as_raw(values)
            names = {1: "left", 2: "right", 9: "break"}
            onsets, codes = zip(*events, strict=True)
            raw.set_annotations(mne.Annotations(onsets, 0.1, [names[code] for code in codes]))
            return raw
        stim = np.zeros((1, values.shape[1]))
        for onset, code in events:
            stim[0, round(onset * 250)] = code
        info = mne.create_info([*eeg_files.CH_NAMES, "STI"], 250, ["eeg"] * 4 + ["stim"])
        return mne.io.RawArray(np.vstack([values, stim]), info, verbose="ERROR")

    def data_path(self, subject, path=None, force_update=False, update_path=None, verbose=None):
        raise NotImplementedError


def test_a_fake_set_becomes_windows_of_subjects_sessions_and_events(tmp_path):
    windows = load_windows(recipe(tmp_path))
    assert windows.x.shape == (4 * 2 * 6, 4, 400)
    assert windows.labels == ("left", "right", "rest")
    assert windows.subjects == ("1", "2", "3", "4")
    assert np.bincount(windows.y).tolist() == [16, 16, 16]
    assert sorted(set(windows.session)) == ["0", "1"]
    assert 0.05 < windows.x.std() < 0.4  # 20 microvolts of noise, band-passed, over 100


def test_subjects_and_events_are_chosen_and_named(tmp_path):
    chosen = recipe(tmp_path, {
        "[data.options]": TWO, 'dataset = "FakeDataset"':
        'dataset = "FakeDataset"\nsubjects = ["2-4"]',
    })  # fmt: skip
    windows = write_windows(chosen, tmp_path / "w")
    assert windows.subjects == ("2", "3", "4")
    assert windows.labels == ("R", "L")
    assert np.bincount(windows.y).tolist() == [12, 12]
    everything = load_windows(recipe(tmp_path))
    mask = (everything.subject != "1") & (everything.y != 2)
    np.testing.assert_array_equal(windows.x, everything.x[mask])


def test_what_a_description_means_may_depend_on_the_session(tmp_path):
    by_session = recipe(tmp_path, {
        "[data.options]": '[data.events]\n"0:left" = "a"\n"1:left" = "b"\n\n[data.options]',
        'dataset = "FakeDataset"': 'dataset = "FakeDataset"\nevents_by = "session"',
    })  # fmt: skip
    windows = load_windows(by_session)
    assert set(zip(windows.session.tolist(), windows.y.tolist(), strict=True)) == {
        ("0", 0), ("1", 1),
    }  # fmt: skip
    assert set(split_windows(windows, "cross_subject", by_session.split.groups())) == {
        "train", "val", "test",
    }  # fmt: skip


@pytest.mark.parametrize("by_annotation", [False, True])
def test_windows_begin_where_the_interval_does(tmp_path, monkeypatch, by_annotation):
    monkeypatch.setattr(datasets, "Ramps", Ramps, raising=False)
    option = f"options = {{by_annotation = {str(by_annotation).lower()}}}"
    text = eeg_files.with_data(f'[data]\nsource = "moabb"\ndataset = "Ramps"\n{option}')
    ramps = load_recipe(eeg_files.recipe(tmp_path, text=text))
    signal = ramps.signal_spec().model_copy(
        update={"sfreq": 250.0, "n_times": 500, "scale": 1.0, "band": None}
    )
    labels, found = moabb_sources(ramps.data, signal)
    windows = [part for source in found for part in source.read()]
    assert labels == ("left", "right")
    assert [part.subject[0] for part in windows] == ["1", "2"]  # the run of breaks is left out
    for part in windows:
        assert part.session.tolist() == ["0train", "0train"]
        assert part.y.tolist() == [0, 1]
        np.testing.assert_allclose(part.x[:, 0, 0], [4 * 250, 12 * 250], rtol=1e-6)


def test_nothing_is_loaded_before_its_turn(tmp_path, monkeypatch):
    asked = []
    load = datasets.FakeDataset._get_single_subject_data

    def counting(self, subject):
        asked.append(subject)
        return load(self, subject)

    monkeypatch.setattr(datasets.FakeDataset, "_get_single_subject_data", counting)
    _, found = sources(recipe(tmp_path))
    assert asked == []
    next(iter(found[2].read()))
    assert asked == [3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"FakeDataset"', '"FakeDatase"', r"no data set of this name \(found FakeDatase\). "
         "Did you mean FakeDataset"),
        ('"FakeDataset"', '"download"', "MOABB has no data set of this name"),
        ("seed = 7", "sed = 7", r"\[data.options\]: MOABB refuses these options"),
        ("[data.options]", "[data.events]\nup = 'x'\n[data.options]",
         r"no such event \(found up, allowed left, right, rest\)"),
        ('dataset = "FakeDataset"', 'dataset = "FakeDataset"\nsubjects = ["3-5"]',
         r"no such subject \(found 5, allowed 1, 2, 3, 4\)"),
        ("n_events = 6", "n_events = 0", "subject 1: subject has none of the wanted events"),
        ('"Fz"]\nevent_list', '"Pz"]\nevent_list',
         "FakeDataset subject 1 session 0 run 0: channels Fz are not in the recording"),
    ],
)  # fmt: skip
def test_faults_name_the_key_and_the_choice(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        load_windows(recipe(tmp_path, {old: new}))


def test_what_a_download_raises_is_told_as_one_sentence(tmp_path, monkeypatch):
    def offline(self, subject):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets.FakeDataset, "_get_single_subject_data", offline)
    with pytest.raises(
        InputError, match=r"subject 1: MOABB cannot load .*no route to host.*network"
    ):
        load_windows(recipe(tmp_path))


def test_without_the_extra_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "moabb", None)
    with pytest.raises(InputError, match=r"needs MOABB.*pip install .*'dlink\[moabb\]'"):
        sources(recipe(tmp_path))
