"""Windows of inputs that are no run: each form, and each fault by name."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from distill.signal import SignalSpec
from distill.windows import Windows
from export.sources import npz
from export.sources.data import find_data, open_data
from export.sources.signal_file import read_contract
from targets.errors import InputError

SIGNAL = SignalSpec(ch_names=("C3", "Cz", "C4"), sfreq=100.0, n_times=50, band=(1.0, 40.0))
N = 12


def arrays(**changed):
    rng = np.random.default_rng(0)
    found = {
        "x": rng.normal(size=(N, 3, 50)).astype(np.float32),
        "y": np.arange(N) % 2,
        "subject": np.repeat(["a", "b", "c"], N // 3),
        "split": np.repeat(["train", "val", "test"], N // 3),
        "labels": np.array(["left", "right"]),
        "signal": np.array(json.dumps(SIGNAL.to_dict())),
    }
    found |= changed
    return {name: value for name, value in found.items() if value is not None}


def written(folder: Path, **changed) -> Path:
    path = folder / "windows.npz"
    np.savez_compressed(path, **arrays(**changed))
    return path


def test_an_npz_gives_contract_labels_and_splits(tmp_path):
    found = open_data(written(tmp_path))
    assert found.signal == SIGNAL
    assert found.labels == ("left", "right")
    assert {name: part.subjects for name, part in found.splits.items()} == {
        "train": ("a",), "val": ("b",), "test": ("c",),
    }  # fmt: skip
    x = np.concatenate([np.asarray(found.splits[k].x) for k in ("train", "val", "test")])
    assert np.array_equal(x, arrays()["x"])
    assert found.splits["val"].y.tolist() == [0, 1, 0, 1]


def test_a_split_may_be_absent(tmp_path):
    found = open_data(written(tmp_path, split=np.full(N, "test")))
    assert list(found.splits) == ["test"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x": None}, "has not the arrays"),
        ({"label": np.array(["left", "right"]), "labels": None}, 'Did you mean "labels"'),
        ({"x": np.zeros((N, 50, 3), np.float32)}, r"allowed float32 \(N, 3, 50\)"),
        ({"x": np.zeros((N, 3, 50), np.int16)}, "x is not what"),
        ({"x": np.where(arrays()["x"] > 2.0, np.nan, arrays()["x"])}, "not finite.*nan in C"),
        ({"y": np.arange(N)}, r"class index a window.*0 to 11.*0 to 1\)"),
        ({"y": np.zeros(N)}, "class index a window"),
        ({"y": np.zeros(3, int)}, "class index a window"),
        ({"subject": np.arange(N)}, "subject must be texts"),
        ({"subject": np.array(["a"])}, "subject must be texts"),
        ({"split": np.repeat(["train", "dev"], N // 2)}, "unknown split.*dev"),
        ({"split": np.repeat(["train", "test"], N // 2)}, "'b' stands in two splits"),
        ({"labels": np.array(["left", "left"])}, "labels hold a class twice"),
        ({"labels": np.array([["left"]])}, "labels must be texts"),
        ({"signal": None}, "--signal FILE"),
        ({"signal": np.array('{"sfreq": 1}')}, "ch_names.*Field required"),
        ({"signal": np.array("[" * 9999)}, "contract is no table"),
        ({"signal": np.array(json.dumps(SIGNAL.to_dict() | {"sfrq": 1}))}, 'Did you mean "sfreq"'),
        ({"subject": np.array(["a", None] * 6, dtype=object)}, "Python objects"),
    ],
)
def test_each_fault_is_named(tmp_path, changed, said):
    path = written(tmp_path, **changed)
    with pytest.raises(InputError, match=said) as caught:
        open_data(path)
    assert str(path) in str(caught.value)


def test_an_array_that_claims_terabytes_is_not_made(tmp_path):
    path = written(tmp_path, x=None)
    header = io.BytesIO()
    claimed = {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 3, 50)}
    np.lib.format.write_array_header_1_0(header, claimed)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(64))
    with pytest.raises(InputError, match="disagrees with its bytes"):
        open_data(path)


def test_an_archive_that_unpacks_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MOST_BYTES", 4096)
    with pytest.raises(InputError, match=r"more memory than .npz windows may.*Windows.save"):
        open_data(written(tmp_path))


def test_damaged_files_are_refused_not_crashed_on(tmp_path):
    path = written(tmp_path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        broken = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        for place in rng.integers(0, len(broken), 4):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            found = open_data(path)
        except InputError:
            continue
        assert found.signal.n_chans == 3


def test_the_contract_from_a_file(tmp_path):
    bare = written(tmp_path, signal=None)
    toml = tmp_path / "signal.toml"
    toml.write_text(
        'labels = ["left", "right"]\n[signal]\nch_names = ["C3", "Cz", "C4"]\nsfreq = 100\n'
        "n_times = 50\nband = [1, 40]\n"
    )
    assert read_contract(toml).signal == SIGNAL
    assert find_data(bare, toml, None).signal == SIGNAL
    only = find_data(None, toml, None)
    assert (only.labels, only.splits) == (("left", "right"), {})
    other = tmp_path / "signal.json"
    other.write_text(json.dumps(SIGNAL.to_dict() | {"unit": "mV", "labels": ["a", "b"]}))
    with pytest.raises(InputError, match="unit: mV != uV"):
        find_data(written(tmp_path), other, None)
    bare = written(tmp_path, signal=None)
    with pytest.raises(InputError, match="class names differ"):
        find_data(bare, other, None)
    other.write_text('{"n_times": -3')
    with pytest.raises(InputError, match="not readable JSON"):
        read_contract(other)
    other.write_text(json.dumps(SIGNAL.to_dict() | {"labels": ["a"]}))
    with pytest.raises(InputError, match=r"at least two class names"):
        read_contract(other)
    with pytest.raises(InputError, match=r"--data.*--signal"):
        find_data(None, None, tmp_path / "weights.pt")


def test_a_saved_folder_with_splits(tmp_path):
    found = open_data(written(tmp_path))
    part = found.splits["test"]
    folder = tmp_path / "saved"
    Windows(arrays()["x"], arrays()["y"], arrays()["subject"], np.full(N, "0"), part.labels,
            SIGNAL).save(folder)  # fmt: skip
    with pytest.raises(InputError, match="splits file not found"):
        open_data(folder)
    (folder / "splits.json").write_text('{"train": ["a", "b"], "test": ["c"]}')
    again = open_data(folder)
    assert {name: len(w) for name, w in again.splits.items()} == {"train": 8, "test": 4}
    for content, said in (
        ('{"train": ["a"], "test": ["a"]}', "'a' stands twice"),
        ('{"train": ["z"]}', "'z' is not in the data"),
        ('{"dev": ["a"]}', "subjects by split"),
        ('["a"]', "subjects by split"),
    ):
        (folder / "splits.json").write_text(content)
        with pytest.raises(InputError, match=said):
            open_data(folder)
    index = json.loads((folder / "index.json").read_text())
    for change in ({"y": [0]}, {"signal": {}}, {"labels": 3}):
        (folder / "index.json").write_text(json.dumps(index | change))
        with pytest.raises(InputError):
            open_data(folder)


def test_a_run_folder_and_the_run_around_a_weights_file(finished_run):
    whole = open_data(finished_run)
    assert set(whole.splits) == {"train", "val", "test"}
    weights = finished_run / "seed_0" / "distilled" / "weights.safetensors"
    around = find_data(None, None, weights)
    assert around.signal == whole.signal
    assert around.arm is not None
    assert around.arm.name == "distilled"
    state = json.loads((finished_run / "run.json").read_text())
    assert around.provenance["data"]["windows_hash"] == state["windows_hash"]
