import hashlib
import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from distill.rows import Rows
from distill.signal import SignalSpec
from distill.windows import Windows, concatenate, label_subset, split_windows
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3", "C4"), sfreq=100, n_times=10)


def made(n_subjects=3, n_sessions=2, per_class=5):
    """Windows whose first sample is their running number."""
    rows = [
        (f"S{subject}", f"{session}", label)
        for subject in range(n_subjects)
        for session in range(n_sessions)
        for label in [0, 1] * per_class
    ]
    x = np.random.default_rng(0).standard_normal((len(rows), 2, 10)).astype(np.float32)
    x[:, 0, 0] = np.arange(len(rows))
    subject, session, y = (np.array(column) for column in zip(*rows, strict=True))
    return Windows(x, y.astype(np.int64), subject, session, ("rest", "task"), SIGNAL)


def numbers(windows):
    return set(windows.x[:, 0, 0].astype(int).tolist())


def test_saved_windows_come_back_equal_and_stay_on_disk(tmp_path):
    windows = made()
    windows.save(tmp_path / "w")
    back = Windows.load(tmp_path / "w")
    assert back.hash == windows.hash
    assert isinstance(back.x, np.memmap)
    assert (back.labels, back.signal, back.subjects) == (windows.labels, SIGNAL, ("S0", "S1", "S2"))
    np.testing.assert_array_equal(back.y, windows.y)
    assert [p.name for p in tmp_path.iterdir()] == ["w"]


@pytest.mark.parametrize("damage", ["index.json", "x.npy"])
def test_damaged_windows_are_named(tmp_path, damage):
    made().save(tmp_path / "w")
    (tmp_path / "w" / damage).write_bytes(b"{")
    with pytest.raises(InputError, match=r"w: windows cannot be read"):
        Windows.load(tmp_path / "w")


def test_index_holds_no_pickle(tmp_path):
    made().save(tmp_path / "w")
    assert set(json.loads((tmp_path / "w" / "index.json").read_text())) == {
        "y", "subject", "session", "labels", "signal", "hash",
    }  # fmt: skip


def test_hash_sees_samples_labels_and_contract():
    windows = made()
    x = windows.x.copy()
    x[0, 0, 0] += 1
    y = windows.y.copy()
    y[0] = 1 - y[0]
    rest = (windows.subject, windows.session, windows.labels)
    other = SIGNAL.model_copy(update={"scale": 2.0})
    hashes = {
        windows.hash,
        Windows(x, windows.y, *rest, SIGNAL).hash,
        Windows(windows.x, y, *rest, SIGNAL).hash,
        Windows(windows.x, windows.y, *rest, other).hash,
    }
    assert len(hashes) == 4


def test_the_hash_is_of_the_content_wherever_it_lies(tmp_path):
    windows = made()
    windows.save(tmp_path / "w")
    back = Windows.load(tmp_path / "w")
    # As it was first defined: run folders name it.
    digest = hashlib.sha256(SIGNAL.hash.encode() + windows.x.tobytes() + windows.y.tobytes())
    digest.update("\n".join([*windows.subject, *windows.session, "rest", "task"]).encode())
    assert back.hash == windows.hash == digest.hexdigest()[:16]
    mask = windows.y == 1
    assert back.select(mask).hash == windows.select(np.flatnonzero(mask)).hash != back.hash
    assert replace(back, y=1 - back.y).hash == replace(windows, y=1 - windows.y).hash != back.hash


def test_a_mask_leaves_the_samples_on_disk(tmp_path):
    made().save(tmp_path / "w")
    back = Windows.load(tmp_path / "w")
    odd = back.select(back.y == 1)
    assert isinstance(odd.x, Rows)
    np.testing.assert_array_equal(odd.x, made().x[1::2])
    later = odd.select(odd.subject == "S2")
    assert isinstance(later.x, Rows)
    np.testing.assert_array_equal(later.x, made().x[41::2])
    neighbours = back.select(back.subject == "S1")
    assert isinstance(neighbours.x, np.memmap)
    assert np.shares_memory(neighbours.x, back.x)
    later.save(tmp_path / "later")
    assert Windows.load(tmp_path / "later").hash == later.hash


def test_windows_of_two_contracts_do_not_mix():
    windows = made()
    other = Windows(
        windows.x, windows.y, windows.subject, windows.session, windows.labels,
        SIGNAL.model_copy(update={"reference": "average"}),
    )  # fmt: skip
    with pytest.raises(InputError, match="reference: as-recorded != average"):
        concatenate([windows, other])
    assert len(concatenate([windows, windows])) == 2 * len(windows)


def test_cross_subject_split_shares_no_subject():
    parts = split_windows(
        made(), "cross_subject", {"train": ("S0",), "val": ("S1",), "test": ("S2",)}
    )
    assert {name: part.subjects for name, part in parts.items()} == {
        "train": ("S0",), "val": ("S1",), "test": ("S2",),
    }  # fmt: skip
    assert [len(part) for part in parts.values()] == [20, 20, 20]


def test_subjects_in_no_split_are_left_out():
    groups = {"train": ("S0",), "val": ("S3",), "test": ("S2",)}
    parts = split_windows(made(n_subjects=4), "cross_subject", groups)
    assert not any("S1" in part.subjects for part in parts.values())


def test_cross_session_split_goes_by_session():
    parts = split_windows(
        made(n_sessions=3), "cross_session", {"train": ("0",), "val": ("1",), "test": ("2",)}
    )
    assert [set(part.session) for part in parts.values()] == [{"0"}, {"1"}, {"2"}]


def test_within_session_split_is_in_order_of_time_and_complete():
    windows = made()
    parts = split_windows(windows, "within_session", {})
    assert [len(p) for p in parts.values()] == [36, 12, 12]
    assert set().union(*(numbers(p) for p in parts.values())) == numbers(windows)
    for subject in windows.subjects:
        for session in ("0", "1"):
            first, later = (
                [n for n in numbers(parts[name]) if windows.subject[n] == subject
                 and windows.session[n] == session]
                for name in ("train", "test")
            )  # fmt: skip
            assert max(first) < min(later)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            {"train": ("S0", "S1"), "val": ("S1",), "test": ("S2",)},
            r"subject 'S1' stands twice in the splits \(found train and val\)",
        ),
        (
            {"train": ("S0",), "val": ("S1",), "test": ("S9",)},
            r"subject 'S9' of split 'test' is not in the data \(allowed S0, S1, S2\)",
        ),
    ],
)
def test_leaks_and_unknown_subjects_are_refused(groups, message):
    with pytest.raises(InputError, match=message):
        split_windows(made(), "cross_subject", groups)


def test_a_split_without_a_class_is_refused():
    windows = made()
    only_rest = windows.select((windows.subject != "S1") | (windows.y == 0))
    with pytest.raises(InputError, match="split 'val' holds no window of class task"):
        split_windows(
            only_rest, "cross_subject", {"train": ("S0",), "val": ("S1",), "test": ("S2",)}
        )


def test_the_teachers_own_subjects_are_a_split_where_given():
    groups = {"train": ("S0",), "val": ("S1",), "test": ("S2",), "teacher": ("S3",)}
    parts = split_windows(made(n_subjects=4), "cross_subject", groups)
    assert parts["teacher"].subjects == ("S3",)
    assert parts["train"].subjects == ("S0",)
    with pytest.raises(InputError, match=r"'S0' stands twice .*\(found train and teacher\)"):
        split_windows(made(), "cross_subject", {**groups, "teacher": ("S0",)})


@pytest.mark.parametrize("n", [2, 3, 6, 7, 12, 25, 59, 60])
def test_labels_are_kept_evenly_over_classes_and_subjects(n):
    windows = made()  # 3 subjects, 20 windows each
    chosen = windows.select(label_subset(windows, n, seed=5))
    assert len(chosen) == n
    assert np.ptp(np.bincount(chosen.y, minlength=2)) <= 1
    by_subject = [int(np.sum(chosen.subject == name)) for name in windows.subjects]
    assert np.ptp(by_subject) <= 1
    for label in (0, 1):
        here = [int(np.sum((chosen.subject == s) & (chosen.y == label))) for s in windows.subjects]
        assert np.ptp(here) <= 1


def test_more_labels_contain_fewer_and_the_seed_decides():
    windows = made(n_subjects=5)
    masks = [label_subset(windows, n, seed=1) for n in range(2, len(windows) + 1)]
    for less, more in pairwise(masks):
        assert not np.any(less & ~more)
    np.testing.assert_array_equal(masks[8], label_subset(windows, 10, seed=1))
    assert np.any(masks[8] != label_subset(windows, 10, seed=2))


def test_a_small_class_or_subject_gives_all_it_has():
    windows = made()
    few = np.flatnonzero((windows.subject != "S1") | (windows.y == 0))
    few = few[(windows.y[few] == 0) | (np.arange(len(few)) < 8)]  # 4 windows of task, all of S0
    rare = windows.select(few)
    assert np.bincount(rare.y).tolist() == [30, 4]
    chosen = rare.select(label_subset(rare, 20, seed=0))
    assert np.bincount(chosen.y).tolist() == [16, 4]


@pytest.mark.parametrize("n", [1, 61])
def test_a_number_of_labels_that_does_not_fit_is_refused(n):
    with pytest.raises(
        InputError, match=rf"labelled: .*\(found {n}, allowed 2 \(one a class\) to 60"
    ):
        label_subset(made(), n, seed=0)
