"""The value of an objective for every query, from the ranks of its relevant items: what a search maximises where that
is not MAP (`core.objective`). The definitions are those of `metrics.cutoffs`, which is the slow way to the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from avtune.core.objective import Objective
from avtune.metrics.rank_sums import RankSums
from avtune.metrics.ties import Floats, Ints, Ties

RankScore = Callable[[Ints, Ties], Floats]
"""Ranks [Q, R] of the relevant items of queries that have R > 0 of them, and their ties, to a value for each [Q]."""


def rank_score(objective: Objective, items: int) -> RankScore | None:
    """The score of a query; None where the objective is made of MAP alone.

    Args:
        items: length of the rankings.
    """
    if objective.of_map:
        return None
    sums = RankSums(items)

    def score(ranks_QR: Ints, ties: Ties) -> Floats:
        relevant = ranks_QR.shape[1]
        cut = objective.cut(relevant, items)
        if objective.metric == "ndcg":
            total, most = sums.gain(ranks_QR, ties, cut), sums.best_gain(relevant, cut)
        else:
            total, most = sums.precision(ranks_QR, ties, cut), min(relevant, cut)
        return np.asarray(total / most)

    return score
