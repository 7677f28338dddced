"""The history's file: whole, once, by many at a time, and of one version."""

import json
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from artefacts import QUIET, SHARED, flash, ratio, results

from firmware_bench import results as files
from firmware_bench.history.figures import Filter, commit_label, family
from firmware_bench.history.store import History
from firmware_bench.results import Interval, figure
from targets.errors import InputError

COMMIT = "a" * 40


def taken(flash_bytes=1000, ms=2.0, environment=QUIET, created="2026-11-20T12:00:00+00:00", **of):
    """Results as a bench writes them."""
    found = results(
        flash(flash_bytes, format="c int8"),
        ratio(6, 7, 8),
        figure("host", "student", "latency_median", ms, "measured", format="fp32.onnx",
               runtime="onnxruntime 1.31.1",
               interval=Interval(low=ms - 0.1, high=ms + 0.1, kind="95 % CI")),
        figure("host", "student", "model_rss", None, "measured", reason="too small"),
        environment=environment,
    )  # fmt: skip
    return found.model_copy(update={"created": created, **of})


@pytest.fixture
def db(tmp_path):
    return tmp_path / "history.sqlite"


def test_figures_come_out_as_they_went_in(db):
    with History(db, create=True) as history:
        added = history.add(taken(environment=SHARED))
        assert (added.new, added.figures, added.label) == (True, 4, "0123abc")
        assert added.targets == ("host", "nucleo-l4r5zi")
        first, second, third, fourth = history.figures()
    assert (first.metric, first.value, first.evidence) == ("flash_bytes", 1000, "emulated")
    assert isinstance(first.value, int)
    assert (first.commit, first.dirty, first.artefact) == ("0123abc", False, "eegmat")
    assert first.valid
    assert second.valid  # an interleaved ratio holds on a shared machine too
    assert (third.value, third.low, third.high, third.valid) == (2.0, 1.9, 2.1, False)
    assert third.environment.startswith("a shared machine (a virtual machine shares")
    assert (fourth.value, fourth.reason) == (None, "too small")


def test_the_same_results_go_in_once_however_the_file_is_written(tmp_path, db):
    plain = tmp_path / "a.json"
    files.save(plain, taken())
    other = tmp_path / "b.json"
    other.write_text(json.dumps(json.loads(plain.read_text()), sort_keys=True))
    with History(db, create=True) as history:
        assert history.add(files.load(plain)).new
        assert not history.add(files.load(other)).new
        assert history.add(taken(flash_bytes=1001)).new
        assert [one.figures for one in history.results()] == [4, 4]


def test_a_bench_of_this_tree_goes_in(tmp_path, db, artefact_folder):
    from firmware_bench.run import measure

    found = measure(artefact_folder, ["rp2040"])
    path = tmp_path / "results.json"
    files.save(path, found)
    with History(db, create=True) as history:
        added = history.add(files.load(path))
        (instructions,) = history.figures(Filter(metric="instructions", target="rp2040"))
    assert added.figures == len(found.measurements)
    assert instructions.value == found.select(metric="instructions")[0].value
    assert instructions.evidence == "emulated"
    assert instructions.dlink == found.provenance["dlink"]


@pytest.mark.parametrize(
    ("provenance", "manifest", "given", "wanted"),
    [
        ({"git": {"commit": COMMIT, "dirty": True}}, {"git_commit": "x"}, None, (COMMIT, True)),
        ({}, {"exported_with": {"git": {"commit": "e", "dirty": False}}}, None, ("e", False)),
        ({}, {"git_commit": "m", "dirty": True}, None, ("m", True)),
        ({"git": {"commit": None, "dirty": None}}, {}, None, (None, None)),
        ({}, {"git_commit": "m"}, "v1.2", ("v1.2", False)),
        ({}, {}, f"{COMMIT}+dirty", (COMMIT, True)),
    ],
)
def test_where_the_commit_comes_from(db, provenance, manifest, given, wanted):
    one = taken(provenance=provenance)
    one = one.model_copy(update={"manifest": {**one.manifest, "provenance": manifest}})
    with History(db, create=True) as history:
        added = history.add(one, commit=given)
    assert (added.commit, added.dirty) == wanted


def test_boards_of_a_fleet_are_told_apart(db):
    fleet = [
        {"id": "nucleo-l4r5zi@a", "board": "a"},
        {"id": "nucleo-l4r5zi@b", "board": "b"},
        {"id": "host", "board": "here"},
    ]
    found = results(
        *(figure(f"nucleo-l4r5zi@{name}", "student", "stack_bytes", value, "measured")
          for name, value in (("a", 1), ("b", 2))),
        flash(3, "nucleo-l4r5zi@a"),
        figure("host", "student", "latency_median", 1.0, "measured"),
    ).model_copy(update={"provenance": {"fleet": fleet}})  # fmt: skip
    with History(db, create=True) as history:
        history.add(found)
        places = [one.place for one in history.figures()]
        (b,) = history.figures(Filter(board="b"))
    assert places == ["nucleo-l4r5zi a", "nucleo-l4r5zi b", "nucleo-l4r5zi", "host here"]
    assert (b.target, b.value) == ("nucleo-l4r5zi", 2)


def test_a_commit_is_found_by_its_first_digits(db):
    with History(db, create=True) as history:
        for number, commit in enumerate((COMMIT, "ab" * 20, f"{COMMIT}+dirty")):
            history.add(taken(flash_bytes=number), commit=commit)
        assert {one.dirty for one in history.at("aaa")} == {False}
        assert {one.dirty for one in history.at("aaa+dirty")} == {True}
        assert history.at("ab")[0].commit == "ab" * 20
        with pytest.raises(InputError, match="several commits begin so"):
            history.at("a")
        with pytest.raises(InputError, match="no results of this commit"):
            history.at("")
        with pytest.raises(InputError, match="with changes"):
            history.at("ab+dirty")


def test_labels():
    assert commit_label(COMMIT, True) == "aaaaaaaaaa+dirty"
    assert commit_label("v1.2-rc3-long-name", None) == "v1.2-rc3-long-name"
    assert commit_label(None, None) == "no commit"
    assert family("onnxruntime 1.31.1, 2 threads") == "onnxruntime, 2 threads"
    assert family("onnxruntime 1 / ai-edge-litert 2") == "onnxruntime / ai-edge-litert"
    assert family("arm-none-eabi-gcc 12.2 -> qemu 7") == "arm-none-eabi-gcc / qemu"
    assert family("") == ""


def test_files_that_are_no_history(tmp_path, db):
    with pytest.raises(InputError, match="no history here"):
        History(db)
    text = tmp_path / "text"
    text.write_text("not a database at all" * 100)
    with pytest.raises(InputError, match="cannot be used"):
        History(text)
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE t (x)")
    other.commit()
    with pytest.raises(InputError, match="not a history of dlink-bench"):
        History(tmp_path / "other", create=True)
    History(db, create=True).close()
    with sqlite3.connect(db) as later:
        later.execute("PRAGMA user_version = 2")
    with pytest.raises(InputError, match=r"another version \(found 2, allowed 1\)"):
        History(db)
    with pytest.raises(InputError, match="cannot be used"):
        History(Path("/proc/none/history"), create=True)


def _add_many(db, worker, count):
    with History(db, create=True) as history:
        for number in range(count):
            history.add(taken(flash_bytes=1000 * worker + number))
            history.add(taken(flash_bytes=number))  # the same as the others'


def test_many_add_at_once(db):
    count, workers = 8, 4
    context = multiprocessing.get_context("fork")
    started = [
        context.Process(target=_add_many, args=(db, n, count)) for n in range(1, 1 + workers)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * workers
    with History(db) as history:
        assert len(list(history.results())) == count * (workers + 1)
        assert len(history.figures()) == 4 * count * (workers + 1)


ADDING = """
import sys
from pathlib import Path
from firmware_bench import results
from firmware_bench.history.store import History
one = results.load(Path(sys.argv[1]))
many = one.measurements * 2000
with History(Path(sys.argv[2]), create=True) as history:
    for number in range(10 ** 6):
        history.add(one.model_copy(update={"created": str(number), "measurements": many}))
        print(number, flush=True)
"""


def test_a_kill_in_the_middle_leaves_whole_results(tmp_path, db):
    path = tmp_path / "results.json"
    files.save(path, taken())
    for pause in (0.02, 0.11):
        process = subprocess.Popen(
            [sys.executable, "-c", ADDING, str(path), str(db)], stdout=subprocess.PIPE, text=True
        )
        told = [process.stdout.readline(), process.stdout.readline()]
        time.sleep(pause)  # into a transaction: each takes far longer than what lies between two
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert "1\n" in told
        with History(db) as history:
            found = list(history.results())
            assert len(found) >= 2
            assert {one.figures for one in found} == {8000}
            assert len(history.figures()) == 8000 * len(found)
        with sqlite3.connect(db) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with History(db) as history:
        assert history.add(files.load(path)).new
