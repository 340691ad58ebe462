"""Which configurations make a portfolio, and what it is worth on data that it was made without.

Regret on a data set is normalised: 0 for its best recorded configuration, 1 for the median one. The choice is greedy,
as for zero-shot portfolios of AutoML (Feurer et al., Auto-sklearn 2.0, 2022; Winkelmolen et al., Practical and sample
efficient zero-shot HPO, 2020): each configuration is the one that most lowers the mean over data sets of the least
regret so far. The method's default comes first without being one of the eight, since every search tries it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
SIZE = 8
DEFAULT = 0
"""The column of the default configuration."""
_DIGITS = 9  # of regrets that are compared: they are sums in no fixed order


@dataclass(frozen=True)
class Table:
    """What configurations came to on data sets.

    Attributes:
        names: of the data sets.
        families: of each of them, see `_portfolio_sets`.
        values: best validation MAP [sets, configurations]; the least of a set where a run failed.
    """

    names: Sequence[str]
    families: Sequence[str]
    values: Floats

    @property
    def regrets(self) -> Floats:
        """Normalised, [sets, configurations]."""
        best = self.values.max(axis=1, keepdims=True)
        width = best - np.median(self.values, axis=1, keepdims=True)
        return (best - self.values) / np.where(width > 0, width, 1.0)

    def without(self, families: Sequence[str]) -> Table:
        """The sets of other families.

        Raises:
            ValueError: there are none.
        """
        kept = [place for place, family in enumerate(self.families) if family not in families]
        if not kept:
            raise ValueError(f"no data set is left without {', '.join(families)}")
        return Table([self.names[place] for place in kept], [self.families[place] for place in kept], self.values[kept])

    @property
    def weights(self) -> Floats:
        """Of the data sets: each family counts the same."""
        counts = {family: list(self.families).count(family) for family in self.families}
        found = np.array([1 / counts[family] for family in self.families])
        return found / found.sum()


def choose(table: Table, size: int = SIZE) -> list[int]:
    """So many configurations, in the order in which they are chosen; the default is none of them. Of those that lower
    the regret equally, as when each data set has its best one already, that with the least mean regret by itself."""
    regrets, weights = table.regrets, table.weights
    alone = weights @ regrets
    least, chosen = regrets[:, DEFAULT], list[int]()
    for _ in range(min(size, regrets.shape[1] - 1)):
        after = (weights @ np.minimum(least[:, None], regrets)).round(_DIGITS)
        after[[DEFAULT, *chosen]] = np.inf
        chosen.append(int(np.lexsort((alone, after))[0]))
        least = np.minimum(least, regrets[:, chosen[-1]])
    return chosen


def best_of_random(values: Floats, count: int) -> float:
    """The expected best of the default and `count` others at random, without repeats.

    Args:
        values: higher is better [configurations].
    """
    others = np.maximum(np.sort(np.delete(values, DEFAULT)), values[DEFAULT])
    if count == 0:
        return float(values[DEFAULT])
    total = len(others)
    # The best of `count` is the one at place i (ascending) in C(i, count - 1) of C(total, count) cases.
    chances = np.array([comb(place, count - 1) for place in range(total)], dtype=float) / comb(total, count)
    return float(chances @ others)


@dataclass(frozen=True)
class Judged:
    """A data set, with portfolios that were made without its family.

    Attributes:
        name, family: of it.
        chosen: the portfolio.
        portfolio: best validation MAP of the default and the first 0, 1, ... of the portfolio.
        random: the expected one of the default and 0, 1, ... random configurations.
        scale: MAP of a normalised regret of 1.
        best: of all recorded configurations.
    """

    name: str
    family: str
    chosen: Sequence[int]
    portfolio: Sequence[float]
    random: Sequence[float]
    scale: float
    best: float

    def regret(self, value: float) -> float:
        """Normalised."""
        return (self.best - value) / self.scale

    def as_many_random(self, values: Floats, count: int) -> int:
        """How many random configurations are as good as the first `count` of the portfolio; all of them at most."""
        target = self.portfolio[count]
        return next((n for n in range(len(values)) if best_of_random(values, n) >= target - 1e-12), len(values) - 1)


def judge(table: Table, *, by_family: bool = True) -> list[Judged]:
    """Every data set with the portfolio that is made without its family, or, less strictly, without it alone."""
    found = []
    for place, name in enumerate(table.names):
        family = table.families[place]
        others = table.without([family]) if by_family else _without_set(table, place)
        chosen, values = choose(others), table.values[place]
        tried = [[DEFAULT, *chosen[:count]] for count in range(len(chosen) + 1)]
        width = float(values.max() - np.median(values))
        found.append(
            Judged(
                name,
                family,
                chosen,
                [float(values[columns].max()) for columns in tried],
                [best_of_random(values, count) for count in range(len(tried))],
                width if width > 0 else 1.0,
                float(values.max()),
            )
        )
    return found


def _without_set(table: Table, place: int) -> Table:
    kept = [other for other in range(len(table.names)) if other != place]
    return Table([table.names[one] for one in kept], [table.families[one] for one in kept], table.values[kept])


def by_family(judged: Sequence[Judged], values: Mapping[str, float]) -> list[float]:
    """The mean of a figure over the sets of each family: sets of one family are not independent.

    Args:
        values: by data set.
    """
    families = list(dict.fromkeys(one.family for one in judged))
    return [float(np.mean([values[one.name] for one in judged if one.family == family])) for family in families]
