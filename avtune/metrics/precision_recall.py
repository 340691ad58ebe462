"""Precision and recall at k, and the precision-recall curve, averaged over queries.

Where relevant and irrelevant items tie, precision and recall at k are means over all orders of the tie: its relevant
items are spread evenly over its ranks. The curve interpolates these means: the precision at a level is the highest mean
precision at a rank whose mean recall is at least that level. (The mean of the curves of all orders is another one; this
one needs no orders, and is the usual one where nothing ties.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from avtune.metrics.directions import Direction, Directions, paired
from avtune.metrics.ties import Floats, Ints, Ties

NUM_LEVELS = 101
"""Recall levels of the curve: 0, .01, ..., 1. Every tenth of them is the classic eleven-point curve."""


@dataclass(frozen=True)
class PrecisionRecall:
    """Means over the queries of each direction. a2v: audio queries, visual gallery; v2a: the reverse.

    Attributes:
        ks: the cut-offs [K].
        precision_a2v, precision_v2a: relevant share of the first k [K], in [0, 1].
        recall_a2v, recall_v2a: share of the relevant clips among the first k [K], in [0, 1].
        levels: recall levels of the curve [101], from 0 to 1.
        curve_a2v, curve_v2a: interpolated precision at each level [101]: the best precision at that or a higher recall.
    """

    ks: tuple[int, ...]
    precision_a2v: Floats
    precision_v2a: Floats
    recall_a2v: Floats
    recall_v2a: Floats
    levels: Floats
    curve_a2v: Floats
    curve_v2a: Floats


def precision_recall(
    audio: npt.ArrayLike,
    visual: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    ks: Sequence[int] = (1, 5, 10),
    exact: bool = False,
    threads: int | None = None,
) -> PrecisionRecall:
    """Precision and recall of cross-modal retrieval by cosine, with the gallery and the ties of `retrieval_scores`.

    Args:
        audio, visual: embeddings [N, D].
        labels: class of each clip [N], whole numbers; or bool [N, C], several labels a clip.
        ks: cut-offs, each from 1 to N.
        exact: float64 similarities, as in `retrieval_scores`.
        threads: worker threads; all usable cores when None.

    Raises:
        UserError: as `retrieval_scores`, or a cut-off is outside 1..N.

    >>> clips = np.eye(4)
    >>> found = precision_recall(clips, clips, [0, 0, 1, 1], ks=[1, 4])
    >>> found.precision_a2v.tolist(), found.recall_a2v.tolist()
    ([1.0, 0.5], [0.5, 1.0])
    """
    return precision_recall_of(paired(audio, visual, labels, exact=exact), ks, threads)


def precision_recall_of(directions: Directions, ks: Sequence[int], threads: int | None = None) -> PrecisionRecall:
    """As `precision_recall`, of any queries, each of which has a relevant item, and galleries."""
    a2v, v2a = directions
    a2v.check_cutoffs(ks)
    precision_a2v, recall_a2v, curve_a2v = _means(a2v, ks, threads)
    precision_v2a, recall_v2a, curve_v2a = _means(v2a, ks, threads)
    return PrecisionRecall(
        ks=tuple(ks),
        precision_a2v=precision_a2v,
        precision_v2a=precision_v2a,
        recall_a2v=recall_a2v,
        recall_v2a=recall_v2a,
        levels=np.arange(NUM_LEVELS) / (NUM_LEVELS - 1),
        curve_a2v=curve_a2v,
        curve_v2a=curve_v2a,
    )


def _means(direction: Direction, ks: Sequence[int], threads: int | None) -> tuple[Floats, Floats, Floats]:
    count = len(direction.query_labels)
    precision = np.empty((count, len(ks)))
    recall = np.empty_like(precision)
    curve = np.empty((count, NUM_LEVELS))

    def visit(queries: Ints, ranks_QR: Ints, ties: Ties) -> None:
        num_relevant = ranks_QR.shape[1]  # at least 1
        for column, k in enumerate(ks):
            found = np.count_nonzero(ranks_QR <= k, axis=1)
            precision[queries, column] = found / k
            recall[queries, column] = found / num_relevant
        at_hit = np.arange(1, num_relevant + 1) / ranks_QR
        best_from = np.maximum.accumulate(at_hit[:, ::-1], axis=1)[:, ::-1]
        # The first hit h with h / R >= level, in whole numbers so that no level is missed by rounding.
        first_hit = -(-np.arange(NUM_LEVELS) * num_relevant // (NUM_LEVELS - 1))
        curve[queries] = best_from[:, np.maximum(first_hit, 1) - 1]
        if len(ties):
            some, row_T = np.unique(ties.query, return_inverse=True)
            shares, sizes = _mean_hits(ranks_QR[some], replace(ties, query=row_T), direction.items)
            at_k = (shares / sizes)[:, np.array(ks, int) - 1]
            precision[queries[some]], recall[queries[some]] = at_k / ks, at_k / num_relevant
            curve[queries[some]] = _mean_curve(shares, sizes, num_relevant)

    direction.visit(visit, threads)
    return precision.mean(axis=0), recall.mean(axis=0), curve.mean(axis=0)


def _mean_hits(ranks_QR: Ints, ties: Ties, num_items: int) -> tuple[Ints, Ints]:
    """(shares, sizes) [Q, G]: the mean number of hits so far at each rank is shares / sizes, whole numbers."""
    shares = np.zeros((len(ranks_QR), num_items), np.int64)
    sizes = np.ones_like(shares)
    shares[np.arange(len(ranks_QR))[:, None], ranks_QR - 1] = 1
    np.cumsum(shares, axis=1, out=shares)
    query, before, hits, size, relevant = (
        np.repeat(each, ties.size) for each in (ties.query, ties.before, ties.hits, ties.size, ties.relevant)
    )
    taken = np.arange(1, len(query) + 1) - np.repeat(np.cumsum(ties.size) - ties.size, ties.size)
    place = before + taken - 1
    shares[query, place] = hits * size + taken * relevant
    sizes[query, place] = size
    return shares, sizes


def _mean_curve(shares: Ints, sizes: Ints, num_relevant: int) -> Floats:
    """Interpolated mean precision at each level [Q, 101], of what `_mean_hits` returns."""
    num_queries, num_items = shares.shape
    at_rank = shares / (sizes * np.arange(1, num_items + 1))
    best_from = np.maximum.accumulate(at_rank[:, ::-1], axis=1)[:, ::-1]
    # The highest level reached at each rank, one ascending line over all queries.
    rows = np.arange(num_queries)[:, None]
    reached = shares * (NUM_LEVELS - 1) // (sizes * num_relevant) + rows * NUM_LEVELS
    levels = np.arange(num_queries * NUM_LEVELS)
    first_rank = np.searchsorted(reached.reshape(-1), levels).reshape(num_queries, NUM_LEVELS) - rows * num_items
    return np.take_along_axis(best_from, first_rank, axis=1)
