"""Stages beyond the plain run: few labels, one teacher for all, fewer electrodes."""

import json

import numpy as np
import pytest
import torch
from eeg_files import recipe
from test_recipe_faults import COMPARE

from distill import stages
from distill.arms import Job
from distill.folder import open_folder
from distill.run import job_folder, prepare, run_job, run_teacher, teacher_folder
from distill.windows import label_subset
from targets.errors import InputError

FEW = """
[compare]
reference = "matched"
labelled = [4]

[[compare.arms]]
name = "matched"
method = { name = "none" }

[[compare.arms]]
name = "soft"
method = { name = "kd" }
unlabelled = true

[[compare.arms]]
name = "two-electrodes"
method = { name = "kd" }
student = { ch_names = ["C4", "C3"] }
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A comparison whose single teacher and three students are trained."""
    folder = tmp_path_factory.mktemp("few")
    path = recipe(folder, {'name = "labram"': 'name = "labram"\nonce = true',
                           "seeds = [0]": "seeds = [0, 1]"})  # fmt: skip
    path.write_text(path.read_text() + FEW)
    prepare(path, folder / "run", comparison=True)
    run_teacher(folder / "run", 0)
    for arm in ("matched", "soft", "two-electrodes"):
        run_job(folder / "run", Job(arm, 0, 4))
    return open_folder(folder / "run")


def test_scores_and_logits_stand_where_the_comparison_looks(here):
    folder = job_folder(here.path, Job("soft", 0, 4))
    assert folder == here.path / "labelled_4" / "seed_0" / "soft"
    scores = json.loads((folder / "scores.json").read_text())
    test = here.splits["test"]
    assert set(scores) == {"val", "test"}
    assert set(scores["test"]["by_subject"]) == set(test.subjects)
    logits = np.load(folder / "test_logits.npy")
    hits = [np.mean(logits.argmax(1)[test.y == k] == k) for k in range(2)]
    assert scores["test"]["balanced_accuracy"] == pytest.approx(np.mean(hits))
    teacher = np.load(teacher_folder(here.path, 0) / "test_logits.npy")
    same = np.mean(teacher.argmax(1) == logits.argmax(1))
    assert scores["test"]["teacher_agreement"] == pytest.approx(same)


def test_one_teacher_serves_all_seeds(here):
    assert teacher_folder(here.path, 0) == teacher_folder(here.path, 1) == here.path / "teacher"
    weights = here.path / "teacher" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    run_teacher(here.path, 1)
    assert weights.stat().st_mtime_ns == before


def test_labels_are_withheld_as_the_arm_says(here):
    train = here.splits["train"]
    kept = label_subset(train, 4, 0)
    matched, rows = stages._training_windows(here, here.arm("matched"), Job("matched", 0, 4))
    assert len(matched) == 4
    assert np.array_equal(rows, np.flatnonzero(kept))
    assert np.array_equal(np.asarray(matched.x), np.asarray(train.x)[kept])
    soft, rows = stages._training_windows(here, here.arm("soft"), Job("soft", 0, 4))
    assert len(soft) == len(rows) == len(train)
    assert np.array_equal(soft.y[kept], train.y[kept])
    assert set(soft.y[~kept]) == {-1}


def test_another_seed_draws_other_labels(here):
    train = here.splits["train"]
    assert not np.array_equal(label_subset(train, 4, 0), label_subset(train, 4, 1))


def test_a_student_sees_its_electrodes_in_its_order(here):
    student = stages.load_student(here, Job("two-electrodes", 0, 4))
    assert student.n_chans == 2
    names, test = here.recipe.signal.ch_names, here.splits["test"]
    x = torch.from_numpy(np.asarray(test.x)[:, [names.index("C4"), names.index("C3")]])
    with torch.no_grad():
        expected = student(x).numpy()
    found = np.load(here.job(Job("two-electrodes", 0, 4)) / "test_logits.npy")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_student_before_its_teacher_is_refused(tmp_path):
    path = recipe(tmp_path)
    path.write_text(path.read_text() + COMPARE)
    prepare(path, tmp_path / "run", comparison=True)
    with pytest.raises(InputError, match="the teacher of this seed is not trained yet"):
        run_job(tmp_path / "run", Job("soft", 0))
    with pytest.raises(InputError, match=r"no such arm.*allowed matched, soft"):
        run_job(tmp_path / "run", Job("sfot", 0))


def test_a_comparison_and_a_run_do_not_share_a_folder(here):
    with pytest.raises(InputError, match="this folder holds a comparison, not a run"):
        prepare(here.path / "recipe.toml", here.path, resume=True)


def test_a_recipe_without_arms_is_no_comparison(tmp_path):
    with pytest.raises(InputError, match=r"recipe has no \[compare\] table"):
        prepare(recipe(tmp_path), tmp_path / "run", comparison=True)
    assert not (tmp_path / "run").exists()
