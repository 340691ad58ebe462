"""Precision and recall at k, and the precision-recall curve, averaged over queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.errors import UserError
from avtune.metrics.cosine import Block, cosine_blocks
from avtune.metrics.ranking import Ints, visit_ranks

Floats = npt.NDArray[np.float64]
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
        labels: class of each clip [N], whole numbers.
        ks: cut-offs, each from 1 to N.
        exact: float64 similarities, as in `retrieval_scores`.
        threads: worker threads; all usable cores when None.

    Raises:
        UserError: as `retrieval_scores`, or a cut-off is outside 1..N.
    """
    a2v, v2a, clip_labels = cosine_blocks(audio, visual, labels, exact)
    wrong = [k for k in ks if not 1 <= k <= len(clip_labels)]
    if wrong:
        raise UserError(f"cut-off k is {wrong[0]}; allowed: 1 to {len(clip_labels)}, the number of clips")
    precision_a2v, recall_a2v, curve_a2v = _means(a2v, clip_labels, ks, threads)
    precision_v2a, recall_v2a, curve_v2a = _means(v2a, clip_labels, ks, threads)
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


def _means(similarity: Block, labels: Ints, ks: Sequence[int], threads: int | None) -> tuple[Floats, Floats, Floats]:
    precision = np.empty((len(labels), len(ks)))
    recall = np.empty_like(precision)
    curve = np.empty((len(labels), NUM_LEVELS))

    def visit(queries: Ints, ranks_QR: Ints) -> None:
        num_relevant = ranks_QR.shape[1]  # at least 1: a query's own pair
        for column, k in enumerate(ks):
            found = np.count_nonzero(ranks_QR <= k, axis=1)
            precision[queries, column] = found / k
            recall[queries, column] = found / num_relevant
        at_hit = np.arange(1, num_relevant + 1) / ranks_QR
        best_from = np.maximum.accumulate(at_hit[:, ::-1], axis=1)[:, ::-1]
        # The first hit h with h / R >= level, in whole numbers so that no level is missed by rounding.
        first_hit = -(-np.arange(NUM_LEVELS) * num_relevant // (NUM_LEVELS - 1))
        curve[queries] = best_from[:, np.maximum(first_hit, 1) - 1]

    visit_ranks(similarity, labels, labels, visit, threads)
    return precision.mean(axis=0), recall.mean(axis=0), curve.mean(axis=0)
