"""The history's commands as a user runs them."""

import csv
import json

import pytest
from artefacts import QUIET, SHARED, flash, results
from click.testing import CliRunner

from firmware_bench import results as files
from firmware_bench.history import export as tables
from firmware_bench.history.cli import history
from firmware_bench.history.figures import Filter
from firmware_bench.history.plot import commits, panels, plot
from firmware_bench.history.store import History
from firmware_bench.results import Interval, figure
from targets.errors import InputError

A, B, C = "a" * 40, "b" * 40, "c" * 40


def taken(number, flash_bytes, ms, environment=QUIET):
    found = results(
        flash(flash_bytes, format="c int8", runtime="gcc 12 -> qemu 7"),
        figure(
            "host", "student", "latency_median", ms, "measured", format="fp32.onnx",
            runtime="onnxruntime 1.31.1",
            interval=Interval(low=ms - 0.1, high=ms + 0.1, kind="95 % CI"),
        ),
        figure("nucleo-l4r5zi", "student", "latency_median", 40.0 + number, "measured"),
        figure("host", "student", "latency_median", 3.0, "published", format="fp32.onnx"),
        environment=environment,
    )  # fmt: skip
    return found.model_copy(update={"created": f"2026-11-2{number}T12:00:00+00:00"})


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "history.sqlite"
    with History(path, create=True) as found:
        found.add(taken(0, 1000, 2.0), commit=A)
        found.add(taken(1, 1100, 2.5), commit=B)
        found.add(taken(2, 1100, 1.0, SHARED), commit=C)
    return path


def run(db, *args):
    return CliRunner().invoke(history, ["--db", str(db), *map(str, args)])


def test_add_then_list(tmp_path):
    path, db = tmp_path / "results.json", tmp_path / "deep" / "history.sqlite"
    files.save(path, taken(0, 1000, 2.0))
    found = run(db, "add", path, path)
    assert found.exit_code == 0, found.output
    assert found.output.splitlines() == [
        f"{path}: 0123abc: 4 figures",
        f"{path}: 0123abc: is in already",
    ]
    assert "host, nucleo-l4r5zi" in run(db, "list").output


def test_a_faulty_file_keeps_all_out(tmp_path):
    path, db = tmp_path / "results.json", tmp_path / "history.sqlite"
    files.save(path, taken(0, 1000, 2.0))
    (tmp_path / "bad.json").write_text("{")
    found = run(db, "add", path, tmp_path / "bad.json")
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert not db.exists()


def test_show_over_commits(db):
    found = run(db, "show", "--metric", "flash_bytes", "--target", "nucleo-l4r5zi")
    assert found.exit_code == 0, found.output
    lines = [line for line in found.output.splitlines() if "emulated" in line]
    assert [line.split()[0] for line in lines] == ["a" * 10, "b" * 10, "c" * 10]
    found = run(db, "show", "--metric", "latency_median", "--evidence", "measured", "--json",
                "--last", "1", "--target", "host")  # fmt: skip
    (one,) = json.loads(found.output)
    assert (one["commit"], one["value"], one["valid"]) == (C, 1.0, False)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["show", "--metric", "latency_medium"], 'Did you mean "latency_median"?'),
        (["show", "--target", "rpi5"], "no such figure"),
        (["compare", "a", "d"], "no results of this commit"),
        (["plot", "-o", "history.txt"], "not a picture"),
        (["plot", "--metric", "energy"], "nothing to draw"),
        (["export"], "nothing to write"),
        (["add", "none.json"], "not found"),
        (["add", "none.json", "--commit", "a b"], "not a commit"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(db, args, words):
    found = run(db, *args)
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert words in found.output


def test_compare_tells_changes_and_may_fail(db):
    found = run(db, "compare", "a", "b")
    assert found.exit_code == 0, found.output
    rows = {line.split()[0]: line for line in found.output.splitlines() if "%" in line}
    assert "+10 %" in found.output
    assert "worse" in rows
    assert "2 worse" in found.output.splitlines()[-1]
    assert run(db, "compare", "a", "b", "--fail").exit_code == 1
    found = run(db, "compare", "b", "c", "--fail")
    assert found.exit_code == 0
    assert "indicative" in found.output


def test_panels_are_of_targets_and_lines_keep_evidence_apart(db):
    with History(db) as found:
        figures = found.figures(Filter(metric="latency_median"))
    drawn = panels(figures)
    assert {place: [line.label for line in lines] for place, lines in drawn.items()} == {
        "host": [
            "student fp32.onnx onnxruntime, measured",
            "student fp32.onnx, published",
        ],
        "nucleo-l4r5zi": ["student, measured"],
    }
    assert [one.valid for one in drawn["host"][0].figures] == [True, True, False]
    assert commits(figures) == ["a" * 10, "b" * 10, "c" * 10]


def test_what_is_not_valid_is_drawn_hollow(db, tmp_path):
    from matplotlib.figure import Figure as Canvas

    from firmware_bench.history.plot import _draw

    with History(db) as found:
        figures = found.figures(Filter(metric="latency_median", evidence="measured"))
    axes = Canvas().subplots()
    _draw(axes, panels(figures)["host"], commits(figures))
    marks = {
        line.get_markerfacecolor(): list(line.get_xdata())
        for line in axes.lines
        if line.get_linestyle() == "None" and len(line.get_xdata())
    }
    assert marks == {"C0": [0, 1], "none": [2]}


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_plot_writes_a_picture(db, tmp_path, suffix, start):
    out = tmp_path / f"history{suffix}"
    found = run(db, "plot", "-o", out)
    assert found.exit_code == 0, found.output
    assert out.read_bytes().startswith(start)


def test_a_failed_plot_leaves_the_old_one(db, tmp_path):
    out = tmp_path / "history.png"
    out.write_text("old")
    with pytest.raises(InputError, match="nothing to draw"):
        plot(out, [], "latency_median")
    assert out.read_text() == "old"


def test_export_as_csv_and_json(db, tmp_path):
    out, data = tmp_path / "h.csv", tmp_path / "h.json"
    found = run(db, "export", "--csv", out, "--json", data, "--metric", "flash_bytes")
    assert found.exit_code == 0, found.output
    with out.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == tables.COLUMNS
    assert [(row["commit"], row["value"]) for row in rows] == [
        (A, "1000"), (B, "1100"), (C, "1100"),
    ]  # fmt: skip
    assert [one["value"] for one in json.loads(data.read_text())] == [1000, 1100, 1100]


def test_export_as_parquet(db, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "h.parquet"
    assert run(db, "export", "--parquet", out).exit_code == 0
    found = pq.read_table(out).to_pydict()
    with History(db) as opened:
        figures = opened.figures()
    assert found["value"] == [float(one.value) for one in figures]
    assert found["valid"] == [one.valid for one in figures]
    assert found["low"] == [one.low for one in figures]


def test_parquet_without_pyarrow_says_what_to_do(db, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    found = run(db, "export", "--parquet", tmp_path / "h.parquet")
    assert found.exit_code == 2
    assert "pip install pyarrow" in found.output
