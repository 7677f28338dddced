"""Order, failures, interruption and resume, with real processes."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from distill.compare.launch_processes import ProcessLauncher
from distill.compare.schedule import Step, run_steps

ROOT = Path(__file__).parents[3]


def step(folder: Path, name: str, code: str = "", needs: tuple[str, ...] = ()) -> Step:
    """A step that notes its start, does `code`, and writes its result."""
    result = folder / name
    text = (
        f"import sys, time, pathlib\nwith open({str(folder / 'order')!r}, 'a') as f: "
        f"f.write({name + ' '!r})\n{code}\npathlib.Path({str(result)!r}).write_text('x')"
    )
    return Step(name, (sys.executable, "-c", text), result, folder / "logs" / f"{name}.log", needs)


def order(folder: Path) -> list[str]:
    return (folder / "order").read_text().split()


def go(steps, **options):
    return run_steps(steps, ProcessLauncher(), **{"parallel": 2, "threads": 1, **options})


def test_needs_come_first_and_a_failure_stops_only_what_needs_it(tmp_path):
    steps = [
        step(tmp_path, "t0", "print('no good'); sys.exit(3)"),
        step(tmp_path, "a0", needs=("t0",)),
        step(tmp_path, "t1", "time.sleep(0.3)"),
        step(tmp_path, "a1", needs=("t1",)),
        step(tmp_path, "b1", "raise RuntimeError('broken')", needs=("t1",)),
        step(tmp_path, "c1", needs=("b1",)),
        step(tmp_path, "d1", needs=("c1",)),
    ]
    seen = []
    found = go(steps, watch=lambda progress, name: seen.append((name, progress.states.get(name))))
    assert found.states == {"t0": "failed", "a0": "blocked", "t1": "done", "a1": "done",
                            "b1": "failed", "c1": "blocked", "d1": "blocked"}  # fmt: skip
    assert sorted(order(tmp_path)) == ["a1", "b1", "t0", "t1"]
    assert order(tmp_path).index("t1") < order(tmp_path).index("a1")
    assert (tmp_path / "logs/t0.log").read_text() == "no good\n"
    assert "RuntimeError: broken" in (tmp_path / "logs/b1.log").read_text()
    assert found.seconds["t1"] >= 0.3
    assert [state for name, state in seen if name == "t1"] == ["running", "done"]


def test_what_is_done_is_not_done_again(tmp_path):
    steps = [step(tmp_path, "t"), step(tmp_path, "a", needs=("t",))]
    go(steps[:1])
    before = (tmp_path / "t").stat().st_mtime_ns
    assert go(steps).states == {"t": "kept", "a": "done"}
    assert go(steps).states == {"t": "kept", "a": "kept"}
    assert order(tmp_path) == ["t", "a"]
    assert (tmp_path / "t").stat().st_mtime_ns == before


def test_a_step_that_ends_well_without_its_result_has_failed(tmp_path):
    assert go([step(tmp_path, "a", "sys.exit(0)")]).states == {"a": "failed"}


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_never_more_at_a_time_than_asked(tmp_path, parallel):
    code = f"open({str(tmp_path)!r} + '/now-' + sys.argv[0].strip('-') + str(time.time()), 'w')"
    steps = [step(tmp_path, f"s{k}", code + "; time.sleep(0.15)") for k in range(5)]
    most = 0

    def watch(progress, _name):
        nonlocal most
        most = max(most, len(progress.names("running")))

    found = go(steps, parallel=parallel, watch=watch)
    assert set(found.states.values()) == {"done"}
    assert most == parallel


def test_threads_and_buffering_reach_the_process_and_nothing_goes_through_a_shell(tmp_path):
    code = (
        "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['PYTHONUNBUFFERED'], '$HOME')"
    )
    go([step(tmp_path, "a; touch x", code)], threads=3)
    assert (tmp_path / "logs" / "a; touch x.log").read_text() == "3 1 $HOME\n"
    assert (tmp_path / "a; touch x").exists()


SCHEDULER = """
    import sys
    from pathlib import Path
    from distill.compare.launch_processes import ProcessLauncher
    from distill.compare.schedule import Step, run_steps
    from targets.errors import user_errors

    folder = Path(sys.argv[1])
    code = sys.argv[2].replace("FOLDER", repr(str(folder)))
    steps = [Step(n, (sys.executable, "-c", code, n), folder / n, folder / f"{n}.log")
             for n in "abc"]
    with user_errors("compare"):
        run_steps(steps, ProcessLauncher(), parallel=2, threads=1, grace_s=float(sys.argv[3]))
"""
POLITE = """
import sys, time, pathlib, os
me = pathlib.Path(FOLDER) / (sys.argv[1] + ".pid")
try:
    me.write_text(str(os.getpid()))
    time.sleep(60)
except KeyboardInterrupt:
    me.with_suffix(".stopped").write_text("")
"""
STUBBORN = """
import sys, time, pathlib, os, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
(pathlib.Path(FOLDER) / (sys.argv[1] + ".pid")).write_text(str(os.getpid()))
time.sleep(60)
"""


def interrupted(folder: Path, code: str, grace_s: float, number: int) -> tuple[int, str]:
    """Start a scheduler of three children, two at a time; send it a signal once both run."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCHEDULER), str(folder), code, str(grace_s)],
        stderr=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while len(pids(folder)) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, text = process.communicate(timeout=30)
    return process.returncode, text


def pids(folder: Path) -> list[int]:
    texts = [path.read_text() for path in folder.glob("*.pid")]
    return [int(text) for text in texts if text]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose new parent has not looked yet is as good as gone.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_children_end_cleanly_and_starts_no_more(tmp_path, number):
    code, text = interrupted(tmp_path, POLITE, 20, number)
    assert code == 130
    assert text == "compare: interrupted; nothing half-written was left\n"
    assert sorted(path.name for path in tmp_path.glob("*.stopped")) == ["a.stopped", "b.stopped"]
    assert not any(alive(pid) for pid in pids(tmp_path))


def test_children_that_do_not_listen_are_killed(tmp_path):
    code, _ = interrupted(tmp_path, STUBBORN, 0.5, signal.SIGINT)
    assert code == 130
    assert len(pids(tmp_path)) == 2
    time.sleep(0.1)
    assert not any(alive(pid) for pid in pids(tmp_path))
