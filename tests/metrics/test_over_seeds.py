"""Welch's test over queries and seeds: against SciPy where one of the two does not scatter, and on systems alike."""

import numpy as np
import pytest
from scipy import stats

from avtune.metrics import detectable_difference, detectable_over_seeds, randomisation_tests, welch_test
from avtune.metrics.over_seeds import variances


def test_where_queries_do_not_scatter_it_is_the_test_of_the_seeds():
    draw = np.random.default_rng(0)
    first, second = draw.normal(0.60, 0.01, 5), draw.normal(0.59, 0.02, 7)
    apart = np.full(50, first.mean() - second.mean())
    wanted = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert welch_test(apart, first, second) == pytest.approx(wanted, rel=1e-9)


def test_where_seeds_do_not_scatter_it_is_the_paired_test_of_the_queries():
    apart = np.random.default_rng(0).normal(0.01, 0.05, 80)
    wanted = stats.ttest_1samp(apart, 0).pvalue
    assert welch_test(apart, [0.5] * 5, [0.49] * 5) == pytest.approx(wanted, rel=1e-9)


def test_one_seed_says_nothing_of_others():
    apart = np.random.default_rng(0).normal(0.01, 0.05, 80)
    assert welch_test(apart, [0.5], [0.49, 0.48]) is None
    assert welch_test([0.1], [0.5, 0.6], [0.49, 0.48]) is None
    assert detectable_over_seeds(apart, [0.5], [0.49, 0.48]) == detectable_difference(apart, 0.0)


def test_where_nothing_scatters():
    same = np.zeros(20)
    assert welch_test(same, [0.5] * 3, [0.5] * 3) == 1.0
    assert welch_test(same + 0.1, [0.6] * 3, [0.5] * 3) == 0.0
    assert np.isnan(detectable_over_seeds(same, [0.5] * 3, [0.5] * 3))


def experiments(count, clips=400, seeds=5, spread=0.005, true=0.0):
    """Pairs of systems whose seeds lie apart by `spread`: differences of the clips, and MAP of the seeds of both."""
    draw = np.random.default_rng(1)
    clip = draw.beta(2, 2, clips)
    for _ in range(count):
        of_seed = draw.normal(0, spread, (2, seeds)) + np.array([[true], [0.0]])
        scores = clip + of_seed[:, :, None] + draw.normal(0, 0.05, (2, seeds, clips))
        first, second = scores.mean(1)
        yield first - second, *scores.mean(2)


def test_systems_alike_are_found_to_differ_no_more_often_than_the_level_says():
    """The swaps of clips alone find a difference whenever the seeds fell apart."""
    found = list(experiments(200))
    swaps = [float(randomisation_tests(apart[None], 0, 2000)[0]) for apart, _, _ in found]
    both = [max(p, welch_test(*one)) for p, one in zip(swaps, found, strict=True)]
    assert np.mean(np.array(swaps) < 0.05) > 0.15
    assert np.mean(np.array(both) < 0.05) <= 0.05


def test_the_smallest_difference_that_is_seen_is_seen_as_often_as_it_says():
    apart, first, second = next(experiments(1))
    known = variances(apart, first, second)
    true = detectable_over_seeds(apart, first, second)
    assert true >= detectable_difference(apart, known.seeds)
    sizes = [detectable_over_seeds(*one) for one in experiments(100)]
    found = [welch_test(*one) < 0.05 for one in experiments(200, true=float(np.mean(sizes)))]
    assert 0.7 < np.mean(found) < 0.97
