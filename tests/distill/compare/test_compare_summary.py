"""What is said about arms, from scores with known effects."""

from dataclasses import replace

import made_up
import numpy as np
import pytest
from scipy import stats

from distill.compare.summary import spread, summarise


def values(runs, metric):
    return np.array([runs[seed]["test"][metric] for seed in runs])


def test_means_spreads_and_intervals_of_arms_and_teacher():
    given = made_up.trial()
    found = summarise(given, 50, 50)
    assert list(found.arms) == ["matched", "kd", "dlink"]
    for runs, row in [*((given.arms[a], found.arms[a]) for a in given.arms),
                      (given.teachers, found.teacher)]:  # fmt: skip
        for metric in made_up.METRICS:
            x, one = values(runs, metric), row.test[metric]
            assert (one.mean, one.std) == pytest.approx((x.mean(), x.std(ddof=1)))
            assert one.interval == pytest.approx(stats.ttest_1samp(x, 0).confidence_interval())
            assert one.values == {str(seed): runs[seed]["test"][metric] for seed in runs}
        assert row.val["auroc"].mean == pytest.approx(
            np.mean([one["val"]["auroc"] for one in runs.values()])
        )
        assert set(row.by_subject) == set(made_up.SUBJECTS)
        assert "by_subject" not in row.test
        assert "teacher_agreement" in row.test


def test_differences_are_paired_and_corrected_over_arms():
    given = made_up.trial()
    found = summarise(given, None, 640).against
    assert list(found) == ["kd", "dlink"]
    for name, against in found.items():
        a, b = (values(given.arms[arm], "auroc") for arm in (name, "matched"))
        one = against.metrics["auroc"]
        assert one.mean == pytest.approx((a - b).mean())
        assert one.interval == pytest.approx(stats.ttest_rel(a, b).confidence_interval())
        assert one.p >= one.smallest_p == 2 / 2**5
        assert set(against.metrics) == set(made_up.METRICS)
    dlink, kd = (found[name].metrics["auroc"] for name in ("dlink", "kd"))
    assert dlink.p == 0.0625  # every seed is better
    assert dlink.p_holm == pytest.approx(min(2 * dlink.p, 1) if dlink.p <= kd.p else kd.p_holm)
    assert kd.p_holm >= kd.p


def test_the_subjects_of_an_arm_that_is_better_everywhere():
    found = summarise(made_up.trial({"matched": 0.5, "better": 0.9}), 50, 50)
    one = found.against["better"].by_subject
    assert (one.better, one.worse, one.subjects) == (7, 0, 7)
    assert one.interval[0] < 0.4 < one.interval[1]
    assert one.bootstrap[0] < 0.4 < one.bootstrap[1]
    assert one.p_holm == one.p < 0.001


def test_the_gap_closed_is_one_for_the_teachers_twin_and_none_for_the_references():
    given = made_up.trial()
    twin = {**given.arms, "teacher's": given.teachers, "matched's": given.arms["matched"]}
    found = summarise(replace(given, arms=twin), 50, 50).against
    assert found["teacher's"].gap["auroc"].value == pytest.approx(1)
    assert found["teacher's"].gap["auroc"].interval == pytest.approx((1, 1))
    assert found["matched's"].gap["auroc"].value == 0
    dlink = found["dlink"].gap["auroc"]
    assert dlink.value == pytest.approx(0.5, abs=0.1)
    assert dlink.interval[0] < dlink.value < dlink.interval[1]


@pytest.mark.parametrize(
    ("teacher", "seeds", "value", "note"),
    [
        (0.5, range(5), False, "the teacher is not better than the reference"),
        (0.608, range(3), True, "the teacher's lead over the reference is not clearly above zero"),
        (0.8, range(1), True, "one seed has no interval"),
    ],
)
def test_a_gap_that_cannot_be_said_is_not_said(teacher, seeds, value, note):
    gap = summarise(made_up.trial(teacher=teacher, seeds=seeds), 50, 50).against["kd"].gap["auroc"]
    assert (gap.value is not None, gap.interval, gap.note) == (value, None, note)


def test_one_seed_has_means_and_nothing_more():
    found = summarise(made_up.trial(seeds=[3]), 50, 50)
    one = found.against["kd"].metrics["auroc"]
    assert (one.interval, one.p, one.p_holm, one.smallest_p) == (None,) * 4
    assert found.arms["kd"].test["auroc"].std is None
    assert found.against["kd"].by_subject.interval is None


def test_one_teacher_for_all_seeds_is_one_value():
    found = summarise(made_up.trial(one_teacher=True), 50, 50)
    assert list(found.teacher.test["auroc"].values) == ["0"]
    assert found.against["kd"].gap["auroc"].value is not None


def test_validation_alone_chooses():
    given = made_up.trial()
    rng = np.random.default_rng(0)
    given.arms["kd"].update({seed: made_up.scores(0.5, rng, val=0.95) for seed in range(5)})
    chosen = summarise(given, 50, 50).selection
    assert (chosen.chosen, chosen.best_on_test) == ("kd", "dlink")
    assert chosen.mean == pytest.approx(0.95, abs=0.02)
    assert chosen.test_lead == pytest.approx(0.2, abs=0.02)
    assert chosen.seeds == tuple(range(5))


def test_equals_on_test_are_no_other_choice():
    given = made_up.trial({"matched": 0.6, "kd": 0.6})
    for seed, one in given.arms["kd"].items():
        one["test"], one["val"] = given.arms["matched"][seed]["test"], {**one["val"], "auroc": 0.9}
    chosen = summarise(given, 50, 50).selection
    assert (chosen.chosen, chosen.best_on_test, chosen.test_lead) == ("kd", "kd", 0.0)


def test_failed_jobs_leave_the_seeds_that_both_have():
    given = made_up.trial()
    del given.arms["kd"][1], given.arms["matched"][2]
    found = summarise(given, 50, 50)
    assert found.against["kd"].metrics["auroc"].seeds == (0, 3, 4)
    assert found.against["dlink"].metrics["auroc"].seeds == (0, 1, 3, 4)
    assert found.selection.seeds == (0, 3, 4)
    assert len(found.arms["kd"].test["auroc"].values) == 4


def test_an_arm_without_any_job_and_a_reference_without_any():
    given = made_up.trial()
    given.arms["kd"].clear()
    found = summarise(given, 50, 50)
    assert list(found.arms) == ["matched", "dlink"]
    assert list(found.against) == ["dlink"]
    assert found.selection is None
    given.arms["matched"].clear()
    assert summarise(given, 50, 50).against == {}


def test_spread_keeps_the_seeds_order():
    assert list(spread({3: 0.1, 1: 0.2}).values) == ["3", "1"]
