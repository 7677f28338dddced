"""A step is done once for the same inputs, and again for others or after damage."""

import pytest

from export import store
from export.store import Store


class Counting:
    def __init__(self, content=b"made"):
        self.content, self.calls = content, 0

    def __call__(self):
        self.calls += 1
        return self.content


def test_the_same_key_is_made_once(tmp_path):
    make = Counting()
    for _ in range(3):
        found = Store(tmp_path).bytes("trace", {"weights": "a"}, make)
    assert found == b"made"
    assert make.calls == 1


@pytest.mark.parametrize("other", [{"weights": "b"}, {"weights": "a", "shape": (1, 2)}])
def test_another_key_is_made_anew(tmp_path, other):
    make = Counting()
    kept = Store(tmp_path)
    kept.bytes("trace", {"weights": "a"}, make)
    kept.bytes("trace", other, make)
    kept.bytes("observe", {"weights": "a"}, make)
    assert make.calls == 3
    assert kept.made == ["trace", "trace", "observe"]
    assert kept.reused == []


def test_other_source_makes_it_anew(tmp_path, monkeypatch):
    make = Counting()
    Store(tmp_path).bytes("trace", {}, make)
    monkeypatch.setattr(store, "_code", lambda: "changed")
    Store(tmp_path).bytes("trace", {}, make)
    assert make.calls == 2


def test_a_damaged_entry_is_made_anew(tmp_path):
    make = Counting(bytes(1000))
    Store(tmp_path).bytes("trace", {}, make)
    (path,) = tmp_path.glob("trace/*")
    for damage in (path.read_bytes()[:500], b"", path.read_bytes()[:-1] + b"x"):
        path.write_bytes(damage)
        assert Store(tmp_path).bytes("trace", {}, make) == bytes(1000)
    assert make.calls == 4


def test_without_a_folder_nothing_is_kept_and_a_bad_one_costs_nothing(tmp_path):
    make = Counting()
    for folder in (None, None, tmp_path / "file" / "x"):
        (tmp_path / "file").write_text("in the way")
        assert Store(folder).bytes("trace", {}, make) == b"made"
    assert make.calls == 3


def test_json_survives(tmp_path):
    value = {"rungs": [1, 2.5, None], "name": "µV"}
    assert Store(tmp_path).json("ladder", {}, lambda: value) == value
    assert Store(tmp_path).json("ladder", {}, lambda: None) == value


def test_the_oldest_go_when_it_grows_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "MAX_BYTES", 3000)
    kept = Store(tmp_path)
    for k in range(5):
        kept.bytes("trace", {"k": k}, Counting(bytes(1000)))
    assert sum(p.stat().st_size for p in tmp_path.glob("*/*")) <= 3000
    again = Counting(bytes(1000))
    Store(tmp_path).bytes("trace", {"k": 4}, again)
    assert again.calls == 0


def test_the_folder_can_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv("DLINK_CACHE_DIR", str(tmp_path))
    assert store.default_folder() == tmp_path
    monkeypatch.delenv("DLINK_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.default_folder() == tmp_path / "dlink" / "export"
