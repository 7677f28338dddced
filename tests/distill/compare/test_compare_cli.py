"""dlink-distill compare on a tiny recipe: real teachers, students, scores and files."""

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import eeg_files
import numpy as np
import pytest
from click.testing import CliRunner

from distill.arms import Job, jobs
from distill.compare import job as job_module
from distill.compare import launch
from distill.compare.cli import compare_command
from distill.compare.comparison import job_name, plan
from distill.compare.lock import only_one
from distill.compare.output import read
from distill.folder import open_folder
from distill.metrics import evaluate

COMPARE = """
[compare]
reference = "matched"
labelled = [6, 12]

[[compare.arms]]
name = "matched"
method = { name = "none" }

[[compare.arms]]
name = "kd"
method = { name = "kd" }
student = { epochs = 2 }
unlabelled = true
"""
PEOPLE = {"seeds = [0]": "seeds = [0, 1]", "n_subjects = 4": "n_subjects = 5",
          'test = ["S03"]': 'test = ["S03-S04"]'}  # fmt: skip


class Ended:
    def __init__(self, status):
        self.status = status

    def poll(self):
        return self.status

    def stop(self, *, now=False):
        pass


class Inline:
    """Runs each job in this process, where torch is loaded already; those in `fail` break."""

    def __init__(self, fail=()):
        self.fail, self.started = fail, []

    def start(self, command, log, threads):
        assert command[:4] == (sys.executable, "-P", "-m", "distill.compare.job")
        self.started.append(log.stem)
        if log.stem in self.fail:
            log.write_text("Traceback\nMemoryError: no room\n\n")
            return Ended(1)
        arguments = [word for word in command[4:] if word != "--tied"]
        job_module.main(arguments, standalone_mode=False)
        return Ended(0)

    def close(self):
        pass


def compare(launcher, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "make_launcher", lambda *_: launcher)
        return CliRunner().invoke(compare_command, [str(word) for word in arguments])


def recipe(folder: Path, changes: dict[str, str] | None = None, compare: str = COMPARE) -> Path:
    return eeg_files.recipe(folder, {**PEOPLE, **(changes or {})}, eeg_files.SIMULATED + compare)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A finished comparison, what it printed, and its launcher; do not write into its folder."""
    folder = tmp_path_factory.mktemp("compared")
    launcher = Inline()
    result = compare(launcher, recipe(folder), "-o", folder / "out", "--report", folder / "b.md")
    assert result.exit_code == 0, result.output
    return folder / "out", result.output, launcher


def test_every_job_ran_once_after_its_teacher(compared):
    out, text, launcher = compared
    here = open_folder(out)
    assert len(launcher.started) == len(set(launcher.started)) == 2 + 2 * 2 * 2
    for job in jobs(here.recipe):
        order = launcher.started
        assert order.index(f"teacher-seed{job.seed}") < order.index(job_name(job))
    assert "[10/10] done kd-seed1-labelled12" in text
    assert here.complete


def test_the_figures_are_those_of_the_jobs_logits(compared):
    out, _, _ = compared
    found, here = read(out), open_folder(out)
    test = here.splits["test"]
    assert [count.labelled for count in found.counts] == [6, 12]
    for count in found.counts:
        assert count.windows == count.labelled
        for arm, row in count.arms.items():
            for seed in (0, 1):
                folder = here.job(Job(arm, seed, count.labelled))
                scores = evaluate(np.load(folder / "test_logits.npy"), test.y)
                for metric, value in scores.items():
                    assert row.test[metric].values[str(seed)] == pytest.approx(value, abs=1e-6)
    assert found.metrics == ("balanced_accuracy", "auroc", "auc_pr")
    assert found.split["test"].subjects == ("S03", "S04")
    assert found.split["test"].windows == len(test) == 16


def test_all_files_and_the_provenance(compared):
    out, text, _ = compared
    found = read(out)
    rows = list(csv.DictReader((out / "comparison.csv").read_text().splitlines()))
    assert len(rows) == len(found.jobs) == 10
    assert {row["status"] for row in rows} == {"done"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    p = found.provenance
    assert p.command == "dlink-distill compare recipe.toml -o out"  # no folder of this machine
    assert (p.recipe_hash, p.windows_hash) == (
        open_folder(out).recipe.hash, open_folder(out).windows.hash,
    )  # fmt: skip
    assert p.seconds == pytest.approx(sum(float(row["seconds"]) for row in rows))
    assert p.wall_seconds > 0
    assert "cores, 1 thread a job" in p.machine
    assert "in " + str(out) in text
    assert (out / "comparison.png").stat().st_size > 10_000
    report = (out.parent / "b.md").read_text()
    assert report.startswith("<!-- compare:tiny -->\n## tiny\n")
    body = (out / "comparison.md").read_text().splitlines()
    assert [line for line in report.splitlines() if line.startswith("|")] == [
        line for line in body if line.startswith("|")
    ]
    assert str(out.parent) not in (out / "comparison.json").read_text() + report


def test_a_finished_comparison_is_shown_again_and_its_time_stays(compared, tmp_path):
    out, _, _ = compared
    before = read(out)
    launcher = Inline()
    result = compare(launcher, out.parent / "recipe.toml", "-o", out, "--resume",
                     "--report", tmp_path / "c.md", "--section", "other")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert launcher.started == []
    assert "10 of 10 steps were done before" in result.output
    assert read(out) == before
    assert (tmp_path / "c.md").read_text().startswith("<!-- compare:other -->\n")


def test_a_failed_job_is_named_the_others_end_and_resume_mends_it(tmp_path):
    path, out = recipe(tmp_path, {"labelled = [6, 12]": "labelled = [8]"}), tmp_path / "out"
    result = compare(Inline(["kd-seed1-labelled8"]), path, "-o", out)
    assert result.exit_code == 1, result.output
    last = f"MemoryError: no room (log {out}/logs/kd-seed1-labelled8.log)"
    assert f"failed: kd-seed1-labelled8: {last}" in result.output
    assert "1 of 6 jobs are missing (kd, seed 1, 8 labelled: failed" in result.output
    assert read(out).counts[0].against["kd"].metrics["auroc"].seeds == (0,)
    assert json.loads((out / "run.json").read_text())["status"] == "running"

    launcher = Inline()
    result = compare(launcher, path, "-o", out, "--resume")
    assert result.exit_code == 0, result.output
    assert launcher.started == ["kd-seed1-labelled8"]
    assert "missing" not in (out / "comparison.md").read_text()
    assert open_folder(out).complete


def test_an_arm_that_is_not_asked_for_every_count_is_missed_nowhere(tmp_path):
    compare_kd = COMPARE.replace('name = "kd"\n', 'name = "kd"\nlabelled = [12]\n')
    path, out = recipe(tmp_path, {"seeds = [0]": "seeds = [2]"}, compare_kd), tmp_path / "out"
    launcher = Inline()
    result = compare(launcher, path, "-o", out)
    assert result.exit_code == 0, result.output
    students = ("matched-seed2-labelled6", "matched-seed2-labelled12", "kd-seed2-labelled12")
    assert launcher.started == ["teacher-seed2", *students]
    few, more = read(out).counts
    assert (list(few.arms), list(more.arms)) == (["matched"], ["matched", "kd"])
    assert few.selection.chosen == "matched"
    assert "missing" not in result.output


def test_two_at_once_in_one_folder_are_refused(compared, tmp_path):
    out, _, _ = compared
    (tmp_path / "logs").mkdir()
    with only_one(tmp_path / "logs"):
        code = (f"from pathlib import Path; from distill.compare.lock import only_one\n"
                f"with only_one(Path({str(tmp_path / 'logs')!r})): pass")  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another comparison is running here" in done.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert (out / "logs" / ".lock").exists()  # a comparison takes it


def test_a_failed_teacher_blocks_its_students_alone(tmp_path):
    path, out = recipe(tmp_path, {"labelled = [6, 12]": "labelled = []"}), tmp_path / "out"
    result = compare(Inline(["teacher-seed0"]), path, "-o", out)
    assert result.exit_code == 1
    assert "blocked: matched-seed0: needs teacher-seed0" in result.output
    found = read(out)
    assert [job.status for job in found.jobs] == [
        "failed",
        "done",
        *["blocked"] * 2,
        "done",
        "done",
    ]
    assert found.counts[0].windows == 16
    assert "16 labelled training windows, as [split] gives them" in result.output


@pytest.mark.parametrize(
    ("changes", "text", "message"),
    [
        ({}, "", "recipe has no [compare] table"),
        ({"labelled = [6, 12]": "labelled = [6, 17]"}, COMPARE,
         "the training split has fewer windows than are to be labelled (found 17, allowed <= 16)"),
        ({"epochs = 2 }": "epoch = 2 }"}, COMPARE, "did you mean 'epochs'?"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_compared(tmp_path, changes, text, message):
    result = compare(Inline(), recipe(tmp_path, changes, text), "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.startswith("dlink-distill compare: error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("pair", ["time", "=1", "ti me=1", "time="])
def test_an_option_of_slurm_is_a_pair(tmp_path, pair):
    arguments = [str(tmp_path / "r.toml"), "-o", str(tmp_path / "o"), "--slurm", pair]
    result = CliRunner().invoke(compare_command, arguments)
    assert result.exit_code == 2
    assert "option is not KEY=VALUE" in result.stderr


def test_commands_are_argument_lists_that_no_folder_can_disturb(compared):
    out, _, _ = compared
    for step in plan(open_folder(out), 3):
        assert step.command[:4] == (sys.executable, "-P", "-m", "distill.compare.job")
        assert step.command[4] == str(out.absolute())
        assert step.result.name == "scores.json"
        assert "--tied" in step.command
        assert step.command[step.command.index("--threads") + 1] == "3"


# As processes -------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-P", "-c",
           "from distill.compare.cli import compare_command; compare_command()"]  # fmt: skip
ONE_SEED = {"labelled = [6, 12]": "labelled = [6]", "seeds = [0]": "seeds = [0]",
            "n_layers = 1\nepochs = 1\n": "n_layers = 1\nepochs = 25\n"}  # fmt: skip


def running(command: list[str]) -> bool:
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return any(all(word in line for word in command) for line in done.stdout.splitlines())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_comparison_that_was_stopped_ends_like_one_that_was_not(tmp_path, number):
    path, out = recipe(tmp_path, ONE_SEED), tmp_path / "out"
    process = subprocess.Popen([*COMMAND, str(path), "-o", str(out)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(out.glob("seed_0/teacher/log/attempt_0/metrics.csv")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, text = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert text == "dlink-distill compare: interrupted; nothing half-written was left\n"
    deadline = time.monotonic() + 30
    while running(["distill.compare.job", str(out)]):  # the child notices that its parent is gone
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert not (out / "comparison.json").exists()
    assert not (out / "seed_0" / "teacher" / "scores.json").exists()

    done = subprocess.run([*COMMAND, str(path), "-o", str(out), "--resume", "--jobs", "2"],
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[3/3] done" in done.stdout
    whole = tmp_path / "whole"
    assert compare(Inline(), path, "-o", whole).exit_code == 0
    for job in read(out).jobs:
        other = next(o for o in read(whole).jobs if (o.arm, o.seed) == (job.arm, job.seed))
        assert job.test == pytest.approx(other.test, abs=1e-6), job.arm
