import numpy as np
import pytest

from distill.metrics import agreement, by_subject, evaluate, mean_std, selection_metric, softmax


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
