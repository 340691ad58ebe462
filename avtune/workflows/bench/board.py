"""What a bench found: its rows by mean test MAP, and which of them differ significantly.

The test is paired over the test clips. A clip's value is the mean, over the seeds and both directions, of its average
precision; the mean of these values is the row's MAP. A difference between two rows is found when the randomisation
test says so at `LEVEL` after Holm's correction over all pairs of rows, and so does Welch's t-test with the variances
over clips and over seeds (`metrics.over_seeds`): the larger p-value of the two counts. The first test alone, of rows
with one seed and of tables of earlier versions, is of the models that were trained: how far other seeds would move a
row is not in it. Whether a difference is found between a row's tuned configuration and its default one is a family of
tests of its own. One that is not found may be there all the same: how large it would have had to be is told with it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.metrics import (
    detectable_difference,
    detectable_over_seeds,
    holm,
    randomisation_tests,
    rounds_for,
    with_seeds,
)
from avtune.metrics.letters import letters
from avtune.study.results import Results

Floats = npt.NDArray[np.float64]

_SEED = mix("leaderboard")
LEVEL = 0.05
POWER = 0.8
"""Share of benches in which the smallest difference that could be found would have been."""


@dataclass(frozen=True, eq=False)
class Row:
    """A finished method.

    Attributes:
        method: its name.
        results: what its `final/metrics.json` holds.
        config: the winning configuration.
        environment: what its `environment.json` holds.
        seconds: device seconds of the search's epochs, with those that were taken back (`Status.seconds_trained`).
        ap: average precision of every test clip [N], of the retrained winner.
        default_ap: of the default configuration; None when that is the winner, or failed.
        measures: `ByClass.measures` of its study, where there are any.
        repeated: configurations that were repeated over seeds, but for the default one; 0 where that is not known.
    """

    method: str
    results: Results
    config: Mapping[str, Value]
    environment: Mapping[str, Any]
    seconds: float
    ap: Floats
    default_ap: Floats | None
    measures: Mapping[str, Mapping[str, float]] | None = None
    repeated: int = 0

    @property
    def map(self) -> float:
        """Mean test MAP over the seeds."""
        return self.results.test.map.mean

    @property
    def gain(self) -> float | None:
        """MAP of the tuned configuration minus that of the default one; 0 when that won, None when it failed."""
        default = self.results.default
        return None if default is None else self.map - default.map.mean


@dataclass(frozen=True, eq=False)
class Board:
    """A leaderboard.

    Attributes:
        about: what `bench.yaml` holds.
        rows: best mean test MAP first.
        letters: of each row: between two rows that share one no difference was found.
        p_values: Holm-adjusted, of every pair of rows [n, n]; 1 on the diagonal.
        detectable: the smallest true difference of every pair that would have been found with a probability of at least
            `POWER`, see `metrics.detectable_difference` [n, n]; 0 on the diagonal, NaN where it is not known.
        rounds: random swaps of each test.
        gain_p: Holm-adjusted, of each row's tuned against its default configuration; None where they are one.
        failures: why a method has no row, by its name.
        pending: methods that have not finished.
    """

    about: Mapping[str, Any]
    rows: tuple[Row, ...]
    letters: tuple[str, ...]
    p_values: Floats
    detectable: Floats
    rounds: int
    gain_p: tuple[float | None, ...]
    failures: Mapping[str, str]
    pending: tuple[str, ...]

    @property
    def undecided(self) -> list[float]:
        """`detectable` of the pairs of rows between which no difference was found, where it is known, ascending."""
        upper = np.triu_indices(len(self.rows), 1)
        sizes = self.detectable[upper][self.p_values[upper] >= LEVEL]
        return sorted(float(one) for one in sizes if not np.isnan(one))


def board(
    about: Mapping[str, Any],
    rows: Sequence[Row],
    failures: Mapping[str, str],
    pending: Sequence[str],
    known: MutableMapping[tuple[str, str], float],
    *,
    seeds: bool = True,
) -> Board:
    """Orders and compares rows.

    Args:
        about: what `bench.yaml` holds.
        rows: of the finished methods, in any order.
        failures: why a method has no row, by its name.
        pending: methods that have not finished.
        known: p-values of the swaps of pairs compared before, by their names in order; new ones are added.
        seeds: whether a difference must hold over the seeds too; False as tables of earlier versions have it.
    """
    rows = sorted(rows, key=lambda row: (-row.map, row.method))
    count = len(rows)
    planned = max(count, len(about.get("methods", ())))  # the same however many of them have finished
    rounds = rounds_for(planned * (planned - 1) // 2, LEVEL)
    pairs = list(combinations(range(count), 2))
    tuned = [place for place, row in enumerate(rows) if row.default_ap is not None]
    _compare([_pair(rows[i], rows[j]) for i, j in pairs] + [_gain(rows[place]) for place in tuned], rounds, known)
    p_values, detectable = np.ones((count, count)), np.zeros((count, count))
    between = [_larger(known, _pair(rows[i], rows[j]), _seeds(rows[i], rows[j]), seeds=seeds) for i, j in pairs]
    for (one, other), p in zip(pairs, _adjusted(between), strict=True):
        p_values[one, other] = p_values[other, one] = p
        smallest = _detectable(rows[one], rows[other], LEVEL / len(pairs), seeds=seeds)
        detectable[one, other] = detectable[other, one] = smallest
    gains: list[float | None] = [None] * count
    by_default = [_larger(known, _gain(rows[at]), _seeds_by_default(rows[at]), seeds=seeds) for at in tuned]
    for place, p in zip(tuned, _adjusted(by_default), strict=True):
        gains[place] = p
    return Board(
        about=about,
        rows=tuple(rows),
        letters=tuple(letters(p_values < LEVEL)),
        p_values=p_values,
        detectable=detectable,
        rounds=rounds,
        gain_p=tuple(gains),
        failures=dict(failures),
        pending=tuple(pending),
    )


def _adjusted(p_values: Sequence[float]) -> list[float]:
    return [float(p) for p in holm(p_values)] if p_values else []


_Pair = tuple[tuple[str, str], Floats]
"""The names of two configurations, and the difference of their average precision clip by clip [N]."""


def _pair(one: Row, other: Row) -> _Pair:
    first, second = sorted((one, other), key=lambda row: row.method)
    return (first.method, second.method), first.ap - second.ap


def _gain(row: Row) -> _Pair:
    assert row.default_ap is not None
    return (row.method, f"{row.method} by default"), row.ap - row.default_ap


def _compare(pairs: Sequence[_Pair], rounds: int, known: MutableMapping[tuple[str, str], float]) -> None:
    """Adds to `known` the p-values of the pairs that it lacks."""
    fresh = [(names, difference) for names, difference in pairs if names not in known]
    if fresh:
        found = randomisation_tests(np.stack([difference for _, difference in fresh]), _SEED, rounds)
        known.update((names, float(p)) for (names, _), p in zip(fresh, found, strict=True))


_Seeds = tuple[Sequence[float], Sequence[float]]
"""Mean test MAP of each seed of two configurations."""


def _seeds(one: Row, other: Row) -> _Seeds:
    return one.results.test.map.seeds, other.results.test.map.seeds


def _seeds_by_default(row: Row) -> _Seeds:
    assert row.results.default is not None
    return row.results.test.map.seeds, row.results.default.map.seeds


def _larger(known: Mapping[tuple[str, str], float], pair: _Pair, of: _Seeds, *, seeds: bool) -> float:
    """The p-value of a pair: of the swaps, or of Welch's test where that is larger and counts."""
    names, difference = pair
    return with_seeds(known[names], difference, *of) if seeds else known[names]


def _detectable(one: Row, other: Row, level: float, *, seeds: bool) -> float:
    if seeds:
        return detectable_over_seeds(one.ap - other.ap, *_seeds(one, other), level, POWER)
    variance = sum(
        float(np.var(seeds, ddof=1)) / len(seeds) if len(seeds) > 1 else 0.0
        for seeds in (row.results.test.map.seeds for row in (one, other))
    )
    return detectable_difference(one.ap - other.ap, variance, level, POWER)
