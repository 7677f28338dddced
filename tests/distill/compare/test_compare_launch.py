"""Launchers run real commands: on this machine, through submitit without a cluster, through Ray."""

import importlib.util
import signal
import sys
import time

import pytest

from distill.compare.launch import cores, environment, make_launcher
from distill.compare.launch_processes import ProcessLauncher
from distill.compare.launch_ray import RayLauncher
from distill.compare.launch_slurm import SlurmLauncher
from targets.errors import InputError


def ended(handle, limit_s=60):
    deadline = time.monotonic() + limit_s
    while handle.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return handle.poll()


def launchers():
    missing = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no ray")
    return [
        pytest.param(lambda _folder: ProcessLauncher(), id="processes"),
        pytest.param(lambda folder: SlurmLauncher(folder, {}, cluster="local"), id="submitit"),
        pytest.param(lambda _folder: RayLauncher(), id="ray", marks=[missing, pytest.mark.slow]),
    ]


@pytest.fixture(params=launchers())
def launcher(request, tmp_path):
    found = request.param(tmp_path / "own")
    yield found
    found.close()


def test_output_status_and_threads(launcher, tmp_path):
    code = "import os, sys; print(os.environ['OMP_NUM_THREADS'], sys.argv[1]); sys.exit(4)"
    log = tmp_path / "a.log"
    log.write_text("before\n")
    good = launcher.start([sys.executable, "-c", "print('µ')"], log, 1)
    assert ended(good) == 0
    bad = launcher.start([sys.executable, "-c", code, "$HOME; ls"], log, 1)
    assert ended(bad) == 4
    assert log.read_text() == "before\nµ\n1 $HOME; ls\n"


def test_a_stop_reaches_the_command(launcher, tmp_path):
    code = ("import time, pathlib, sys\nprint('started', flush=True)\n"
            "try: time.sleep(60)\n"
            "except KeyboardInterrupt: pathlib.Path(sys.argv[1]).write_text('clean')")  # fmt: skip
    log, left = tmp_path / "a.log", tmp_path / "left"
    handle = launcher.start([sys.executable, "-c", code, str(left)], log, 1)
    deadline = time.monotonic() + 30
    while not (log.exists() and log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    handle.stop()
    ended(handle)
    deadline = time.monotonic() + 10
    while not left.exists():  # submitit's worker ends its command a moment later
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_is_gone_can_be_stopped(tmp_path):
    handle = ProcessLauncher().start([sys.executable, "-c", ""], tmp_path / "log", 1)
    assert ended(handle) == 0
    handle.stop()
    handle.stop(now=True)


def test_stop_now_leaves_no_choice(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    handle = ProcessLauncher().start([sys.executable, "-c", code], tmp_path / "log", 1)
    time.sleep(0.2)
    handle.stop(now=True)
    assert ended(handle) == -signal.SIGKILL


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    """Commands of Slurm that only note what they were given; yields the folder of notes."""
    tools, notes = tmp_path / "tools", tmp_path / "notes"
    tools.mkdir(), notes.mkdir()
    for name, text in {
        "srun": "",
        "sbatch": f'cp "$1" {notes}/sbatch; echo "Submitted batch job 12"',
        "sacct": 'echo "JobID|State"; echo "12|RUNNING"',
        "scancel": f'echo "$@" > {notes}/scancel',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return notes


def test_slurm_is_asked_for_what_was_given(fake_slurm, tmp_path):
    launcher = SlurmLauncher(tmp_path / "own", {"partition": "gpu", "mem": "8G"})
    job = launcher.start([sys.executable, "-c", ""], tmp_path / "log", 3)
    script = (fake_slurm / "sbatch").read_text()
    for line in ("partition=gpu", "mem=8G", "cpus-per-task=3", "time=240", "job-name=dlink"):
        assert f"#SBATCH --{line}\n" in script
    assert job.poll() is None
    job.stop()
    assert (fake_slurm / "scancel").read_text().strip() == "12"


def test_an_option_that_slurm_does_not_know_is_refused(fake_slurm, tmp_path):
    with pytest.raises(InputError, match=r"submitit refuses: .*partitoin"):
        SlurmLauncher(tmp_path, {"partitoin": "gpu"})


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_queued_again(tmp_path):
    """submitit's own local queue: the signal comes after one second of sixty."""
    code = ("import pathlib, sys, time\nfirst = pathlib.Path(sys.argv[1])\n"
            "if first.exists(): print('resumed'); sys.exit(0)\n"
            "first.touch()\n"
            "try: time.sleep(60)\n"
            "except KeyboardInterrupt: print('time is up', flush=True)")  # fmt: skip
    launcher = SlurmLauncher(tmp_path / "own", {}, cluster="local")
    launcher._executor._executor.parameters.update(timeout_min=1, signal_delay_s=59)
    log = tmp_path / "a.log"
    assert ended(launcher.start([sys.executable, "-c", code, str(tmp_path / "x")], log, 1)) == 0
    assert log.read_text() == "time is up\nresumed\n"


def test_without_slurm_or_an_extra_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match='Could not detect "srun"'):
        make_launcher("slurm", tmp_path, {})
    with pytest.raises(InputError, match="only --launcher slurm has such options"):
        make_launcher("processes", tmp_path, {"time": "1"})
    for name, package in {"ray": "ray", "slurm": "submitit"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(InputError, match=rf"{package} is not installed.*'\.\[{name}\]'"):
            RayLauncher() if name == "ray" else SlurmLauncher(tmp_path, {})


def test_environment_and_cores():
    assert environment(2)["MKL_NUM_THREADS"] == "2"
    assert cores() >= 1
    assert isinstance(make_launcher("processes", None, {}), ProcessLauncher)
