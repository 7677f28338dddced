"""Events that stand in a file of MNE's beside the recording."""

import mne
import numpy as np
import pytest

from distill.dataset import load_windows
from distill.recipe import load_recipe
from targets.errors import InputError

RECIPE = """
name = "flicker"

[data]
source = "files"
root = "ROOT"
pattern = "subject(?P<subject>\\\\d+)/(?P<session>.+)_raw\\\\.fif"
events_file = "subject{subject}/{session}-eve.fif"
offset = 0.5
repeats = 2

[data.events]
2 = "13 Hz"
3 = "21 Hz"

[signal]
ch_names = ["O1", "O2"]
seconds = 1.0

[split]
kind = "cross_session"
train = ["a"]
val = ["b"]
test = ["c"]
"""
SFREQ, FIRST = 200.0, 512


def made(folder, text=RECIPE):
    """Three sessions whose samples are their own numbers, in units that the contract keeps."""
    for session in "abc":
        place = folder / "subject07"
        place.mkdir(exist_ok=True)
        samples = np.arange(2000) * 1e-4  # V; the contract's uV / 100 makes this the index
        info = mne.create_info(["O1", "O2"], SFREQ, "eeg", verbose="ERROR")
        raw = mne.io.RawArray(
            np.stack([samples, -samples]), info, first_samp=FIRST, verbose="ERROR"
        )
        raw.save(place / f"{session}_raw.fif", fmt="double", verbose="ERROR")
        events = np.array([[FIRST + 100, 0, 2], [FIRST + 900, 0, 3], [FIRST + 1200, 0, 9]])
        mne.write_events(place / f"{session}-eve.fif", events, verbose="ERROR")
    path = folder / "recipe.toml"
    path.write_text(text.replace("ROOT", str(folder)))
    return path


def windows_of(path, monkeypatch):
    # No filter: the window must hold the samples themselves.
    recipe = load_recipe(path)
    spec = recipe.signal_spec().model_copy(update={"band": None})
    monkeypatch.setattr(type(recipe), "signal_spec", lambda _self: spec)
    return load_windows(recipe)


def test_windows_begin_where_the_events_file_says(tmp_path, monkeypatch):
    windows = windows_of(made(tmp_path), monkeypatch)
    assert windows.labels == ("13 Hz", "21 Hz")
    assert len(windows) == 3 * 2 * 2  # the event 9 is no class
    one = windows.select(windows.session == "a")
    assert one.y.tolist() == [0, 0, 1, 1]
    first = [100 + 100, 100 + 300, 900 + 100, 900 + 300]  # onset, half a second, side by side
    assert np.asarray(one.x)[:, 0, 0] == pytest.approx(first, rel=1e-4)
    assert np.asarray(one.x)[:, 1, 0] == pytest.approx([-k for k in first], rel=1e-4)


def test_a_missing_events_file_is_named(tmp_path, monkeypatch):
    path = made(tmp_path)
    (tmp_path / "subject07" / "b-eve.fif").unlink()
    with pytest.raises(InputError, match=r"b-eve\.fif: events file not found"):
        windows_of(path, monkeypatch)


def test_a_damaged_events_file_is_named(tmp_path, monkeypatch):
    path = made(tmp_path)
    (tmp_path / "subject07" / "b-eve.fif").write_bytes(b"no events")
    with pytest.raises(InputError, match=r"b-eve\.fif: events cannot be read"):
        windows_of(path, monkeypatch)


def test_a_brace_that_is_no_group_is_refused(tmp_path):
    path = made(tmp_path, RECIPE.replace("{session}-eve", "{sesion}-eve"))
    with pytest.raises(InputError, match="events_file names 'sesion', which is no group"):
        load_recipe(path)
