"""Methods compared over several data sets: mean ranks with Friedman's test and Nemenyi's critical difference, and the
probability of improvement.

Runs are given as `runs[n][k]`: the scores of method k on data set n, one for each seed; higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from avtune.metrics.significance import finite

Floats: TypeAlias = npt.NDArray[np.float64]
Runs: TypeAlias = Sequence[Sequence[npt.ArrayLike]]
RESAMPLES = 2000
_DIGITS = 12  # scores that differ by rounding alone are equal


def ranks(scores: npt.ArrayLike) -> Floats:
    """The rank of each method on each data set [N, k]: 1 is the best, equal scores share the mean of their ranks.

    Args:
        scores: of each method on each data set [N, k]; higher is better.

    >>> ranks([[0.9, 0.7, 0.8], [0.5, 0.5, 0.4]]).tolist()
    [[1.0, 3.0, 2.0], [1.5, 1.5, 3.0]]
    """
    from scipy import stats  # here: it takes a second to import, and no engine needs it

    given = finite(scores, 2)
    return np.asarray(stats.rankdata(-given.round(_DIGITS), axis=-1), dtype=np.float64)


@dataclass(frozen=True)
class Friedman:
    """Friedman's test: do the methods differ at all?

    Attributes:
        chi2: Friedman's statistic, corrected for ties; `k - 1` degrees of freedom.
        f: Iman and Davenport's F, with `degrees` degrees of freedom; infinite where all data sets rank alike.
        degrees: (k - 1, (k - 1) (N - 1)).
        p: of F, in (0, 1].
    """

    chi2: float
    f: float
    degrees: tuple[int, int]
    p: float


def friedman(scores: npt.ArrayLike) -> Friedman:
    """Friedman's test with Iman and Davenport's F, as Demšar (JMLR 7, 2006) recommends it.

    Both distributions are approximations for many data sets (Demšar: more than 10). Where all data sets rank alike, F
    is infinite however few they are; p is therefore never below the probability of that by chance, 1 / k!^(N - 1).

    Args:
        scores: of each method on each data set [N, k], N > 1, k > 1; higher is better.
    """
    from scipy import special

    found = ranks(scores)
    sets, methods = found.shape
    assert sets > 1
    assert methods > 1
    degrees = (methods - 1, (methods - 1) * (sets - 1))
    mean = (methods + 1) / 2
    between = sets * float(((found.mean(0) - mean) ** 2).sum())
    within = float(((found - mean) ** 2).sum()) / (sets * (methods - 1))
    if within == 0:  # all methods are equal everywhere
        return Friedman(0.0, 0.0, degrees, 1.0)
    chi2 = between / within
    left = sets * (methods - 1) - chi2
    f = math.inf if left < 1e-9 else (sets - 1) * chi2 / left
    least = math.exp(-(sets - 1) * math.lgamma(methods + 1))
    p = 0.0 if math.isinf(f) else float(special.fdtrc(*degrees, f))
    return Friedman(chi2, f, degrees, max(p, least, 5e-324))


def critical_difference(methods: int, sets: int, level: float = 0.05) -> float:
    """How far apart the mean ranks of two methods must be for Nemenyi's test to find a difference (Demšar, JMLR 7,
    2006): q sqrt(k (k + 1) / (6 N)), q the quantile of the studentised range with infinitely many degrees of freedom,
    divided by sqrt(2). It holds for all pairs together, and is an approximation for many data sets.

    Args:
        methods: k, 2 or more.
        sets: N, 1 or more.
        level: of the test, in (0, 1).

    >>> round(critical_difference(5, 30), 3)  # Demšar's Table 5 has q = 2.728 for five methods
    1.114
    """
    from scipy import stats

    assert methods > 1
    assert sets > 0
    assert 0 < level < 1
    q = float(stats.studentized_range.ppf(1 - level, methods, math.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * sets))


def differ(mean_ranks: npt.ArrayLike, critical: float, p: float, level: float = 0.05) -> npt.NDArray[np.bool_]:
    """Between which methods a difference was found [k, k]: where Friedman's test finds any, those whose mean ranks are
    at least the critical difference apart.

    Args:
        mean_ranks: of the methods [k].
        critical: see `critical_difference`.
        p: of Friedman's test.
        level: of both tests.
    """
    given = np.asarray(mean_ranks, dtype=np.float64)
    apart = np.abs(given[:, None] - given[None, :]) >= critical
    return apart if p < level else np.zeros_like(apart)


@dataclass(frozen=True, eq=False)
class Interval:
    """Percentile intervals; NaN where a method has a single seed on some data set, so that its spread is not known.

    Attributes:
        low, high: ends, of the shape of what they are of.
    """

    low: Floats
    high: Floats


def mean_rank_intervals(runs: Runs, seed: int, resamples: int = RESAMPLES, confidence: float = 0.95) -> Interval:
    """Intervals of the mean ranks [k], by the stratified percentile bootstrap: seeds are drawn with replacement within
    each data set and method, and the methods ranked again. They say what other seeds would have given on these data
    sets, and nothing about other data sets. All are NaN where any method has a single seed on some data set: a rank
    depends on all methods.

    Args:
        runs: see above.
        seed: of the resampling.
        resamples: bootstrap samples.
        confidence: coverage, in (0, 1).
    """
    methods = len(runs[0])
    if _single(runs).any():
        unknown = np.full(methods, np.nan)
        return Interval(unknown, unknown.copy())
    means = [np.stack([one.mean(1) for one in of_set], 1) for of_set in _resampled(runs, seed, resamples)]
    return _ends(np.mean([ranks(one) for one in means], axis=0), confidence)


def probability_of_improvement(runs: Runs) -> Floats:
    """P(X > Y) of each pair of methods [k, k]: that a run of the row's method scores higher than one of the column's,
    mean over the data sets; equal runs count one half (Agarwal et al., NeurIPS 2021). 0.5 on the diagonal.

    On one data set it is Mann and Whitney's U divided by the number of pairs of runs.

    Args:
        runs: see above.

    >>> probability_of_improvement([[[0.3, 0.5], [0.4, 0.2]], [[0.9, 0.9], [0.9, 0.8]]]).tolist()
    [[0.5, 0.75], [0.25, 0.5]]
    """
    given = [[finite(one)[None] for one in of_set] for of_set in runs]
    return np.asarray(_improvement(given)[0])


def improvement_intervals(runs: Runs, seed: int, resamples: int = RESAMPLES, confidence: float = 0.95) -> Interval:
    """Intervals of `probability_of_improvement` [k, k], by the stratified percentile bootstrap: seeds are drawn with
    replacement within each data set and method. NaN for a pair of which a method has a single seed on some data set;
    0.5 on the diagonal. With few seeds they are too narrow.

    Args:
        runs: see above.
        seed: of the resampling.
        resamples: bootstrap samples.
        confidence: coverage, in (0, 1).
    """
    found = _ends(_improvement(_resampled(runs, seed, resamples)), confidence)
    single = _single(runs)
    unknown = (single[:, None] | single[None, :]) & ~np.eye(len(single), dtype=bool)
    found.low[unknown] = found.high[unknown] = np.nan
    return found


def _improvement(drawn: Sequence[Sequence[Floats]]) -> Floats:
    """[B, k, k] of runs that were drawn B times: of each data set and method [B, seeds]."""
    rounds, methods = len(drawn[0][0]), len(drawn[0])
    found = np.full((rounds, methods, methods), 0.5)
    for one in range(methods):
        for other in range(one):
            wins = np.mean([_wins(of_set[one], of_set[other]) for of_set in drawn], axis=0)
            found[:, one, other], found[:, other, one] = wins, 1 - wins
    return found


def _wins(first: Floats, second: Floats) -> Floats:
    """Shares of the pairs of runs in which the first is the higher [B]."""
    difference = np.sign((first[:, :, None] - second[:, None, :]).round(_DIGITS))
    return np.asarray((1 + difference.mean((1, 2))) / 2)


def _resampled(runs: Runs, seed: int, resamples: int) -> list[list[Floats]]:
    """Of each data set and method its seeds, drawn with replacement [resamples, seeds]."""
    assert resamples > 0
    rng = np.random.default_rng(seed)
    return [
        [scores[rng.integers(len(scores), size=(resamples, len(scores)))] for scores in map(finite, of_set)]
        for of_set in runs
    ]


def _ends(values: Floats, confidence: float) -> Interval:
    assert 0 < confidence < 1
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Interval(np.asarray(low), np.asarray(high))


def _single(runs: Runs) -> npt.NDArray[np.bool_]:
    """Of each method, whether it has a single seed on some data set [k]."""
    return np.asarray(np.any([[len(finite(one)) == 1 for one in of_set] for of_set in runs], axis=0))
