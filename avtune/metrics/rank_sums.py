"""Sums over the ranks of a query's relevant items up to a cut-off: what scores at a cut-off are made of.

Where relevant and irrelevant items tie, a sum is its mean over all orders of the tie. A tie of n items, r of them
relevant, follows `a` items of which `h` are relevant; m of its places lie within the cut-off. Place i of a tie holds a
relevant item with probability r / n, and then (i - 1) (r - 1) / (n - 1) relevant ones before it on average:

    precision at the relevant items   r / n sum (h + 1 + (i - 1) (r - 1) / (n - 1)) / (a + i)   over i = 1..m
    discounted gain                   r / n sum 1 / log2(1 + a + i)                             over i = 1..m

(McSherry and Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores",
ECIR 2008.) Only ranks and ties are needed: nothing here knows what makes an item relevant.

Legend: Q queries with the same number of relevant items, R relevant items, T ties.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from avtune.metrics.ties import Floats, Ints, Ties


class RankSums:
    """Sums over ranks 1..G that are looked up.

    Args:
        items: G, the length of the rankings.
    """

    def __init__(self, items: int) -> None:
        rank = np.arange(1, items + 1)
        self._inverse = _from_zero(1 / rank)
        self._discount = _from_zero(1 / np.log2(1 + rank))

    def precision(self, ranks_QR: Ints, ties: Ties, cut: int) -> Floats:
        """The precision at each relevant item, summed over those among the first `cut` [Q]."""
        hits = np.arange(1, ranks_QR.shape[1] + 1)
        return _summed(hits / ranks_QR, ranks_QR, ties, cut, self._tied_precision(ties, cut))

    def gain(self, ranks_QR: Ints, ties: Ties, cut: int) -> Floats:
        """Discounted cumulative gain at `cut` [Q], of a gain of 1 for each relevant item."""
        inside = _inside(ties, cut)
        tied = ties.relevant / ties.size * (self._discount[ties.before + inside] - self._discount[ties.before])
        return _summed(1 / np.log2(1 + ranks_QR), ranks_QR, ties, cut, tied)

    def best_gain(self, relevant: int, cut: int) -> float:
        """The highest `gain` of a query with so many relevant items."""
        return float(self._discount[min(relevant, cut)])

    def precision_of_found(self, ranks_QR: Ints, ties: Ties, cut: int) -> Floats:
        """`precision` divided by the number of relevant items among the first `cut` [Q]; 0 where there are none.

        A ratio: where a tie goes beyond the cut-off, its mean is taken over how many relevant items lie within."""
        total = self.precision(ranks_QR, ties, cut)
        score: Floats = total / np.maximum(np.count_nonzero(ranks_QR <= cut, axis=1), 1)
        open_T = (ties.before < cut) & (ties.before + ties.size > cut)  # of a query at most one
        if not open_T.any():
            return score
        query, before, hits, size, relevant = (
            each[open_T] for each in (ties.query, ties.before, ties.hits, ties.size, ties.relevant)
        )
        tie = Ties(query, before, hits, size, relevant)
        so_far = total[query] - self._tied_precision(tie, cut)
        score[query] = self._mean_ratio(so_far, tie, cut)
        return score

    def _mean_ratio(self, so_far: Floats, ties: Ties, cut: int) -> Floats:
        """Mean of (`so_far` + x / m ((h + 1) A + (x - 1) / (m - 1) B)) / (h + x) [T] over x, the relevant items among
        the m of each tie that are within the cut-off; A and B as in `metrics.ties`."""
        from scipy.stats import hypergeom  # here: it takes a second to import

        inside = (cut - ties.before)[:, None]
        inverse, ramp = (each[:, None] for each in self._sums(ties, cut))
        x = np.arange(int(np.minimum(ties.relevant, inside[:, 0]).max()) + 1)
        chance = hypergeom.pmf(x, ties.size[:, None], ties.relevant[:, None], inside)
        hits = ties.hits[:, None]
        tied = x / inside * ((hits + 1) * inverse + (x - 1) / np.maximum(inside - 1, 1) * ramp)
        ratio = (so_far[:, None] + tied) / np.maximum(hits + x, 1)
        return np.asarray((chance * ratio).sum(axis=1))

    def _tied_precision(self, ties: Ties, cut: int) -> Floats:
        """What each tie contributes to `precision` [T]."""
        inverse, ramp = self._sums(ties, cut)
        others = (ties.relevant - 1) / np.maximum(ties.size - 1, 1)
        return ties.relevant / ties.size * ((ties.hits + 1) * inverse + others * ramp)

    def _sums(self, ties: Ties, cut: int) -> tuple[Floats, Floats]:
        """Sums of 1 / (a + i) and of (i - 1) / (a + i) over the places of each tie within the cut-off, [T] each."""
        inside = _inside(ties, cut)
        inverse = self._inverse[ties.before + inside] - self._inverse[ties.before]
        return inverse, inside - (ties.before + 1) * inverse


def _inside(ties: Ties, cut: int) -> Ints:
    """Places of each tie within the cut-off [T]."""
    return np.clip(cut - ties.before, 0, ties.size)


def _summed(each_QR: Floats, ranks_QR: Ints, ties: Ties, cut: int, tied_T: Floats) -> Floats:
    """The values at the ranks within the cut-off, those of ties replaced by `tied_T`, summed by query."""
    each_QR = np.where(ranks_QR <= cut, each_QR, 0)
    if not len(ties):
        return np.asarray(each_QR.sum(axis=1))
    each_QR[ties.places()] = 0
    return np.asarray(each_QR.sum(axis=1) + np.bincount(ties.query, tied_T, minlength=len(ranks_QR)))


def _from_zero(values: npt.NDArray[np.float64]) -> Floats:
    """Sums of the first 0, 1, 2, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])
