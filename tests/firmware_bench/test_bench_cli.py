"""Both commands as a user runs them: exit codes, one-line errors, files written whole."""

import json
import shutil
import subprocess
import sys
import time

import pytest
from artefacts import SHARED, flash, ratio, results
from click.testing import CliRunner

from firmware_bench.cli import bench, gate
from firmware_bench.results import figure, save

BUDGETS = """\
[[budget]]
target = "nucleo-l4r5zi"
model = "student"
metric = "flash_bytes"
limit = "128 KiB"

[[budget]]
target = "host"
model = "ratio"
metric = "latency_ratio"
limit = "5x"
"""
MILLISECONDS = """
[[budget]]
target = "host"
model = "student"
metric = "latency_median"
limit = "5 ms"
"""


def run_gate(folder, *measurements, budgets=BUDGETS, more=()):
    save(folder / "results.json", results(*measurements, environment=SHARED))
    (folder / "budgets.toml").write_text(budgets)
    args = [str(folder / "results.json"), "--budgets", str(folder / "budgets.toml"), *more]
    return CliRunner().invoke(gate, args)


@pytest.mark.parametrize(
    ("situation", "measurements", "budgets", "code", "word"),
    [
        ("pass", [flash(1000), ratio(6, 7, 8)], BUDGETS, 0, "pass"),
        ("fail", [flash(10**6), ratio(6, 7, 8)], BUDGETS, 1, "fail: "),
        ("missing", [flash(1000)], BUDGETS, 3, "missing: "),
        ("ratio-too-vague", [flash(1000), ratio(4, 7, 8)], BUDGETS, 3, "inconclusive: "),
        (
            "milliseconds-of-a-shared-machine",
            [
                flash(1000),
                ratio(6, 7, 8),
                figure("host", "student", "latency_median", 1.0, "measured"),
            ],
            BUDGETS + MILLISECONDS,
            3,
            "inconclusive: ",
        ),
        ("fail-outweighs-missing", [flash(10**6)], BUDGETS, 1, "fail: "),
        ("bad-budget", [flash(1)], BUDGETS.replace("128 KiB", "128 KB"), 2, "ambiguous"),
        ("no-budget", [flash(1)], "", 2, "no budget in this file"),
    ],
)
def test_situations_of_the_gate(tmp_path, situation, measurements, budgets, code, word):
    found = run_gate(tmp_path, *measurements, budgets=budgets)
    assert found.exit_code == code, found.output
    assert word in found.output
    assert (tmp_path / "report.html").exists() == (code != 2)
    if code != 2:
        assert f"report: {tmp_path / 'report.html'}" in found.output


def test_gate_writes_the_report_where_told_and_json_for_programs(tmp_path):
    page = tmp_path / "pages" / "x.html"
    found = run_gate(tmp_path, flash(10**6), more=["--json", "--report", str(page)])
    data = json.loads(found.output)
    assert found.exit_code == data["exit_code"] == 1
    assert [line["status"] for line in data["verdicts"]] == ["fail", "missing"]
    assert data["report"] == str(page)
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_gate_on_results_that_are_none(tmp_path):
    (tmp_path / "results.json").write_text("{")
    (tmp_path / "budgets.toml").write_text(BUDGETS)
    args = [str(tmp_path / "results.json"), "--budgets", str(tmp_path / "budgets.toml")]
    found = CliRunner().invoke(gate, args)
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert found.output.startswith("dlink-gate: error: ")


def test_bench_then_gate_on_the_real_artefact(tmp_path, artefact_folder):
    output = tmp_path / "results.json"
    args = [str(artefact_folder), "-t", "host", "-o", str(output), "--runs", "20"]
    found = CliRunner().invoke(bench, args)
    assert found.exit_code == 0, found.output
    assert "student fp32.onnx" in found.output
    assert "0.650 ± 0.008" in found.output
    data = json.loads(output.read_text())
    assert data["manifest"]["name"] == "eegmat"
    assert data["training"]["router"]["entropy"] == 0.92
    budgets = tmp_path / "budgets.toml"
    budgets.write_text(
        BUDGETS[BUDGETS.index("\n\n") :].replace('"5x"', '"2x"\nformat = "fp32.onnx"')
    )
    judged = CliRunner().invoke(gate, [str(output), "--budgets", str(budgets)])
    assert judged.exit_code == 0, judged.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-t", "rpi4"], 'Did you mean "rpi4b"?'),
        (["-t", "rpi5"], "nothing leads to this board"),
        (["-o", "/proc/none/results.json"], "output cannot be written"),
    ],
)
def test_bench_refuses_in_one_line_before_measuring(tmp_path, artefact_folder, args, message):
    command = [str(artefact_folder), "-o", str(tmp_path / "results.json"), *args]
    found = CliRunner().invoke(bench, command)
    assert (found.exit_code, found.output.count("\n")) == (2, 1)
    assert message in found.output
    assert not (tmp_path / "results.json").exists()


def test_bench_names_a_file_that_differs(tmp_path, artefact_folder):
    copy = tmp_path / "copy"
    shutil.copytree(artefact_folder, copy)
    with (copy / "student.fp32.onnx").open("r+b") as file:
        file.write(b"\x00")
    found = CliRunner().invoke(bench, [str(copy), "-o", str(tmp_path / "results.json")])
    assert found.exit_code == 2
    assert "student.fp32.onnx: file differs from the manifest" in found.output


@pytest.mark.parametrize("command", ["bench", "gate"])
def test_help_is_quick_imports_nothing_heavy_and_shows_an_example(command):
    code = (
        f"import sys; from firmware_bench.cli import {command} as c\n"
        "try: c(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'onnx', 'matplotlib', 'pydantic', 'jinja2'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert time.perf_counter() - start < 2  # 0.1 s on an idle machine
    assert "Example" in done.stdout
    assert f"dlink-{command} " in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--ssh", "pi@x", "--rehearse", "arm64"], "a board is reached in one way"),
        (["--prepare"], "no board to prepare"),
        (["-t", "rpi4b", "--ssh", "-oProxyCommand=touch /tmp/x"], "-oProxyCommand"),
        (["--meter", "watts.csv"], "a meter's file is of no use"),
        (["--ssh", "pi@x"], "one Linux board at a time"),
        (["-t", "rpi4b", "-t", "rpi5", "--rehearse", "arm64"], "one Linux board at a time"),
    ],
)
def test_options_of_a_linux_board_that_contradict_each_other(artefact_folder, options, words):
    done = CliRunner().invoke(bench, [str(artefact_folder), *options])
    assert done.exit_code == 2, done.output
    assert words in done.output


def test_a_folder_to_run_by_hand_is_written_and_taken_over(artefact_folder, tmp_path):
    out = tmp_path / "work"
    done = CliRunner().invoke(
        bench, [str(artefact_folder), "-t", "rpi4b", "--runs", "3", "--board-folder", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert f"--from-board {out}" in done.output
    assert {"run.py", "job.json", "golden.npz"} <= {path.name for path in out.iterdir()}
    early = CliRunner().invoke(
        bench, [str(artefact_folder), "-t", "rpi4b", "--from-board", str(out)]
    )
    assert early.exit_code == 2
    assert "results.json" in early.output


@pytest.mark.parametrize("name", ["live", "fleet", "history", "fit"])
def test_the_other_commands_are_there(name):
    assert name in CliRunner().invoke(bench, ["--help"]).output
    done = CliRunner().invoke(bench, [name, "--help"])
    assert done.exit_code == 0
    assert "Usage:" in done.output
