"""Asynchronous successive halving (ASHA): which trials stop early.

Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", in its stopping form: a trial that reaches a
rung goes on if its value is among the best 1/factor of all values seen at that rung so far, its own included, rounded
up. Optuna's `SuccessiveHalvingPruner` rounds down: where few have been seen, as in most searches of this field, it lets
only one in 4 or 5 go on for a factor of 3, and so stops trials that would have won. The rung values are kept sorted, so
that a decision costs the logarithm of the number of trials."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence


def rung_epochs(epochs: int, grace: int, factor: int) -> tuple[int, ...]:
    """The epochs at which trials are compared: grace, grace * factor, ... below `epochs`.

    >>> rung_epochs(81, 3, 3)
    (3, 9, 27)
    """
    rungs = []
    rung = grace
    while rung < epochs:
        rungs.append(rung)
        rung *= factor
    return tuple(rungs)


class Asha:
    """The values seen at every rung, by its place in the order of rungs, from 0.

    Args:
        factor: about one in `factor` goes on; at least 2.
    """

    def __init__(self, factor: int) -> None:
        self._factor = factor
        self._seen: defaultdict[int, list[float]] = defaultdict(list)

    def decide(self, rung: int, value: float) -> bool:
        """Records a finite value (higher is better) at the rung with that index and returns whether its trial goes on.

        Equal values go on together.
        """
        self.add(rung, value)
        seen = self._seen[rung]
        better = len(seen) - bisect_right(seen, value)
        return better < _places(len(seen), self._factor)

    def add(self, rung: int, value: float) -> None:
        """Records the value of a trial that ended before the rung because it was flat: it would be the same there."""
        assert value == value, "a trial without a finite value fails before it gets here"
        insort(self._seen[rung], value)

    def forget(self, rung: int, value: float) -> None:
        """Takes back a value of a trial that failed and is trained again. Decisions that were made with it stand."""
        del self._seen[rung][bisect_left(self._seen[rung], value)]

    def seen(self, rung: int) -> int:
        """How many trials have reached the rung."""
        return len(self._seen[rung])

    def values(self) -> list[list[float]]:
        """The values at each rung that a trial has reached, ascending."""
        return [list(self._seen[rung]) for rung in sorted(self._seen)]


def _places(seen: int, factor: int) -> int:
    """How many of the best of so many go on."""
    return -(-seen // factor)


def rung_table(trials: int, epochs: int, rungs: Sequence[int], factor: int) -> list[tuple[int, float]]:
    """How many trials are expected to reach each rung, and the last epoch, when good and bad ones come in random order.

    The i-th value at a rung is among the best k of i with a probability of k / i.

    Args:
        trials: how many begin.
        epochs: the last epoch.
        rungs: the epochs of the rungs before it, ascending.
        factor: one in so many goes on at a rung.

    Returns:
        (epoch, expected number of trials) for every rung and for `epochs`.
    """
    rows = []
    expected = float(trials)
    for rung in rungs:
        rows.append((rung, expected))
        whole = int(expected)
        survivors = sum(_places(i, factor) / i for i in range(1, whole + 1))
        after = whole + 1
        expected = survivors + (expected - whole) * _places(after, factor) / after
    return [*rows, (epochs, expected)]


def expected_epochs(table: list[tuple[int, float]]) -> float:
    """The epochs that a search is expected to train, from its rung table."""
    total, before = 0.0, 0
    for epoch, count in table:
        total += (epoch - before) * count
        before = epoch
    return total
