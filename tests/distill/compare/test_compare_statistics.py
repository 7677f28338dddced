"""Intervals and p-values against scipy, against brute force, and against what they promise."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interval_coverage import coverage
from scipy import stats

from distill.compare.statistics import (
    crossed,
    crossed_bootstrap,
    fieller,
    holm,
    mean_interval,
    sign_flip_p,
    smallest_p,
)

figures = st.floats(-1, 1).map(lambda x: round(x, 4))
samples = st.lists(figures, min_size=2, max_size=9)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(samples)
def test_mean_interval_is_that_of_the_one_sample_t_test(values):
    found = mean_interval(values)
    with np.errstate(all="ignore"):
        expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_one_value_has_no_interval_and_no_p():
    assert mean_interval([0.3]) is None
    assert sign_flip_p([0.3]) is None
    assert fieller([0.1], [0.2]) is None


@given(samples)
def test_sign_flips_are_all_tried(values):
    d = np.array(values)
    observed = abs(d.mean()) - 1e-12
    hits = [abs((d * signs).mean()) >= observed
            for signs in itertools.product((1, -1), repeat=len(d))]  # fmt: skip
    assert sign_flip_p(d) == pytest.approx(np.mean(hits))


@settings(max_examples=15, deadline=None)
@given(samples)
def test_sign_flips_agree_with_scipy(values):
    found = stats.permutation_test(
        (np.array(values),), lambda x, axis: np.mean(x, axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=np.inf,
    )  # fmt: skip
    assert sign_flip_p(values) == pytest.approx(found.pvalue, abs=1e-9)


def test_equal_scores_are_no_evidence():
    assert sign_flip_p(np.zeros(5)) == 1.0
    assert mean_interval(np.zeros(5)) == (0.0, 0.0)


@pytest.mark.parametrize("n", [2, 5, 13, 14])
def test_the_smallest_p_is_that_of_values_of_one_sign(n):
    values = np.linspace(0.1, 0.2, n)
    assert sign_flip_p(values) == pytest.approx(smallest_p(n), abs=2e-3)
    assert sign_flip_p(values) >= smallest_p(n)


def test_many_values_are_flipped_at_random_near_the_exact_p():
    d = np.random.default_rng(1).normal(0.35, 1, 16)
    bits = (np.arange(2**16)[:, None] >> np.arange(16)) & 1
    exact = np.mean(np.abs((1 - 2 * bits) @ d) >= abs(d.sum()) - 1e-9)
    assert sign_flip_p(d) == pytest.approx(exact, abs=0.015)
    assert sign_flip_p(d) == sign_flip_p(d)


def test_holm_by_hand():
    # Holm's own steps: 4 x 0.005, 3 x 0.011, 2 x 0.02, 1 x 0.04, never falling.
    assert holm([0.02, 0.005, 0.04, 0.011]) == pytest.approx([0.04, 0.02, 0.04, 0.033])
    assert holm([0.9, None, 0.8]) == [1.0, None, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=7))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    for alpha in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if (len(p_values) - rank) * p_values[k] > alpha:
                break
            rejected.add(k)
        adjusted = holm(p_values)
        assert {k for k, p in enumerate(adjusted) if p <= alpha} == rejected


pairs = st.lists(st.tuples(figures, figures), min_size=3, max_size=8)


@settings(deadline=None)
@given(pairs)
def test_fieller_holds_the_ratios_that_a_t_test_does_not_reject(data):
    x, y = np.array(data).T

    def rejected(theta: float) -> bool:
        d = x - theta * y
        error = d.std(ddof=1) / np.sqrt(len(d))
        return bool(abs(d.mean()) > stats.t.ppf(0.975, len(d) - 1) * error)

    found = fieller(x, y)
    error = y.std(ddof=1) / np.sqrt(len(y))
    t = abs(y.mean()) / error if error > 1e-9 else (np.inf if abs(y.mean()) > 1e-9 else 0)
    critical = stats.t.ppf(0.975, len(y) - 1)
    if abs(t - critical) < 1e-6 * critical:
        return  # on the edge between an interval and none
    assert (found is None) == (t <= critical)
    if found is None:
        return
    low, high = found
    assert low <= x.mean() / y.mean() + 1e-9
    assert high >= x.mean() / y.mean() - 1e-9
    margin = 1e-3 * max(high - low, 1e-3)
    assert not rejected((low + high) / 2) or high - low < 1e-9
    assert rejected(low - margin)
    assert rejected(high + margin)


def test_fieller_of_a_certain_denominator_is_the_t_interval_divided_by_it():
    x = [0.1, 0.3, 0.2, 0.25]
    np.testing.assert_allclose(fieller(x, [0.5] * 4), np.array(mean_interval(x)) / 0.5)


def test_crossed_is_the_analysis_of_variance():
    """By hand for 2 x 3: mean squares of rows, columns and rest."""
    d = np.array([[1.0, 2, 3], [2, 3, 7]])
    ms_rows = 3 * ((2 - 3) ** 2 + (4 - 3) ** 2) / 1
    ms_columns = 2 * ((1.5 - 3) ** 2 + (2.5 - 3) ** 2 + (5 - 3) ** 2) / 2
    rest = d - d.mean(1, keepdims=True) - d.mean(0) + 3
    ms_rest = (rest**2).sum() / 2
    variance = (ms_rows + ms_columns - ms_rest) / 6
    df = variance**2 / (((ms_rows / 6) ** 2) / 1 + ((ms_columns / 6) ** 2) / 2
                        + ((ms_rest / 6) ** 2) / 2)  # fmt: skip
    half = stats.t.ppf(0.975, max(df, 1)) * np.sqrt(variance)
    interval, p = crossed(d)
    np.testing.assert_allclose(interval, (3 - half, 3 + half))
    assert p == pytest.approx(2 * stats.t.sf(3 / np.sqrt(variance), max(df, 1)))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 4), st.integers(2, 6), st.integers(0, 10_000))
def test_interval_and_p_of_crossed_agree_and_do_not_mind_the_order(n_seeds, n_subjects, number):
    rng = np.random.default_rng(number)
    d = rng.normal(0.4, 1, (n_seeds, n_subjects)) + rng.normal(0, 1, (n_seeds, 1))
    interval, p = crossed(d)
    assert (p < 0.05) == (interval[0] > 0 or interval[1] < 0)
    other = crossed(d[rng.permutation(n_seeds)][:, rng.permutation(n_subjects)])
    np.testing.assert_allclose(other[0], interval)
    np.testing.assert_allclose(crossed(d.T)[0], interval)
    np.testing.assert_allclose(crossed(d + 5)[0], np.array(interval) + 5)


def test_crossed_without_any_spread():
    assert crossed(np.full((3, 4), 0.25)) == ((0.25, 0.25), 0.0)
    assert crossed(np.zeros((3, 4))) == ((0.0, 0.0), 1.0)
    assert crossed(np.zeros((1, 4))) is None
    assert crossed_bootstrap(np.zeros((3, 1))) is None


def test_crossed_bootstrap_is_every_draw_of_rows_and_columns():
    """All 27 draws of 3 rows x 256 of 4 columns, instead of some at random."""
    d = np.random.default_rng(3).normal(size=(3, 4))
    draws = [np.array(list(itertools.product(range(n), repeat=n))) for n in d.shape]
    means = np.array([d[np.ix_(rows, columns)].mean() for rows, columns
                      in itertools.product(*draws)])  # fmt: skip
    low, high = crossed_bootstrap(d, draws=100_000)
    assert np.mean(means <= low) == pytest.approx(0.025, abs=0.003)
    assert np.mean(means >= high) == pytest.approx(0.025, abs=0.003)
    assert crossed_bootstrap(d) == crossed_bootstrap(d)


@pytest.mark.parametrize("spread", [(1, 1, 1), (0, 1, 1), (1, 0, 1), (2, 1, 0.5)])
@pytest.mark.parametrize(("n_seeds", "n_subjects"), [(3, 4), (3, 20), (5, 10)])
def test_crossed_holds_what_95_percent_promise(n_seeds, n_subjects, spread):
    assert coverage(lambda d: crossed(d)[0], n_seeds, n_subjects, spread) >= 0.92


def test_percentiles_of_three_seeds_promise_too_much():
    """Why the bootstrap stands beside the interval and does not take its place."""
    found = coverage(lambda d: crossed_bootstrap(d, draws=500), 3, 20, (2, 1, 0.5))
    assert found < 0.85


def test_an_interval_that_forgets_the_subjects_is_far_too_narrow():
    """Why seeds alone say nothing of other people."""
    assert coverage(lambda d: mean_interval(d.mean(1)), 5, 10, (0.2, 1, 0.5)) < 0.75
