"""NDCG of graded relevance: an item's gain is any number from 0, e.g. how many labels it shares with the query.

DCG@k is the sum of gain / log2(1 + rank) over the first k, NDCG@k that divided by the DCG@k of the best ranking
(Jarvelin and Kekalainen, ACM TOIS 2002; the gain itself, not 2^gain - 1 as in Burges et al., ICML 2005). Where items
tie, each of their ranks has their mean gain, which is the mean over all orders of the tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.metrics.cosine import Block
from avtune.metrics.ranking import BLOCK_ITEMS, GRID, Ints
from avtune.metrics.ties import Floats


def graded_ndcg(
    similarity: Block, gains: Callable[[Ints], npt.NDArray[Any]], queries: int, items: int, ks: Sequence[int] = ()
) -> tuple[Floats, Floats]:
    """(NDCG over all ranks [Q], NDCG@k [Q, K]), each in [0, 1]; 0 for a query whose gains are all 0.

    Args:
        similarity: gives the similarities [q, G] of the queries with the given places: float32, where equal values tie,
            or float64 cosines, where values that agree to within a step of 2^-40 do.
        gains: gives their gains [q, G], at least 0.
        queries, items: Q and G.
        ks: cut-offs, each from 1 to G.

    >>> near = np.array([[0.9, 0.5, 0.1]], np.float32)
    >>> ndcg, at = graded_ndcg(lambda rows: near[rows], lambda rows: np.array([[1, 2, 0]])[rows], 1, 3, ks=[1])
    >>> round(float(ndcg[0]), 4), float(at[0, 0])
    (0.8597, 0.5)
    """
    cuts = np.array([items, *ks])
    discount = np.concatenate([[0.0], np.cumsum(1 / np.log2(1 + np.arange(1, items + 1)))])
    found = np.zeros((queries, len(cuts)))
    block = max(1, BLOCK_ITEMS // items)
    for start in range(0, queries, block):
        rows = np.arange(start, min(start + block, queries))
        gain = np.asarray(gains(rows), np.float64)
        assert gain.min() >= 0, "gains must be at least 0"
        best = np.sort(gain, axis=1)[:, ::-1]
        ideal = _dcg(best, np.broadcast_to(np.arange(items), best.shape), cuts, discount)
        near = similarity(rows)
        steps = np.rint(near * GRID) if near.dtype == np.float64 else near
        order = np.argsort(-steps, axis=1, kind="stable")
        falls = -np.diff(np.take_along_axis(steps, order, axis=1), axis=1)
        tie = np.zeros(order.shape, np.int64)  # of each rank: which tie it belongs to, from 0
        np.cumsum(falls > (1 if near.dtype == np.float64 else 0), axis=1, out=tie[:, 1:])
        dcg = _dcg(np.take_along_axis(gain, order, axis=1), tie, cuts, discount)
        found[rows] = np.divide(dcg, ideal, where=ideal > 0, out=np.zeros_like(dcg))
    return found[:, 0], found[:, 1:]


def _dcg(gain_QG: Floats, tie_QG: npt.NDArray[Any], cuts: Ints, discount: Floats) -> Floats:
    """DCG at each cut-off [Q, K] of gains in the order of the ranking, equal in the mean within a tie."""
    queries, items = gain_QG.shape
    of = (tie_QG + np.arange(queries)[:, None] * items).reshape(-1)
    size = np.bincount(of, minlength=queries * items)
    total = np.bincount(of, gain_QG.reshape(-1), minlength=queries * items)
    mean = (total[of] / size[of]).reshape(queries, items)
    sums = np.cumsum(mean * np.diff(discount), axis=1)
    return np.asarray(sums[:, cuts - 1])
