"""Intervals and tests against closed forms, SciPy and full enumeration."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from avtune.metrics import (
    bootstrap_interval,
    detectable_difference,
    holm,
    mean_interval,
    randomisation_test,
    randomisation_tests,
    rounds_for,
    significance,
)


def test_mean_interval_is_student_t() -> None:
    values = [0.61, 0.58, 0.6, 0.63, 0.59]
    mean, half = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert mean_interval([1.0, 3.0], confidence=0.5) == pytest.approx((2.0, 1.0))  # t = 1 at 75 % and one degree


def test_mean_interval_of_one_value_has_no_width() -> None:
    assert mean_interval([0.5]) == (0.5, None)


def test_mean_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean_interval(rng.normal(2, 3, 4), confidence=0.9) for _ in range(2000)]
    assert np.mean([abs(mean - 2) <= half for mean, half in intervals]) == pytest.approx(0.9, abs=0.02)


def test_bootstrap_interval_is_scipys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "CHUNK", 1000)  # several chunks
    values = np.random.default_rng(0).beta(2, 3, 80)
    peer = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1))
    found = bootstrap_interval(values, seed=2, resamples=20_000)
    assert found == pytest.approx(tuple(peer.confidence_interval), abs=0.002)
    assert found == bootstrap_interval(values, seed=2, resamples=20_000)
    assert found != bootstrap_interval(values, seed=3, resamples=20_000)
    narrow = bootstrap_interval(values, seed=2, resamples=20_000, confidence=0.5)
    assert found[0] < narrow[0] < values.mean() < narrow[1] < found[1]


def test_bootstrap_interval_of_equal_values_is_a_point() -> None:
    assert bootstrap_interval([0.25] * 9, seed=0) == (0.25, 0.25)


def slow_p(first, second) -> float:
    difference = [a - b for a, b in zip(first, second, strict=True)]
    sums = [abs(sum(s * d for s, d in zip(signs, difference, strict=True))) for signs in _signs(len(difference))]
    return float(np.mean([s >= abs(sum(difference)) - 1e-9 for s in sums]))


def _signs(count: int):
    return itertools.product([1, -1], repeat=count)


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_randomisation_test_enumerates_small_cases(count: int) -> None:
    first, second = np.random.default_rng(count).random((2, count))
    first += 0.2
    assert randomisation_test(first, second, seed=0) == pytest.approx(slow_p(first, second), abs=1e-12)


def test_randomisation_test_samples_large_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "CHUNK", 5000)
    first, second = np.random.default_rng(3).random((2, 12))
    first += 0.1
    sampled = randomisation_test(first, second, seed=0, rounds=4000)
    assert sampled == pytest.approx(slow_p(first, second), abs=0.02)
    assert sampled == randomisation_test(first, second, seed=0, rounds=4000)
    assert sampled == randomisation_test(second, first, seed=0, rounds=4000)


def test_randomisation_test_ends() -> None:
    values = np.random.default_rng(0).random(50)
    assert randomisation_test(values, values, seed=0, rounds=100) == 1
    assert randomisation_test(values + 1, values, seed=0, rounds=99) == 1 / 100


def test_pairs_tested_together_have_the_p_values_that_each_has_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "CHUNK", 5000)
    differences = np.random.default_rng(5).normal(0.1, 1, size=(50, 20))
    together = randomisation_tests(differences, seed=4, rounds=3000)
    assert together.tolist() == [randomisation_test(one, 0 * one, seed=4, rounds=3000) for one in differences]


@pytest.mark.parametrize("comparisons", [1, 25, 26, 528, 780])
def test_rounds_let_the_smallest_corrected_value_fall_below_the_level(comparisons: int) -> None:
    rounds = rounds_for(comparisons)
    assert rounds >= 10_000
    assert comparisons / (1 + rounds) <= 0.05 / 20
    assert rounds_for(comparisons, level=0.01) >= rounds


@pytest.mark.parametrize(
    ("clips", "level", "seed_sd", "most"),
    [
        (150, 0.05, 0.0, 0.85),
        (150, 0.05, 0.01, 0.85),
        (400, 0.001, 0.004, 0.85),
        (60, 0.001, 0.004, 0.92),  # far out, the swaps of few queries have a lighter tail than the normal distribution
    ],
)
def test_a_detectable_difference_is_detected_as_often_as_it_says(
    clips: int, level: float, seed_sd: float, most: float
) -> None:
    """Systems that differ by it, with fresh clips and fresh seeds each time, compared by the test itself."""
    draw, seeds, times = np.random.default_rng(0), 5, 400
    variance = 2 * seed_sd**2 / seeds
    typical = draw.normal(0, 0.1, size=clips)
    typical *= 0.1 / typical.std(ddof=1)
    size = detectable_difference(typical, variance, level)
    shifts = draw.normal(size, variance**0.5, size=(times, 1))
    found = randomisation_tests(shifts + draw.normal(0, 0.1, size=(times, clips)), seed=1, rounds=20_000) < level
    assert 0.75 < found.mean() < most


def test_a_detectable_difference_grows_with_power_and_falls_with_queries() -> None:
    values = np.random.default_rng(0).normal(size=100)
    base = detectable_difference(values, 0.0)
    # z(0.975) + z(0.8) standard errors, and a little for its own square.
    assert base == pytest.approx((1.960 + 0.8416) * values.std(ddof=1) / 10, rel=0.05)
    assert base < detectable_difference(values, 0.0, power=0.9) < detectable_difference(values, 0.0, 0.001, power=0.9)
    assert base < detectable_difference(values, 0.01)
    assert detectable_difference(np.tile(values, 4), 0.0) < 0.55 * base
    assert detectable_difference([0.1, 0.2, 0.3], 0.0) == np.inf  # of three queries the least p-value is 1/4
    assert detectable_difference([0.1], 0.0) == np.inf


@pytest.mark.parametrize("level", [0.05, 0.025, 0.01, 0.05 / 45])
def test_so_few_queries_that_no_difference_could_be_found_detect_none(level: float) -> None:
    for count in range(2, 16):
        values = np.random.default_rng(count).normal(0, 0.05, count)
        possible = randomisation_tests(abs(values)[None] + 1, seed=0, rounds=2**15)[0] < level
        assert np.isfinite(detectable_difference(values, 0.0, level)) == possible


def test_a_detectable_difference_of_systems_that_score_the_same_is_not_known() -> None:
    for same in ([0.0] * 9, [0.25] * 9, [1e-17, 0.0, -1e-17, 0.0]):
        assert math.isnan(detectable_difference(same, 0.0))
    assert detectable_difference([0.0] * 9, 1e-4) > 0, "other seeds may give another difference"


def test_holm_by_hand() -> None:
    # Sorted .01 .02 .03 .5 times 4 3 2 1 = .04 .06 .06 .5; the third may not fall below the second.
    assert holm([0.03, 0.01, 0.5, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([0.2]).tolist() == [0.2]


@pytest.mark.parametrize("wrong", [[], [0.1, np.nan], [[0.1]]])
def test_values_must_be_a_finite_row(wrong) -> None:
    with pytest.raises(AssertionError):
        mean_interval(wrong)
    with pytest.raises(AssertionError):
        holm(wrong)
