"""How far a score can be believed: intervals over seeds and over queries, and paired tests between two systems."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CHUNK = 1 << 20
"""Resampled values held at a time."""


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float | None]:
    """(mean, half width) of the Student t interval of the mean of independent runs, such as seeds.

    Args:
        values: scores [n], n >= 1.
        confidence: coverage, in (0, 1).

    Returns:
        The half width is None for one value, whose spread is unknown.

    >>> mean, half = mean_interval([0.70, 0.72, 0.74])
    >>> round(mean, 4), round(half, 4)
    (0.72, 0.0497)
    """
    scores = finite(values)
    assert 0 < confidence < 1
    mean, count = float(scores.mean()), len(scores)
    if count == 1:
        return mean, None
    from scipy import special  # here: it takes a third of a second to import, and no engine needs it

    quantile = float(special.stdtrit(count - 1, (1 + confidence) / 2))
    return mean, quantile * float(scores.std(ddof=1)) / count**0.5


def bootstrap_interval(
    per_query_ap: npt.ArrayLike, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """(low, high) of the percentile bootstrap interval of the mean over queries.

    Args:
        per_query_ap: one value per clip [N]. Average the two directions of a clip first: they are resampled together.
        seed: of the resampling.
        resamples: bootstrap samples.
        confidence: coverage, in (0, 1).

    >>> low, high = bootstrap_interval([0.2, 0.4, 0.6, 0.8], seed=0)
    >>> 0.2 < low < 0.5 < high < 0.8
    True
    """
    scores = finite(per_query_ap)
    assert resamples > 0
    assert 0 < confidence < 1
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [scores[rng.integers(len(scores), size=(n, len(scores)))].mean(axis=1) for n in _chunks(resamples, len(scores))]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def randomisation_test(ap_a: npt.ArrayLike, ap_b: npt.ArrayLike, seed: int, rounds: int = 10_000) -> float:
    """Two-sided p-value of the paired randomisation test: could the two systems be swapped on every query?

    Args:
        ap_a, ap_b: AP of each system on the same queries, in the same order [N].
        seed, rounds: as `randomisation_tests` takes them.
    """
    first, second = finite(ap_a), finite(ap_b)
    assert first.shape == second.shape, "paired test: the same queries for both"
    return float(randomisation_tests((first - second)[None], seed, rounds)[0])


def randomisation_tests(differences: npt.ArrayLike, seed: int, rounds: int = 10_000) -> Floats:
    """Two-sided p-values [M] of the paired randomisation test for M pairs of systems on the same N queries.

    Fisher's test as used in retrieval (Smucker, Allan, Carterette, CIKM 2007). All 2^N swaps when they are no more than
    `rounds`, else `rounds` random ones with the observed one counted among them, so that p is never 0. The pairs are
    tried with the same swaps, so a pair has the same p-value whatever others are tested with it.

    Args:
        differences: AP of one system minus that of the other, query by query, for each pair [M, N].
        seed: of the swaps.
        rounds: random swaps; see `rounds_for`.
    """
    pairs = np.asarray(differences, dtype=np.float64)
    assert pairs.ndim == 2
    assert pairs.size > 0
    assert np.isfinite(pairs).all()
    assert rounds > 0
    count = pairs.shape[1]
    total = pairs.sum(1)
    # Sums that differ by rounding alone are equal.
    at_least = abs(total) - 1e-12 * np.abs(pairs).sum(1)

    hits = np.zeros(len(pairs))

    def count_extreme(swapped: npt.NDArray[np.uint8]) -> None:
        swaps = swapped.astype(np.float64)
        for start in range(0, len(pairs), count):  # so that the sums are no larger than the swaps
            part = slice(start, start + count)
            sums = pairs[part] @ swaps.T
            sums *= -2
            sums += total[part, None]
            np.abs(sums, out=sums)
            hits[part] += np.count_nonzero(sums >= at_least[part, None], axis=1)

    if count < 63 and 2**count <= rounds:
        count_extreme((np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.uint8))
        return np.asarray(hits / 2**count)
    rng = np.random.default_rng(seed)
    for size in _chunks(rounds, count):
        count_extreme(rng.integers(2, size=(size, count), dtype=np.uint8))
    return np.asarray((1 + hits) / (1 + rounds))


def rounds_for(comparisons: int, level: float = 0.05) -> int:
    """How many random swaps a randomisation test needs whose p-value is corrected for so many comparisons.

    The strictest step of Holm's method compares a p-value with `level / comparisons`, so swaps as extreme as the
    observed one must be counted down to that share: 20 of them are expected there, which gives the share to within
    22 % (one standard error). 10,000 at least.
    """
    return max(10_000, math.ceil(20 * comparisons / level))


def detectable_difference(
    differences: npt.ArrayLike, seed_variance: float, level: float = 0.05, power: float = 0.8
) -> float:
    """The smallest true difference of two systems' MAP that the paired randomisation test would have found, in a share
    `power` of experiments like this one; infinite where so few queries cannot show any, NaN where nothing scatters, so
    that nothing can be said: systems that score the same on every query. Few are N queries of which the least p-value,
    2^(1 - N), is not below `level`.

    With N queries, s the standard deviation of their differences, and z the quantiles of the normal distribution, the
    test finds a mean difference D when |D| > z(1 - level/2) sqrt((s^2 + D^2) / N): swaps leave the squares as they are.
    D scatters around the true difference with the variance s^2/N + v, v that of new seeds. The difference is where

        D = z(1 - level/2) sqrt((s^2 + D^2) / N) + z(power) sqrt(s^2/N + v)

    the usual minimum detectable effect (Bloom, Evaluation Review 19, 1995) but for D^2 and for v, which are ours: the
    test knows the queries' scatter only, and other seeds would have given other differences. For few queries and strict
    levels, where swaps have a lighter tail than the normal distribution, it is too large by some percent.

    Args:
        differences: AP of one system minus that of the other, query by query [N]; means over the seeds.
        seed_variance: v, of the difference of the two systems' means over seeds: the sum of both variances between
            seeds, each divided by the number of seeds.
        level: of the two-sided test; for m comparisons by Holm's method `level / m`, its strictest step.
        power: share of experiments, in (0.5, 1).
    """
    values = finite(differences)
    assert seed_variance >= 0
    assert 0 < level < 1
    assert 0.5 < power < 1
    from scipy import special  # here: it takes a third of a second to import, and no engine needs it

    count = len(values)
    if count == 1:
        return math.inf
    variance = float(values.var(ddof=1)) / count
    if variance + seed_variance < 1e-24:  # rounding alone
        return math.nan
    if 2.0 ** (1 - count) >= level:
        return math.inf
    share = float(special.ndtri(1 - level / 2)) ** 2 / count
    if share >= 1:
        return math.inf
    reach = float(special.ndtri(power)) * math.sqrt(variance + seed_variance)
    # (D - reach)^2 = share * (count * variance + D^2), solved for the larger D.
    root = reach**2 - (1 - share) * (reach**2 - share * count * variance)
    return (reach + math.sqrt(root)) / (1 - share)


def holm(p_values: npt.ArrayLike) -> Floats:
    """p-values [m] adjusted for m tests by Holm's step-down method (1979), in the given order."""
    given = finite(p_values)
    assert ((given >= 0) & (given <= 1)).all()
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def finite(values: npt.ArrayLike, axes: int = 1) -> Floats:
    """The values in float64, none of them missing; with so many axes."""
    array = np.asarray(values, dtype=np.float64)
    assert array.ndim == axes
    assert array.size > 0
    assert np.isfinite(array).all()
    return array


def _chunks(total: int, width: int) -> list[int]:
    """Sizes that add up to `total`, each with at most `CHUNK` values of rows of `width`."""
    size = max(1, CHUNK // width)
    return [min(size, total - start) for start in range(0, total, size)]
