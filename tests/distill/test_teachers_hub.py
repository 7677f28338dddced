"""Checkpoints by hub id, from a cache folder laid out as the hub's client lays it out."""

import sys

import pytest
from teacher_makers import make, scramble

from distill.checkpoints import save_weights, state_hash
from distill.teachers.hub import locate
from targets.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An offline client whose cache holds one commit of one repository, tagged v1."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--lab--teacher"
    (repository / "refs").mkdir(parents=True)
    for ref in ("main", "v1"):
        (repository / "refs" / ref).write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    (snapshot / "weights").mkdir(parents=True)
    return snapshot


def test_a_path_stays_a_path(tmp_path):
    assert locate(tmp_path / "t.pt") == tmp_path / "t.pt"
    assert str(locate("runs/t.pt")) == "runs/t.pt"


@pytest.mark.parametrize("suffix", ["", "@main", "@v1", f"@{COMMIT}"])
def test_a_hub_id_is_found_in_the_cache_and_loads(cache, suffix):
    donor = scramble(make("biot"))
    save_weights(donor.model, cache / "model.safetensors")
    assert locate(f"hf:lab/teacher{suffix}") == cache / "model.safetensors"
    teacher = make("biot", seed=4, checkpoint=f"hf:lab/teacher{suffix}")
    assert state_hash(teacher) == state_hash(donor)


def test_another_file_of_the_repository(cache):
    (cache / "weights" / "base.pth").write_bytes(b"")
    assert locate("hf:lab/teacher/weights/base.pth@v1") == cache / "weights" / "base.pth"


@pytest.mark.parametrize(
    ("text", "named"),
    [("hf:lab/teacher", "model.safetensors"), ("hf:lab/teacher/base.pth", "base.pth"),
     ("hf:lab/other", "model.safetensors"), ("hf:lab/teacher@v2", "model.safetensors")],
)  # fmt: skip
def test_offline_what_the_cache_lacks_is_named(cache, text, named):
    with pytest.raises(InputError) as caught:
        locate(text)
    assert str(caught.value).startswith(f"{text}: hub cannot be reached, and its cache has no ")
    assert f"no {named} of this repository" in str(caught.value)


@pytest.mark.parametrize("text", ["hf:", "hf:teacher", "hf:lab/teacher@", "hf:lab/a b", "hf:/x/y"])
def test_malformed_ids(text):
    with pytest.raises(InputError, match=r"hub id is malformed .*allowed hf:organisation/name"):
        locate(text)


def test_an_id_that_the_client_refuses(cache):
    with pytest.raises(
        InputError, match=r"hub gives no model\.safetensors: .*Check the repository"
    ):
        locate("hf:lab--x/teacher")


def test_without_the_client(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"needs huggingface_hub\. Install it with"):
        locate("hf:lab/teacher")
