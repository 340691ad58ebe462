"""Which finalists of a race cannot win any more, so that they get no further seeds. Pure: values in, a decision out.

**Rounds.** Every finalist is run over two seeds, those that may still win over a third, then over five, eight, ... up
to the full number (`rounds`). A decision is made when a round is complete, from values by seed: the order in which runs
end has no part in it, nor has the number of devices, and whoever has the values makes it again.

**The test.** After `n` of `S` seeds the leader's mean is higher than a finalist's by `d`; with all seeds the difference
will be `D`. Under the assumptions below `(D - d) / (s * sqrt(2 * (1/n - 1/S)))` has Student's t distribution, with the
degrees of freedom of `s`. It is the prediction interval for the mean of further values (Hahn and Meeker, "Statistical
Intervals", 1991, chapter 4), as trials are stopped when their end can be foreseen (Lan, Simon and Halperin,
"Stochastically curtailed tests in long-term clinical trials", 1982). A finalist is dropped when `d` exceeds the
quantile of `1 - ERROR / comparisons`, where comparisons are the rounds with a decision times the other finalists
(Bonferroni). So a finalist that all seeds would put first is dropped with a probability of at most `ERROR`. Whether
finalists differ is not asked, but whether further seeds can change who is named.

**The spread.** Two seeds estimate no variance. `s` is the standard deviation within a finalist, pooled over all
finalists of the race, also those that have been dropped; its degrees of freedom are their seeds less one, added.

**Assumed.** Values of a finalist are normal around its mean, with the same spread for all, and those of different
finalists are independent. Where a seed is good or bad for all finalists alike, their differences vary less than `s`
says, and the error is below `ERROR`. Values are those at a finalist's own best epoch so far, as everywhere in the
finals; that this epoch is chosen from the same values is not corrected for. `benchmarks/finals_race.py` replays races
on finals that were run in full.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import numpy as np

ERROR = 0.05
"""The largest probability with which a finalist is dropped that all seeds would have put first."""

Name = TypeVar("Name")


def rounds(seeds: int) -> list[int]:
    """After how many seeds a decision is made, the last being all: 2, 3, 5, 8, ..., each about 1.6 times the one
    before. Every round waits for its longest run, so they are few; `benchmarks/finals_race.py` compares.

    Args:
        seeds: the full number, at least 1.

    >>> rounds(5), rounds(9), rounds(2)
    ([2, 3, 5], [2, 3, 5, 8, 9], [2])
    """
    assert seeds >= 1
    made, following = [], (2, 3)
    while following[0] < seeds:
        made.append(following[0])
        following = following[1], sum(following)
    return [*made, seeds]


def cannot_win(
    values: Mapping[Name, Sequence[float]],
    racing: Collection[Name],
    seeds: int,
    *,
    leading: Collection[Name],
    compared: int,
    error: float = ERROR,
) -> set[Name]:
    """Those that further seeds would put first with next to no probability; see the module.

    Args:
        values: the score of each seed by finalist, as many as it has, at least two; of all finalists that have not
            failed. What counts as its score, e.g. at which epoch, is the caller's.
        racing: those that have not been dropped. They have the same number of seeds, below `seeds`.
        seeds: the full number.
        leading: those of `racing` that are compared with: all but a reference, which cannot be named the winner.
        compared: finalists of the race at its beginning.
        error: see `ERROR`.

    Returns:
        Some of `racing`; never the one of `leading` with the highest mean.

    >>> after_two = {"a": [0.70, 0.71], "b": [0.69, 0.71], "c": [0.50, 0.51]}
    >>> cannot_win(after_two, "abc", 5, leading="abc", compared=3)
    {'c'}
    """
    assert 0 < error < 1
    done = {len(values[name]) for name in racing}
    assert len(done) <= 1, "a round is decided when it is complete"
    if not leading:
        return set()
    (count,) = done
    assert 2 <= count < seeds, "there is something to decide, and something to decide it with"
    from scipy import special  # here: it takes a third of a second to import, and no engine needs it

    comparisons = max(1, compared - 1) * (len(rounds(seeds)) - 1)
    spread, freedom = pooled_spread(list(values.values()))
    quantile = float(special.stdtrit(freedom, 1 - error / comparisons))
    most = quantile * spread * (2 * (1 / count - 1 / seeds)) ** 0.5
    means = {name: float(np.mean(values[name])) for name in racing}
    lead = max(means[name] for name in leading)
    return {name for name, mean in means.items() if lead - mean > most}


def pooled_spread(values: Sequence[Sequence[float]]) -> tuple[float, int]:
    """(standard deviation within the groups, its degrees of freedom).

    Args:
        values: of each group, at least one, and two in some.

    >>> spread, freedom = pooled_spread([[0.1, 0.3], [0.5, 0.5], [0.9]])
    >>> round(spread, 4), freedom
    (0.1, 2)
    """
    freedom = sum(len(group) - 1 for group in values)
    assert freedom > 0
    squares = sum(float(np.square(np.subtract(group, np.mean(group))).sum()) for group in values)
    return (squares / freedom) ** 0.5, freedom
