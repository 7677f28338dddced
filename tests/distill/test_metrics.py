import numpy as np
import pytest

from distill.metrics import (
    TITLES,
    agreement,
    by_subject,
    chance,
    chance_limit,
    evaluate,
    mean_std,
    selection_metric,
    softmax,
)


def logits_of(predicted, n_outputs):
    return np.eye(n_outputs)[predicted] * 3.0


def test_softmax_is_a_distribution_and_does_not_overflow():
    p = softmax(np.array([[1e4, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(p, [[1, 0], [0.5, 0.5]])


def test_two_classes_by_hand():
    y = np.array([0, 0, 0, 1])
    logits = np.array([[2.0, 0], [1, 0], [0, 1], [0, 2]])
    found = evaluate(logits, y)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["auroc"] == 1.0  # the true one has the highest score
    assert found["auc_pr"] == 1.0
    assert set(found) == {"balanced_accuracy", "auroc", "auc_pr"}


def test_several_classes_by_hand():
    y = np.array([0, 0, 1, 1, 2, 2])
    found = evaluate(logits_of([0, 0, 1, 2, 2, 2], 3), y)
    assert found["balanced_accuracy"] == pytest.approx(5 / 6)
    assert found["kappa"] == pytest.approx((5 / 6 - 1 / 3) / (1 - 1 / 3))
    assert found["f1_weighted"] == pytest.approx((1 + 2 / 3 + 4 / 5) / 3)


@pytest.mark.parametrize("n_outputs", [2, 4])
def test_the_selecting_metric_is_among_them_and_chance_is_chance(n_outputs):
    rng = np.random.default_rng(0)
    y = np.arange(4000) % n_outputs
    found = evaluate(rng.standard_normal((4000, n_outputs)), y)
    chance = {"auroc": 0.5, "kappa": 0.0}[selection_metric(n_outputs)]
    assert found[selection_metric(n_outputs)] == pytest.approx(chance, abs=0.03)
    assert found["balanced_accuracy"] == pytest.approx(1 / n_outputs, abs=0.03)


def test_one_class_only_gives_finite_numbers():
    found = evaluate(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([1, 1]))
    assert found == {"balanced_accuracy": 0.5, "auroc": 0.5, "auc_pr": 1.0}


def test_agreement_counts_equal_choices_right_or_wrong():
    a, b = logits_of([0, 1, 1, 0], 2), 10 * logits_of([0, 1, 0, 1], 2)
    assert agreement(a, a) == 1.0
    assert agreement(a, b) == 0.5


def test_by_subject():
    y = np.array([0, 1, 0, 1])
    subject = np.array(["b", "b", "a", "a"])
    assert by_subject(logits_of([0, 1, 1, 0], 2), y, subject) == {"a": 0.0, "b": 1.0}


def test_mean_and_sample_deviation():
    assert mean_std([1.0, 2.0]) == {"mean": 1.5, "std": 0.707107, "values": [1.0, 2.0]}
    assert mean_std([0.3]) == {"mean": 0.3, "std": 0.0, "values": [0.3]}


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.8, 0.2), (0.25, 0.25, 0.25, 0.25), (0.6, 0.3, 0.1)]
)
def test_chance_is_what_guessing_gives(shares):
    n_outputs, rng = len(shares), np.random.default_rng(0)
    y = np.repeat(np.arange(n_outputs), (40_000 * np.array(shares)).astype(int))
    guessed = evaluate(rng.standard_normal((len(y), n_outputs)), y)
    assert chance(y, n_outputs) == pytest.approx(guessed, abs=0.015)
    assert set(guessed) <= set(TITLES)


@pytest.mark.parametrize("counts", [(20, 20), (300, 300), (30, 10, 20)])
def test_the_limit_of_chance_is_exceeded_by_one_guesser_in_twenty(counts):
    y, rng = np.repeat(np.arange(len(counts)), counts), np.random.default_rng(5)
    limit = chance_limit(y, len(counts))
    scores = [evaluate(logits_of(rng.integers(0, len(counts), len(y)), len(counts)), y)
              ["balanced_accuracy"] for _ in range(600)]  # fmt: skip
    assert 0.015 < np.mean(np.array(scores) > limit + 1e-9) < 0.08
    assert chance_limit(np.repeat(y, 10), len(counts)) < limit


def test_the_limit_of_a_class_without_windows_is_that_of_the_others():
    y = np.repeat([0, 2], 25)
    assert chance_limit(y, 3) == pytest.approx(0.44)  # 95 % of binomials of 50 at 1/3: 22 of 50
