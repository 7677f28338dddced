import pytest
from eeg_files import recipe
from test_recipe_faults import COMPARE

from distill.arms import Job, arms_of, jobs
from distill.recipe import load_recipe
from targets.errors import InputError


def loaded(tmp_path, replaced=None, tail=""):
    path = recipe(tmp_path, replaced or {})
    path.write_text(path.read_text() + tail)
    return load_recipe(path)


def test_a_plain_run_has_the_distilled_student_and_its_match(tmp_path):
    arms = arms_of(loaded(tmp_path), comparison=False)
    assert [(name, arm.method.name, arm.unlabelled) for name, arm in arms.items()] == [
        ("distilled", "dlink", False), ("matched", "none", False),
    ]  # fmt: skip
    assert arms["distilled"].student == arms["matched"].student


def test_withheld_labels_serve_the_distilled_arm_only(tmp_path):
    extra = {
        'kind = "cross_subject"': 'kind = "cross_subject"\nlabelled = 8\nunlabelled = "distill"'
    }
    arms = arms_of(loaded(tmp_path, extra), comparison=False)
    assert [arm.unlabelled for arm in arms.values()] == [True, False]


def test_an_arm_replaces_keys_of_the_student(tmp_path):
    tail = COMPARE + "[compare.arms.student]\nwidth = 8\n"
    found = loaded(tmp_path, tail=tail)
    arms = arms_of(found, comparison=True)
    assert arms["soft"].student.width == 8
    assert arms["soft"].student.epochs == arms["matched"].student.epochs == found.student.epochs
    assert arms["matched"].student == found.student


def test_jobs_are_arms_by_seeds_by_counts_each_once(tmp_path):
    tail = COMPARE.replace('reference = "matched"', 'reference = "matched"\nlabelled = [8, 4]')
    found = jobs(loaded(tmp_path, {"seeds = [0]": "seeds = [0, 3]"}, tail))
    assert len(found) == len(set(found)) == 2 * 2 * 2
    assert found[:4] == [Job("matched", 0, 4), Job("soft", 0, 4), Job("matched", 0, 8),
                         Job("soft", 0, 8)]  # fmt: skip
    assert {job.seed for job in found} == {0, 3}


def test_an_arm_may_be_limited_to_some_counts(tmp_path):
    tail = COMPARE.replace('reference = "matched"', 'reference = "matched"\nlabelled = [4, 8]')
    tail = tail.replace('name = "soft"', 'name = "soft"\nlabelled = [8]')
    assert jobs(loaded(tmp_path, tail=tail)) == [
        Job("matched", 0, 4), Job("matched", 0, 8), Job("soft", 0, 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arm", "count", "message"),
    [("soft", 5, "labelled of soft has counts"), ("matched", 8, "'matched' is needed with every")],
)
def test_counts_of_an_arm_are_those_of_the_comparison(tmp_path, arm, count, message):
    tail = COMPARE.replace('reference = "matched"', 'reference = "matched"\nlabelled = [4, 8]')
    tail = tail.replace(f'\nname = "{arm}"', f'\nname = "{arm}"\nlabelled = [{count}]')
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, tail=tail)
