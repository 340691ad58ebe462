"""Ranks, Friedman's and Nemenyi's tests and the probability of improvement against SciPy, published values and slow
computations."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from avtune.metrics.across import (
    critical_difference,
    differ,
    friedman,
    improvement_intervals,
    mean_rank_intervals,
    probability_of_improvement,
    ranks,
)

# Demšar 2006, Table 6: ranks of C4.5 and of it with m, cf and both tuned, on 14 data sets.
DEMSAR = np.array([
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2],
])  # fmt: skip


def drawn_runs(sets=3, methods=4, seeds=5, seed=0):
    draw = np.random.default_rng(seed)
    return [[draw.normal(0.02 * method, 0.03, seeds).round(2) for method in range(methods)] for _ in range(sets)]


def slow_ranks(row):
    """One more than those that are better, and half of the others that are equal."""
    return [1 + sum(b > a for b in row) + (sum(b == a for b in row) - 1) / 2 for a in row]


def slow_friedman(placed):
    """(p, the least p): shares of all orders of the ranks within all data sets, the first one's too."""
    every = [sorted(set(itertools.permutations(row))) for row in placed]
    squares = [sum(sum(column) ** 2 for column in zip(*rows, strict=True)) for rows in itertools.product(*every)]
    observed = sum(sum(column) ** 2 for column in zip(*placed, strict=True))
    at_least = sum(one > observed - 1e-9 for one in squares)
    return at_least / len(squares), sum(one > max(squares) - 1e-9 for one in squares) / len(squares)


def slow_improvement(runs, one, other):
    shares = []
    for of_set in runs:
        pairs = list(itertools.product(of_set[one], of_set[other]))
        shares.append(sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs))
    return sum(shares) / len(shares)


def test_ranks_are_those_of_a_slow_count():
    scores = np.random.default_rng(0).integers(0, 6, (20, 7)) / 10
    assert ranks(scores).tolist() == [slow_ranks(row) for row in scores.tolist()]


def test_scores_that_differ_by_rounding_share_a_rank():
    assert ranks([[0.1 + 0.2, 0.3, 0.1]]).tolist() == [[1.5, 1.5, 3.0]]


def test_demsars_example_has_his_numbers():
    placed = ranks(-DEMSAR)
    assert (placed == DEMSAR).all()
    assert placed.mean(0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=0.001)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    found = friedman(-DEMSAR)
    assert found.degrees == (3, 39)
    # He does not correct for ties, which divides by the share of the squares of untied ranks that is left.
    chi2 = found.chi2 * ((DEMSAR - 2.5) ** 2).sum() / (14 * 5)
    assert chi2 == pytest.approx(9.28, abs=0.01)
    assert 13 * chi2 / (14 * 3 - chi2) == pytest.approx(3.69, abs=0.01)


@pytest.mark.parametrize(
    ("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (10, 3.164), (20, 3.544)]
)
def test_the_critical_difference_is_that_of_published_tables(methods, q):
    sets = 7
    factor = math.sqrt(methods * (methods + 1) / (6 * sets))
    assert critical_difference(methods, sets) / factor == pytest.approx(q, abs=0.001)


def test_of_two_methods_it_is_the_normal_quantile():
    assert critical_difference(2, 9, 0.1) == pytest.approx(stats.norm.ppf(0.95) / math.sqrt(9), rel=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_friedmans_statistic_is_scipys(ties):
    scores = np.random.default_rng(1).normal(size=(9, 5)).round(0 if ties else 9)
    found = friedman(scores)
    assert found.chi2 == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)
    f = 8 * found.chi2 / (9 * 4 - found.chi2)
    assert found.f == pytest.approx(f)
    assert found.p == pytest.approx(stats.f.sf(f, 4, 32), abs=0.01), "which is an approximation"


def test_iman_and_davenports_f_is_that_of_an_analysis_of_variance_of_the_ranks():
    scores = np.random.default_rng(2).normal(size=(6, 4))
    placed = ranks(scores)
    treatments = 6 * ((placed.mean(0) - 2.5) ** 2).sum() / 3
    rest = placed - placed.mean(0) - placed.mean(1, keepdims=True) + 2.5
    assert friedman(scores).f == pytest.approx(treatments / ((rest**2).sum() / 15))


def test_where_all_data_sets_rank_alike_p_is_the_chance_of_that():
    found = friedman([[0.3, 0.2, 0.1]] * 3)
    assert math.isinf(found.f)
    assert found.p == pytest.approx(1 / 36)
    assert friedman([[0.3, 0.2]] * 2).p == pytest.approx(0.5)
    assert friedman(np.tile(np.arange(21.0), (30, 1))).p > 0


def test_methods_that_are_equal_everywhere_do_not_differ():
    found = friedman([[0.5, 0.5, 0.5], [0.7, 0.7, 0.7]])
    assert (found.chi2, found.f, found.p) == (0.0, 0.0, 1.0)


def test_friedmans_test_finds_as_much_as_it_says_where_nothing_is():
    draw = np.random.default_rng(3)
    found = [friedman(draw.normal(size=(12, 6)), 500).p < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(("sets", "methods"), [(2, 4), (3, 3), (4, 3), (5, 2), (3, 4)])
@pytest.mark.parametrize("digits", [9, 0])
def test_friedmans_p_is_that_of_all_orders_of_the_ranks(sets, methods, digits):
    scores = np.random.default_rng(10 * sets + methods).normal(size=(sets, methods)).round(digits)
    found = friedman(scores)
    assert (found.p, found.least) == pytest.approx(slow_friedman(ranks(scores).tolist()))
    assert found.rounds is None


def test_friedmans_p_of_few_data_sets_is_that_of_published_tables():
    # Friedman 1937: chi2 of three methods on three and four data sets, and of four on three.
    for rows, chi2, p in (
        ([[3, 2, 1], [3, 2, 1], [3, 1, 2]], 14 / 3, 0.194),
        ([[3, 2, 1], [3, 2, 1], [3, 2, 1], [3, 1, 2]], 6.5, 0.042),
        ([[4, 3, 2, 1], [4, 3, 2, 1], [4, 2, 3, 1]], 8.2, 0.017),
    ):
        found = friedman(rows)
        assert found.chi2 == pytest.approx(chi2)
        assert found.p == pytest.approx(p, abs=0.0005)


def test_random_orders_estimate_friedmans_p_of_all():
    scores = np.random.default_rng(4).normal(size=(5, 3))
    exact, some = friedman(scores), friedman(scores, 1000)
    assert (exact.rounds, some.rounds) == (None, 1000)
    assert some.p == pytest.approx(exact.p, abs=0.06)
    assert some.p == friedman(scores, 1000).p
    assert friedman(np.tile(np.arange(5.0), (9, 1)), 1000).p == pytest.approx(1 / 1001)


def test_ties_leave_fewer_orders():
    found = friedman([[1.0, 0.0, 0.0]] * 3)
    assert (found.p, found.least) == pytest.approx((1 / 9, 1 / 9))
    outlier = [1.0] + [0.0] * 20
    assert friedman([outlier] * 3).p == pytest.approx(1 / 21**2)


def test_differences_are_found_from_the_critical_one_on_and_where_friedmans_test_finds_any():
    found = differ([1.0, 2.0, 4.5], 2.5, 0.01)
    assert found.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    assert not differ([1.0, 2.0, 4.5], 2.5, 0.05).any()


def test_probability_of_improvement_is_that_of_a_slow_count_and_of_mann_and_whitney():
    runs = drawn_runs()
    found = probability_of_improvement(runs)
    for one, other in itertools.permutations(range(4), 2):
        assert found[one, other] == pytest.approx(slow_improvement(runs, one, other))
        u = [stats.mannwhitneyu(of_set[one], of_set[other]).statistic / 25 for of_set in runs]
        assert found[one, other] == pytest.approx(np.mean(u))
    assert found.diagonal().tolist() == [0.5] * 4
    assert found + found.T == pytest.approx(np.ones((4, 4)))


def test_seeds_may_be_of_different_numbers():
    runs = [[[0.1, 0.3], [0.2, 0.2, 0.4]], [[0.5], [0.4, 0.6]]]
    assert probability_of_improvement(runs)[0, 1] == pytest.approx(slow_improvement(runs, 0, 1))


def test_intervals_are_those_of_a_slow_bootstrap():
    """The stratified bootstrap by loops, with other random numbers."""
    runs, draw = drawn_runs(seeds=6), np.random.default_rng(9)
    improvements, placed = [], []
    for _ in range(4000):
        again = [[draw.choice(one, len(one)) for one in of_set] for of_set in runs]
        improvements.append([slow_improvement(again, 2, 1)])
        means = [[round(float(np.mean(one)), 12) for one in of_set] for of_set in again]
        placed.append(np.mean([slow_ranks(row) for row in means], axis=0))
    found = improvement_intervals(runs, seed=1, resamples=4000)
    slow = np.quantile(improvements, [0.025, 0.975])
    assert (found.low[2, 1], found.high[2, 1]) == pytest.approx(tuple(slow), abs=0.02)
    of_ranks, slow = mean_rank_intervals(runs, seed=1, resamples=4000), np.quantile(placed, [0.025, 0.975], axis=0)
    assert np.stack([of_ranks.low, of_ranks.high]) == pytest.approx(slow, abs=0.2)


def test_intervals_hold_the_estimate_and_are_the_same_each_time():
    runs = drawn_runs()
    found, again, other = (improvement_intervals(runs, seed=seed) for seed in (0, 0, 1))
    estimate = probability_of_improvement(runs)
    assert ((found.low <= estimate) & (estimate <= found.high)).all()
    assert (found.low == again.low).all()
    assert (found.high == again.high).all()
    assert (found.low != other.low).any()
    assert found.low == pytest.approx(1 - found.high.T)
    placed = mean_rank_intervals(runs, seed=0)
    assert (placed.low == mean_rank_intervals(runs, seed=0).low).all()
    narrow = mean_rank_intervals(runs, seed=0, confidence=0.5)
    assert ((placed.low <= narrow.low) & (narrow.high <= placed.high)).all()


def test_equal_seeds_of_both_methods_give_an_interval_without_width():
    runs = [[[0.5] * 5, [0.4] * 5, [0.4] * 5]] * 2
    found = improvement_intervals(runs, seed=0)
    assert (found.low[0, 1], found.high[0, 1]) == (1.0, 1.0)
    assert (found.low[1, 2], found.high[1, 2]) == (0.5, 0.5)
    placed = mean_rank_intervals(runs, seed=0)
    assert placed.low.tolist() == placed.high.tolist() == [1.0, 2.5, 2.5]


def test_one_seed_has_no_interval():
    runs = [[[0.5], [0.4, 0.6], [0.3, 0.2]], [[0.5, 0.6], [0.4, 0.6], [0.3, 0.2]]]
    found = improvement_intervals(runs, seed=0)
    unknown = [[False, True, True], [True, False, False], [True, False, False]]
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == unknown
    placed = mean_rank_intervals(runs, seed=0)
    assert np.isnan(placed.low).all()
    assert np.isnan(placed.high).all()
