"""What a terminal and a log show while steps run."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from distill.compare.progress import SHOWN, watching
from distill.compare.schedule import Progress, Step

STATES = {"t[0]": "kept", "a": "running", "b": "failed", "c": "blocked", "d": "waiting"}


@pytest.fixture
def progress():
    steps = {n: Step(n, (), Path(n), Path(f"logs/{n}.log")) for n in STATES}
    return Progress(steps, dict(STATES), {"a": time.monotonic() - 65, "b": 0.0}, {"b": 3.0})


def told(progress, names, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    with watching(console) as watch:
        for name in names:
            watch(progress, name)
        if options:
            time.sleep(0.4)  # the live table is drawn four times a second
    return console.file.getvalue()


def test_a_log_gets_a_line_a_step_that_ended(progress):
    assert told(progress, ["", "a", "b", "", "c", "d"]).splitlines() == [
        "1 of 5 steps were done before",
        "[3/5] failed b (3 s), log logs/b.log",
        "[3/5] blocked c",
    ]


def test_nothing_done_before_is_not_told(progress):
    progress.states["t[0]"] = "done"
    assert told(progress, ["", "t[0]"]) == "[3/5] done t[0]\n"


def test_a_terminal_gets_a_table_of_what_matters_now(progress):
    text = told(progress, ["a"], force_terminal=True, color_system=None)
    assert "5 steps: 1 kept, 1 running, 1 failed, 1 blocked, 1 waiting" in text
    assert "1 min 5 s" in text
    assert "3 s" in text


def test_a_table_of_many_steps_stays_small(progress):
    for k in range(50):
        progress.steps[f"x{k}"] = progress.steps["a"]
        progress.states[f"x{k}"] = "waiting"
    text = told(progress, ["a"], force_terminal=True, color_system=None)
    assert f"x{SHOWN - 5}" in text
    assert f"x{SHOWN}" not in text
