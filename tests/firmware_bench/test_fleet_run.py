"""Fleets of emulated boards, this machine and boards that fail, each in a process of its own."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from artefacts import TFLITE
from click.testing import CliRunner
from pi_rig import artefact as pi_artefact
from pi_rig import this_machine
from rich.console import Console
from sshd_rig import LoopbackBoard, needs_sshd

from firmware_bench import results as files
from firmware_bench.fleet.boards import Board
from firmware_bench.fleet.cli import fleet
from firmware_bench.fleet.lanes import lane, may_start
from firmware_bench.fleet.measure import measure_board
from firmware_bench.fleet.process import BoardProcess, stop_all
from firmware_bench.fleet.run import run_fleet
from targets.errors import InputError

needs_reference = pytest.mark.skipif(not TFLITE.exists(), reason="skipped: no data")
#: Python leaves SIGINT ignored where whoever started it did.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from firmware_bench.fleet.cli import fleet
fleet()
"""
PICO = Board(name="pico", target="rp2040", emulated=True)
HERE = Board(name="here", target="host", host=True, runs=5)


def refused(name="gone", **extra):
    """A board behind a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (f"Port={port}", "UserKnownHostsFile=/dev/null")
    return Board(name=name, target="rpi4b", ssh="nobody@127.0.0.1", ssh_options=options, **extra)


def boards_file(path, boards):
    lines = []
    for board in boards:
        lines.append("[[board]]")
        for key, value in board.model_dump(mode="json", exclude_unset=True).items():
            lines.append(f"{key} = {json.dumps(value)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def descendants(pid):
    """Processes below `pid`, from /proc."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        direct = [int(word) for word in children.read_text().split()]
    except OSError:
        return []
    return direct + [one for child in direct for one in descendants(child)]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids, seconds=20):
    """Whether all have ended, soon: a signal that was sent has not always arrived."""
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


@needs_reference
def test_one_failing_board_stops_no_other(tmp_path, artefact_folder):
    twin = PICO.model_copy(update={"name": "twin"})
    done = []
    with (tmp_path / "log").open("w+") as log:
        found = run_fleet(
            artefact_folder,
            [PICO, refused(), HERE, twin],
            console=Console(file=log, width=200),
            on_board=lambda board, own: done.append((board.name, own)),
        )
        log.seek(0)
        text = log.read()
    assert found.exit_code == 1
    assert [row.status for row in found.rows] == ["done", "failed", "done", "done"]
    assert "127.0.0.1" in found.rows[1].reason
    assert f"gone: failed: {found.rows[1].reason}" in text
    assert "pico: done in" in text

    ids = [run.target.id for run in found.results.runs]
    assert ids == ["rp2040@pico", "host", "rp2040@twin"]
    (missing,) = found.results.select(target="rpi4b")
    assert (missing.value, missing.metric) == (None, "latency_median")
    assert missing.reason == f"board gone: {found.rows[1].reason}"
    counts = {
        one.target: one.value
        for one in found.results.select(metric="instructions", model="student")
    }
    assert counts["rp2040@pico"] == counts["rp2040@twin"] > 0
    assert found.results.select(target="host", metric="latency_median")
    assert found.results.environment("rp2040@twin").facts["board"] == "twin"
    assert len(found.results.select(metric="params", model="student")) == 1

    files.save(tmp_path / "results.json", found.results)
    assert files.load(tmp_path / "results.json") == found.results
    assert sorted(name for name, _ in done) == ["here", "pico", "twin"]
    own = dict(done)["twin"]
    assert [run.target.id for run in own.runs] == ["rp2040"]
    assert {one.target for one in own.measurements} == {"rp2040", "any"}


def test_entries_of_one_device_run_one_after_the_other(tmp_path, artefact_folder):
    first = refused("first")
    second = first.model_copy(update={"name": "second", "threads": (1, 2)})
    with (tmp_path / "log").open("w+") as log:
        found = run_fleet(artefact_folder, [first, second], console=Console(file=log, width=200))
        log.seek(0)
        said = [line.split(": ")[:2] for line in log.read().splitlines()]
    assert [row.status for row in found.rows] == ["failed", "failed"]
    assert [name for name, _ in said] == ["first", "first", "second", "second"]
    assert said[1][1] == said[3][1] == "failed"
    # two boards of one target, both gone: a figure without a value each
    assert [one.target for one in found.results.select(metric="latency_median")] == [
        "rpi4b@first", "rpi4b@second",
    ]  # fmt: skip


def test_a_process_that_dies_is_a_row_with_its_signal(artefact_folder):
    events = queue.Queue()
    process = BoardProcess(artefact_folder, HERE.model_copy(update={"runs": 10**6}), events)
    try:
        assert events.get(timeout=30) == ("here", {"total": 23})
        below = descendants(process.pid)
        os.kill(process.pid, signal.SIGSEGV)
        answer = {}
        while "error" not in answer:
            _, answer = events.get(timeout=30)
        assert answer["error"].startswith("its process ended with SIGSEGV")
        assert events.get(timeout=30) == ("here", None)
        assert gone(below)
    finally:
        stop_all([process])


@needs_reference
def test_the_command_writes_results_of_all_and_of_each(tmp_path, artefact_folder):
    path = boards_file(tmp_path / "boards.toml", [PICO, refused()])
    out, each = tmp_path / "results.json", tmp_path / "each"
    args = [str(artefact_folder), str(path), "-o", str(out), "--each", str(each)]
    found = CliRunner().invoke(fleet, args)
    assert found.exit_code == 1, found.output
    assert "gone: failed: " in found.output
    assert [one.name for one in each.iterdir()] == ["pico.json"]
    status = {one["board"]: one["status"] for one in files.load(out).provenance["fleet"]}
    assert status == {"pico": "done", "gone": "failed"}
    found = CliRunner().invoke(fleet, [*args, "--only", "pico"])
    assert found.exit_code == 0, found.output
    assert [run.target.id for run in files.load(out).runs] == ["rp2040"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["{folder}/nowhere", "{boards}"], "artefact folder not found"),
        (["{artefact}", "{folder}/none.toml"], "boards file not found"),
        (["{artefact}", "{boards}", "--only", "attic"], "no such board"),
        (["{artefact}", "{boards}", "-o", "/proc/none/results.json"], "cannot be written"),
    ],
)
def test_bad_input_is_exit_code_2(tmp_path, artefact_folder, args, words):
    names = {
        "folder": tmp_path,
        "artefact": artefact_folder,
        "boards": boards_file(tmp_path / "boards.toml", [PICO]),
    }
    found = CliRunner().invoke(fleet, [one.format(**names) for one in args])
    assert found.exit_code == 2
    assert words in found.output


def test_no_board_is_bad_input(artefact_folder):
    with pytest.raises(InputError, match="no board"):
        run_fleet(artefact_folder, [])


def test_a_board_that_takes_too_long_is_given_up(artefact_folder):
    slow = PICO.model_copy(update={"timeout_minutes": 0.01})
    found = run_fleet(artefact_folder, [slow])
    assert found.exit_code == 1
    assert found.rows[0].reason == "took longer than timeout_minutes = 0.01"


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_end_leaves_no_process_behind(tmp_path, artefact_folder, end):
    path = boards_file(
        tmp_path / "boards.toml",
        [HERE.model_copy(update={"runs": 10**6}), refused("a")],
    )
    out = tmp_path / "results.json"
    command = [sys.executable, "-c", COMMAND]
    process = subprocess.Popen(
        [*command, str(artefact_folder), str(path), "-o", str(out)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 60
    below = []
    while time.monotonic() < limit and len(below) < 3:  # a board's process with its models' own
        time.sleep(0.05)
        below = descendants(process.pid)
    assert len(below) >= 3
    os.kill(process.pid, end)
    told, said = process.communicate(timeout=60)
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "stopping: here" in told
        assert "interrupted" in said
    while time.monotonic() < limit and any(map(alive, below)):
        time.sleep(0.05)
    assert not any(map(alive, below))
    assert not out.exists()


def test_one_device_is_one_lane(tmp_path):
    config = tmp_path / "ssh.conf"
    config.write_text("Host short\n  HostName 10.0.0.7\nHost other\n  HostName 10.0.0.8\n")

    def ssh(name, host, *options):
        return Board(name=name, target="rpi4b", ssh=host, ssh_config=config, ssh_options=options)

    short, full = ssh("a", "pi@short"), ssh("b", "root@10.0.0.7")
    other, forwarded = ssh("c", "other"), ssh("d", "short", "Port=2222")
    assert lane(short) == lane(full)
    assert len({lane(short), lane(other), lane(forwarded)}) == 3
    (tmp_path / "tty").touch()
    (tmp_path / "by-id").symlink_to(tmp_path / "tty")
    first, second = (
        Board(name=name, target="rp2040", serial=str(tmp_path / name)) for name in ("tty", "by-id")
    )
    assert lane(first) == lane(second)

    every = (short, full, other, HERE, PICO, first)
    lanes = {board.name: lane(board) for board in every}
    assert not may_start(full, [short], lanes)
    assert may_start(other, [short, HERE], lanes)
    assert not may_start(PICO, [HERE], lanes)
    assert not may_start(HERE, [first], lanes)
    assert may_start(PICO, [first, short], lanes)


@needs_sshd
def test_a_linux_board_gets_the_options_of_its_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loopback = LoopbackBoard(tmp_path / "board")
    try:
        board = Board(
            name="attic", target="rpi5", ssh="board", ssh_config=loopback.options.ssh_config,
            runs=4, threads=(1, 2), runtimes=("onnxruntime",), cold_starts=1, paced_s=0.1,
            hop_s=0.02,
        )  # fmt: skip
        target = this_machine().model_copy(update={"runtimes": board.device().runtimes})
        told = []
        run, found = measure_board(pi_artefact(tmp_path / "a"), board, target, told.append)
        assert loopback.leftovers() == []
    finally:
        loopback.stop()
    assert run.target.id == "rpi5"
    assert told
    timed = [one for one in found if one.metric == "latency_median" and one.value is not None]
    assert {one.runtime.split()[0] for one in timed} == {"onnxruntime"}
    assert [one for one in found if one.metric == "latency_threads"]
