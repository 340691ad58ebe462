"""Methods compared over several data sets: mean ranks with Friedman's test and Nemenyi's critical difference, and the
probability of improvement.

Runs are given as `runs[n][k]`: the scores of method k on data set n, one for each seed; higher is better.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from avtune.core.seeds import mix
from avtune.metrics.significance import CHUNK, finite

Floats: TypeAlias = npt.NDArray[np.float64]
Runs: TypeAlias = Sequence[Sequence[npt.ArrayLike]]
RESAMPLES = 2000
ROUNDS = 100_000
"""Random orders in Friedman's test, where there are more than so many."""
_SEED = mix("friedman")
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
        p: of the permutation test, in (0, 1].
        least: the p of data sets that agree as much as their ties allow; none could be lower.
        rounds: random orders that p and `least` come from; None where they are exact, of all orders.
    """

    chi2: float
    f: float
    degrees: tuple[int, int]
    p: float
    least: float
    rounds: int | None


def friedman(scores: npt.ArrayLike, rounds: int = ROUNDS) -> Friedman:
    """Friedman's test (JASA 32, 1937) with the statistics that Demšar (JMLR 7, 2006) recommends.

    p is the share of the orders of the ranks within the data sets, ties as they are, that agree at least as much as the
    observed one. Of the F distribution it would be far too small for few data sets: .049 for three methods on three
    where it is .194.

    Args:
        scores: of each method on each data set [N, k], N > 1, k > 1; higher is better.
        rounds: all orders are tried where they are no more than that, else so many random ones with the observed one
            counted among them; the same scores give the same p.
    """
    found = ranks(scores)
    sets, methods = found.shape
    assert sets > 1
    assert methods > 1
    degrees = (methods - 1, (methods - 1) * (sets - 1))
    mean = (methods + 1) / 2
    between = sets * float(((found.mean(0) - mean) ** 2).sum())
    within = float(((found - mean) ** 2).sum()) / (sets * (methods - 1))
    if within == 0:  # all methods are equal everywhere
        return Friedman(0.0, 0.0, degrees, 1.0, 1.0, None)
    chi2 = between / within
    left = sets * (methods - 1) - chi2
    f = math.inf if left < 1e-9 else (sets - 1) * chi2 / left
    return Friedman(chi2, f, degrees, *_permuted(found, rounds))


def _permuted(found: Floats, rounds: int) -> tuple[float, float, int | None]:
    """`p`, `least` and `rounds` of `Friedman` of ranks [N, k].

    Within data sets only the squares of the rank sums change, and these not by what the methods are called: one data
    set may keep its order.
    """
    double = np.rint(2 * found).astype(np.int64)  # whole numbers, so that equal sums are equal
    double = double[np.argsort([-_count(row) for row in double], kind="stable")]  # what keeps its order has most
    observed, most = (int((one.sum(0) ** 2).sum()) for one in (double, np.sort(double, axis=1)))
    exact = math.prod(map(_count, double[1:])) <= rounds
    tried, at_least, full = 0, 0, 0
    for sums in _all_sums(double) if exact else _random_sums(double, rounds):
        squares = (sums**2).sum(1)
        tried += len(squares)
        at_least += int(np.count_nonzero(squares >= observed))
        full += int(np.count_nonzero(squares == most))
    if exact:
        return at_least / tried, full / tried, None
    return (1 + at_least) / (1 + tried), (1 + full) / (1 + tried), rounds


def _count(row: npt.NDArray[np.int64]) -> int:
    """How many different orders ranks have [k]."""
    ties = Counter(row.tolist()).values()
    return math.factorial(len(row)) // math.prod(map(math.factorial, ties))


def _all_sums(double: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Rank sums [M, k] of all orders of all data sets but the first."""
    sums = double[:1]
    for row in double[1:]:
        sums = (sums[:, None] + np.array(_orders(row.tolist()))).reshape(-1, len(row))
    yield sums


def _orders(row: list[int]) -> list[list[int]]:
    """The different orders of a list."""
    if not row:
        return [[]]
    firsts = [(one, row.index(one)) for one in sorted(set(row))]
    return [[one, *rest] for one, at in firsts for rest in _orders(row[:at] + row[at + 1 :])]


def _random_sums(double: npt.NDArray[np.int64], rounds: int) -> Iterator[npt.NDArray[np.int64]]:
    """Rank sums [some, k] of so many random orders of all data sets but the first."""
    rng, size = np.random.default_rng(_SEED), max(1, CHUNK // double.size)
    for start in range(0, rounds, size):
        sums = np.tile(double[0], (min(size, rounds - start), 1))
        for row in double[1:]:
            sums += rng.permuted(np.tile(row, (len(sums), 1)), axis=1)
        yield sums


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
