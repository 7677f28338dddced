"""Live workers, warm-up and blocks in turn."""

import os

import pytest
from artefacts import onnx_model

from firmware_bench.protocol import WARM_BLOCKS, Worker, interleave, warm_up
from targets.errors import InputError


class Scripted:
    """A runner whose times follow a script; keeps a diary of who ran when."""

    def __init__(self, name, times, diary):
        self.name, self.times, self.diary = name, iter(times), diary

    def run(self, count):
        self.diary.append((self.name, count))
        return [next(self.times)] * count


def test_warm_up_ends_when_the_median_settles():
    diary = []
    assert warm_up(Scripted("a", [900, 500, 300, 290, 100], diary), 5)
    assert diary == [("a", 5)] * 4


def test_warm_up_that_never_settles_says_so():
    diary = []
    assert not warm_up(Scripted("a", [2**n for n in range(20, 0, -1)], diary), 5)
    assert len(diary) == WARM_BLOCKS


def test_blocks_alternate_and_the_first_rotates():
    diary = []
    runners = {name: Scripted(name, range(1, 99), diary) for name in "abc"}
    steps = []
    times = interleave(runners, 45, steps.append)
    assert [name for name, _ in diary[:9]] == list("abcbcacab")
    assert {count for _, count in diary} == {3}
    assert {name: len(blocks) for name, blocks in times.items()} == dict.fromkeys("abc", 20)
    assert times["b"][0] == [1, 1, 1]
    assert steps[-1] == "round 20 of 20"


def test_fewer_runs_than_rounds():
    diary = []
    times = interleave({"a": Scripted("a", range(9), diary)}, 3)
    assert times["a"] == [[0], [1], [2]]


def test_a_worker_runs_a_model_in_a_process_of_its_own(artefact_folder):
    windows = artefact_folder / "golden.npz"
    with Worker("onnx", artefact_folder / "student.fp32.onnx", windows) as worker:
        times = worker.run(7)
        assert len(times) == 7
        assert min(times) > 0
        memory = worker.memory()
        assert worker._child._process.pid != os.getpid()
        assert 10e6 < memory["rss"] <= memory["peak_rss"] < 1e9
    assert worker._child._process.returncode == 0


def test_a_larger_model_takes_more_memory_than_the_bare_runtime(artefact_folder):
    windows = artefact_folder / "golden.npz"
    peaks = {}
    for name in (None, "teacher.fp32.onnx"):
        model = artefact_folder / name if name else None
        with Worker("onnx", model, windows) as worker:
            if name:
                worker.run(3)
            peaks[name] = worker.memory()["peak_rss"]
    weights = (artefact_folder / "teacher.fp32.onnx").stat().st_size
    assert peaks["teacher.fp32.onnx"] - peaks[None] > weights


def test_a_model_the_runtime_refuses_is_named(tmp_path, artefact_folder):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(InputError, match=r"broken\.onnx: the model cannot be run"):
        Worker("onnx", path, artefact_folder / "golden.npz")


def test_a_process_that_dies_is_an_error_that_names_the_model(tmp_path, artefact_folder):
    path = tmp_path / "m.onnx"
    onnx_model(path, hidden=4, layers=1)
    with Worker("onnx", path, artefact_folder / "golden.npz") as worker:
        worker._child._process.kill()
        with pytest.raises(InputError, match=r"m\.onnx: the process .* ended: SIGKILL"):
            worker.run(1)
