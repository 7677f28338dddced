"""A full disk or a kill at any moment leaves the previous artefact or the new one, whole."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from export import manifest

SCRIPT = Path(sys.executable).parent / "dlink-export"
FULL_DISK = Path(__file__).parent / "full_disk.py"
#: The old artefact holds OLD golden windows and the new one NEW: so they are told apart.
OLD, NEW = 8, 9


def options(golden):
    return ["--calibration", "48", "--golden", str(golden)]


def command(run, out):
    return [str(SCRIPT), str(run), "-o", str(out), *options(NEW)]


def golden_windows(artefact):
    """Windows in a whole artefact's golden vectors."""
    manifest.load(artefact)
    with np.load(artefact / "golden.npz", allow_pickle=False) as arrays:
        return len(arrays["windows"])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One folder of made steps for the whole file: exports after the first are quick."""
    return tmp_path_factory.mktemp("steps")


@pytest.fixture(autouse=True)
def use_cache(monkeypatch, no_cache_of_the_user, cache):
    monkeypatch.setenv("DLINK_CACHE_DIR", str(cache))


@pytest.fixture(scope="module")
def old(finished_run, tmp_path_factory, cache):
    """Return a whole artefact with OLD golden windows; do not write into it."""
    out = tmp_path_factory.mktemp("faults") / "old"
    done = subprocess.run(
        [str(SCRIPT), str(finished_run), "-o", str(out), *options(OLD)],
        capture_output=True, text=True, env={**os.environ, "DLINK_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert golden_windows(out) == OLD
    return out


# --- full disk ------------------------------------------------------------------------------------


def own_mounts():
    """Return the command that gives a process its own mounts, or None where it is not allowed."""
    for wrap in (["unshare", "-m"], ["unshare", "-rm"]):
        try:
            done = subprocess.run(
                [*wrap, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
            )
        except FileNotFoundError:
            return None
        if done.returncode == 0:
            return wrap
    return None


def test_a_disk_that_is_too_small(finished_run, old, tmp_path):
    wrap = own_mounts()
    if wrap is None:
        pytest.skip("no right to mount a small file system here")
    done = subprocess.run(
        [*wrap, sys.executable, str(FULL_DISK), str(tmp_path), str(finished_run), str(old),
         *options(NEW)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *refused, last = map(json.loads, filter(lambda s: s.startswith("{"), done.stdout.splitlines()))
    assert len(refused) > 4
    for row in refused:
        assert (row["crash"], row["code"]) == (None, 2), row
        assert len(row["says"]) == 1, row
        assert "disk is full" in row["says"][0]
        assert str(tmp_path / "out") in row["says"][0]
        assert ".part" not in row["says"][0]
    assert all(row["whole"] and row["left"] == ["out"] for row in [*refused, last])
    assert {row["golden"] for row in refused} == {(old / "golden.npz").stat().st_size}
    assert last["code"] == 0, last
    assert last["golden"] > refused[0]["golden"]


@pytest.mark.parametrize(
    "limit", [12_000, *(pytest.param(n, marks=pytest.mark.slow) for n in (1_000, 60_000))]
)
def test_a_limit_on_the_size_of_files(finished_run, old, tmp_path, limit):
    shutil.copytree(old, tmp_path / "out")
    done = subprocess.run(
        command(finished_run, tmp_path / "out"), capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("dlink-export: error: ")
    assert "disk is full (found File too large)" in last
    assert os.listdir(tmp_path) == ["out"]
    assert golden_windows(tmp_path / "out") == OLD


# --- kill -----------------------------------------------------------------------------------------


def announced(run, out):
    """Export to the end; return the seconds after which each step was announced, and the total."""
    start, found = time.monotonic(), []
    with subprocess.Popen(
        command(run, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as job:
        found += [time.monotonic() - start for line in job.stderr if line.startswith(b"  ")]
    assert job.returncode == 0
    return found, time.monotonic() - start


def kill_at_line(run, out, line):
    """Kill the export right after it announced step `line`."""
    with subprocess.Popen(
        command(run, out), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as job:
        steps = (text for text in job.stderr if text.startswith(b"  "))
        for _ in range(line + 1):
            next(steps, None)
        job.kill()
        job.stderr.read()
    return job.returncode


def kill_after(run, out, seconds):
    """Kill the export after so many seconds."""
    job = subprocess.Popen(command(run, out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        return job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.kill()
        return job.wait()


def test_killed_while_it_writes(finished_run, old, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(old, out)
    job = subprocess.Popen(
        command(finished_run, out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    while job.poll() is None and not list(tmp_path.glob(".out.*.part/out/student.*")):
        time.sleep(0.005)
    job.kill()
    assert job.wait() == -signal.SIGKILL
    assert golden_windows(out) == OLD
    assert len(os.listdir(tmp_path)) == 2, "the killed one left its work folder"
    assert subprocess.run(command(finished_run, out), capture_output=True).returncode == 0
    assert golden_windows(out) == NEW
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a dozen exports
def test_killed_at_steps_and_at_random_moments(finished_run, old, tmp_path):
    steps, total = announced(finished_run, tmp_path / "timed")
    shutil.rmtree(tmp_path / "timed")
    rng, out = random.Random(0), tmp_path / "out"
    late = steps[len(steps) // 2]
    lines = range(0, len(steps), max(1, len(steps) // 4))
    moments = [*lines, *(rng.uniform(late, total) for _ in range(2))]
    killed = 0
    for moment in moments:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(old, out)
        kill = kill_at_line if isinstance(moment, int) else kill_after
        code = kill(finished_run, out, moment)
        killed += code == -signal.SIGKILL
        assert golden_windows(out) in (OLD, NEW)
        assert len(os.listdir(tmp_path)) <= 2, "leftovers of earlier kills are cleared"
    assert killed > len(lines) // 2
    assert subprocess.run(command(finished_run, out), capture_output=True).returncode == 0
    assert os.listdir(tmp_path) == ["out"]
