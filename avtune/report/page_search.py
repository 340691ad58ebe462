"""What searching bought: the best validation MAP against trials and against device seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from avtune.core.hyper import Value
from avtune.report.page_trials import rounded
from avtune.space.settings import LEARNING
from avtune.space.space import Space
from avtune.study.record import Record

Floats = npt.NDArray[np.float64]
Times = Mapping[int, tuple[float, float | None]]
LEARNERS = {"tpe": "TPE", "gp": "the Gaussian process"}
"""What the samplers are called that learn from the trials before."""
_SIZES = 200
BAND = (0.05, 0.95)


class Independent(TypedDict):
    """The highest value of n trials that were drawn at random, over all choices of n of those that there are.

    Attributes:
        what: which trials these are, in words.
        trials: how many.
        sizes: the values of n.
        expected, low, high: mean, 5 % and 95 % quantile of the highest of n.
    """

    what: str
    trials: int
    sizes: list[int]
    expected: list[float]
    low: list[float]
    high: list[float]


class Bought(TypedDict):
    """What searching bought.

    Attributes:
        best_so_far: the highest validation MAP of the trials 0 to n; None before the first value.
        by_seconds: for every trial that was better than all that had ended before: device seconds of all trials that
            had ended by then, its value, its number.
        seconds: device seconds of all ended trials.
        independent: of the trials that were drawn at random; None for fewer than two.
        chosen: trials that a sampler chose which learns, so that what is seen is a description, and no estimate for
            another search.
        sampler: which chose them, as it is called; empty where none did.
    """

    best_so_far: list[float | None]
    by_seconds: list[tuple[float, float, int]]
    seconds: float
    independent: Independent | None
    chosen: int
    sampler: str


def bought(records: Sequence[Record], space: Space, times: Times, known: Sequence[Mapping[str, Value]] = ()) -> Bought:
    """Args:
    records: of all trials, by number.
    space: that was searched.
    times: `Study.times`.
    known: `Study.known`, which nobody drew.
    """
    by_seconds, seconds = _by_seconds(records, times)
    search = space.search
    return {
        "best_so_far": best_so_far(records),
        "by_seconds": by_seconds,
        "seconds": round(seconds, 3),
        "independent": _independent(records, space, known),
        "chosen": max(0, len(records) - search.startup_trials) if search.sampler in LEARNING else 0,
        "sampler": LEARNERS.get(search.sampler, ""),
    }


def best_so_far(records: Sequence[Record]) -> list[float | None]:
    """The highest validation MAP of the trials up to each number; failed ones do not count."""
    found: list[float | None] = []
    best: float | None = None
    for record in records:
        value = record.best_value if record.state != "FAIL" else None
        if value is not None and (best is None or value > best):
            best = value
        found.append(rounded(best))
    return found


def _by_seconds(records: Sequence[Record], times: Times) -> tuple[list[tuple[float, float, int]], float]:
    """The trials that were better than all before, in the order in which they ended; and the seconds of all."""
    ended = [(end, number) for number, (_, end) in times.items() if end is not None]
    steps: list[tuple[float, float, int]] = []
    seconds = 0.0
    for _, number in sorted(ended):
        record = records[number]
        seconds += record.seconds
        value = record.best_value if record.state != "FAIL" else None
        if value is not None and (not steps or value > steps[-1][1]):
            steps.append((seconds, value, number))
    return [(round(at, 3), round(value, 6), number) for at, value, number in steps], seconds


def _independent(records: Sequence[Record], space: Space, known: Sequence[Mapping[str, Value]]) -> Independent | None:
    """Of the random trials, but for the default configuration and others that are not drawn."""
    search = space.search
    drawn = records[: search.startup_trials] if search.sampler in LEARNING else records
    others = [space.fitted({**point, **space.fixed}) for point in known]
    values = [
        record.best_value
        for record in drawn
        if record.state in ("COMPLETE", "PRUNED")
        and not space.is_default(record.trial.config)
        and space.fitted(record.trial.config) not in others
    ]
    drawn_values = np.array([value for value in values if value is not None], np.float64)
    if len(drawn_values) < 2:
        return None
    sizes = np.unique(np.geomspace(1, len(drawn_values), _SIZES).round().astype(int))
    expected, low, high = highest_of(drawn_values, sizes)
    whole = {"random": "all random trials", "qmc": "all quasi-random trials", "grid": "all trials of the grid"}
    what = whole.get(search.sampler, f"the random trials before {LEARNERS.get(search.sampler, search.sampler)}")
    return {
        "what": f"{what}, without the default configuration and without failed ones",
        "trials": len(drawn_values),
        "sizes": sizes.tolist(),
        "expected": expected.round(6).tolist(),
        "low": low.round(6).tolist(),
        "high": high.round(6).tolist(),
    }


def highest_of(values: Floats, sizes: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Mean and the two quantiles of `BAND` of the highest of n values, each [S]: exact, over all subsets of n.

    Args:
        values: [N].
        sizes: n of each [S], 1 to N.

    >>> mean, _, _ = highest_of(np.array([1.0, 2.0, 3.0]), np.array([1, 2, 3]))
    >>> mean.round(3).tolist()  # the pairs are 12, 13 and 23
    [2.0, 2.667, 3.0]
    """
    from scipy.special import gammaln  # here: a page without random trials needs none

    ordered = np.sort(values)
    count = len(ordered)
    place_N, size_S1 = np.arange(1, count + 1), np.asarray(sizes)[:, None]
    # P(the highest is at most the i-th value) = C(i, n) / C(N, n), 0 where i < n.
    inside = place_N >= size_S1
    spare = np.where(inside, place_N - size_S1, 0)
    log = gammaln(place_N + 1) - gammaln(spare + 1) - (gammaln(count + 1) - gammaln(count - size_S1 + 1))
    below_SN = np.where(inside, np.exp(np.minimum(log, 0.0)), 0.0)
    mean = (np.diff(below_SN, axis=1, prepend=0.0) * ordered).sum(axis=1)
    low, high = (ordered[np.argmax(below_SN >= share - 1e-12, axis=1)] for share in BAND)
    return mean, low, high
