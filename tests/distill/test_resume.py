"""Training that is killed (kill -9) and resumed ends bit for bit like training that is not."""

import csv
import multiprocessing
import os
import shutil
import signal
import time

import fit_process
import pytest
import torch

from distill.training import history

# Its server imports what takes seconds once; every process is a fork of it.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["distill.training", "distill.cache", "distill.methods.dlink"])


def start(folder, *moment):
    process = CONTEXT.Process(target=fit_process.main, args=(folder, *moment))
    process.start()
    return process


def killed(folder, *moment):
    process = start(folder, *moment)
    process.join(timeout=120)
    return process.exitcode == -signal.SIGKILL


def last(folder):
    return torch.load(folder / "fit" / "checkpoints" / "last.ckpt", weights_only=True)


def epochs(folder):
    """Which epochs each attempt has logged."""
    found = []
    for path in sorted(folder.glob("fit/log/attempt_*/metrics.csv")):
        with path.open(newline="") as handle:
            found.append({int(row["epoch"]) for row in csv.DictReader(handle)})
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The end of a training that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    weights, log = fit_process.train(folder)
    return folder, weights, log


def check_same_end(folder, whole):
    """Best weights, last weights, optimiser and log are equal, and nothing half-written is left."""
    other, weights, log = whole
    found, found_log = fit_process.train(folder)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[key], weights[key]) for key in weights)
    one, two = last(folder), last(other)
    assert all(torch.equal(one["state_dict"][k], v) for k, v in two["state_dict"].items())
    for a, b in zip(one["optimizer_states"], two["optimizer_states"], strict=True):
        assert a["param_groups"] == b["param_groups"]
        for key, state in b["state"].items():
            assert all(torch.equal(a["state"][key][name], v) for name, v in state.items())
    assert found_log == log
    assert [path for path in folder.rglob("*.part") if path.exists()] == []


def test_resume_after_a_kill_while_the_cache_is_written_and_another_in_an_epoch(whole, tmp_path):
    assert killed(tmp_path, "cache", 20)
    assert [path for path in (tmp_path / "cache").iterdir() if path.name[0] != "."] == []
    assert list((tmp_path / "cache").glob(".*.part"))
    assert killed(tmp_path, "step", 13)  # an epoch has 5 steps: in the third epoch
    assert last(tmp_path)["epoch"] == 1
    check_same_end(tmp_path, whole)
    assert epochs(tmp_path) == [{0, 1}, {2, 3, 4}]


# The first three epochs save twice: as the best so far, then as the last.
@pytest.mark.parametrize(("moment", "n"), [("save", 1), ("save", 6), ("saved", 5)])
def test_resume_after_a_kill_around_a_checkpoint(whole, tmp_path, moment, n):
    assert killed(tmp_path, moment, n)
    check_same_end(tmp_path, whole)
    first, second = epochs(tmp_path)
    assert len(first & second) <= 1  # at most one epoch is done twice
    assert first | second == set(range(5))


def test_resume_after_a_kill_from_outside(whole, tmp_path):
    process = start(tmp_path)
    checkpoint = tmp_path / "fit" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    check_same_end(tmp_path, whole)


def test_resume_remembers_the_best_epoch_in_a_folder_that_has_moved(whole, tmp_path):
    assert killed(tmp_path / "here", "saved", 7)
    assert last(tmp_path / "here")["epoch"] == 3
    best = torch.load(tmp_path / "here/fit/checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] == 2  # a resume that forgot it would take the fifth, the worse
    shutil.move(tmp_path / "here", tmp_path / "there")
    check_same_end(tmp_path / "there", whole)


def test_resume_of_a_finished_training_changes_nothing(whole):
    folder, weights, log = whole
    before = history(folder / "fit")
    again, _ = fit_process.train(folder)
    assert all(torch.equal(again[key], value) for key, value in weights.items())
    assert history(folder / "fit") == before == log
