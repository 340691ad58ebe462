"""Mean average precision over all ranks, exact, in both definitions of the field.

With relevant items at ranks k_1 < ... < k_R and P_h the mean of j / k_j over j = 1..h:

- standard (`ap`): P_R;
- running cut-off (`ap_running`): AP@k normalised by the hits so far, averaged over every cut-off k = 1..G, where
  cut-offs before the first hit count 0. It usually reads higher, but never where each query has one relevant item;
  released code of 2024 and later uses it.

Where relevant and irrelevant items tie, both are means over all orders of the tie, in closed form (`metrics.ties`): a
score does not depend on the order of the gallery.

Random embeddings give .0995 and .1235 on AVE's 189 test clips, .1013 and .1051 on 5,620 clips of ten equal classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avtune.core.objective import MAP, Objective
from avtune.metrics.directions import Direction, Directions, paired
from avtune.metrics.graded import graded_ndcg
from avtune.metrics.objective import RankScore, rank_score
from avtune.metrics.ranking import Ints, Similarity
from avtune.metrics.ties import Floats, TieMeans, Ties, tie_means


@dataclass(frozen=True)
class RetrievalScores:
    """Cross-modal retrieval scores, each in [0, 1]. a2v: audio queries, visual gallery; v2a: the reverse.

    Attributes:
        map, map_running: mean of both directions, by the standard and by the running cut-off definition.
        map_a2v, map_v2a, map_running_a2v, map_running_v2a: mean over the queries of one direction.
        ap_a2v, ap_v2a, ap_running_a2v, ap_running_v2a: per query [N], in the order of the clips.
        tied: share of the queries of both directions for which a relevant and an irrelevant clip tie.
        objective: the value of another objective than MAP; None where none was asked for.
    """

    map: float
    map_a2v: float
    map_v2a: float
    map_running: float
    map_running_a2v: float
    map_running_v2a: float
    ap_a2v: Floats
    ap_v2a: Floats
    ap_running_a2v: Floats
    ap_running_v2a: Floats
    tied: float
    objective: float | None = None


def average_precision(
    similarity: Similarity, query_labels: npt.ArrayLike, gallery_labels: npt.ArrayLike, threads: int | None = None
) -> tuple[Floats, Floats]:
    """Average precision of every query over all ranks; where items tie, its mean over the orders of the tie.

    Args:
        similarity: [Q, G], finite; float32 of any range, where equal values tie, or float64 cosines in [-1, 1], where
            values that agree to within a step of 2^-40 do.
        query_labels, gallery_labels: classes [Q] and [G], or bool [Q, C] and [G, C]; gallery items that share a label
            with the query are relevant.
        threads: worker threads; all usable cores when None.

    Returns:
        (ap [Q], ap_running [Q]), each in [0, 1]; 0 for a query without relevant items.
    """
    ap, ap_running, _ = average_precision_and(similarity, query_labels, gallery_labels, None, threads)
    return ap, ap_running


def average_precision_and(
    similarity: Similarity,
    query_labels: npt.ArrayLike,
    gallery_labels: npt.ArrayLike,
    other: RankScore | None,
    threads: int | None = None,
) -> tuple[Floats, Floats, Floats | None]:
    """As `average_precision`, with another score of the same ranks [Q], 0 for a query without relevant items; None
    where `other` is None."""
    queries, gallery = np.asarray(query_labels), np.asarray(gallery_labels)
    assert similarity.shape == (len(queries), len(gallery))
    assert similarity.size > 0
    scored = _average_precision(Direction(lambda rows: similarity[rows], queries, gallery), threads, other)
    return scored.ap, scored.ap_running, scored.other


class _Scored(NamedTuple):
    """By query [Q]: average precision by both definitions, whether it has ties, and another score where one is asked
    for."""

    ap: Floats
    ap_running: Floats
    tied: npt.NDArray[np.bool_]
    other: Floats | None


def _average_precision(direction: Direction, threads: int | None, other: RankScore | None = None) -> _Scored:
    count, items = len(direction.query_labels), direction.items
    ap, ap_running, tied = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    others = None if other is None else np.zeros(count)

    def visit(queries: Ints, ranks_QR: Ints, ties: Ties) -> None:
        num_relevant = ranks_QR.shape[1]
        if num_relevant == 0:
            return
        if other is not None and others is not None:
            others[queries] = other(ranks_QR, ties)
        hits = np.arange(1, num_relevant + 1)
        precision_QR = hits / ranks_QR
        cutoffs_QR = np.diff(ranks_QR, axis=1, append=items + 1)
        means = tie_means(ties) if len(ties) else None
        if means is not None:
            _average_ties(precision_QR, cutoffs_QR, ties, means)
        so_far_QR = np.cumsum(precision_QR, axis=1)
        so_far_QR /= hits
        ap[queries] = so_far_QR[:, -1]
        # so_far_QR[:, h] holds from the rank of hit h to the rank before the next one.
        running_Q = (so_far_QR * cutoffs_QR).sum(axis=1)
        if means is not None:
            tied[queries[ties.query]] = True
            running_Q += _inside_ties(so_far_QR, ties, means)
        ap_running[queries] = running_Q / items

    direction.visit(visit, threads)
    return _Scored(ap, ap_running, tied, others)


def _average_ties(precision_QR: Floats, cutoffs_QR: Ints, ties: Ties, means: TieMeans) -> None:
    """Replaces, in place, the precisions at the hits of each tie by equal parts of their mean sum, and takes the ranks
    of the tie from the cut-offs: from the last hit before it those of its irrelevant items, which come first, and from
    its own hits one each."""
    query, place = ties.places()
    precision_QR[query, place] = np.repeat(means.total / ties.relevant, ties.relevant)
    cutoffs_QR[query, place] -= 1
    led = ties.hits > 0
    cutoffs_QR[ties.query[led], ties.hits[led] - 1] -= (ties.size - ties.relevant)[led]


def _inside_ties(so_far_QR: Floats, ties: Ties, means: TieMeans) -> Floats:
    """AP@k summed over the ranks of all ties of each query [Q]."""
    before = np.where(ties.hits > 0, so_far_QR[ties.query, ties.hits - 1], 0)
    inside_T = before * means.kept + means.gained
    return np.bincount(ties.query, inside_T, minlength=len(so_far_QR)).astype(np.float64, copy=False)


def retrieval_scores(
    audio: npt.ArrayLike,
    visual: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    exact: bool = False,
    threads: int | None = None,
    objective: Objective = MAP,
) -> RetrievalScores:
    """Scores audio-to-visual and visual-to-audio retrieval by cosine similarity.

    The gallery of a query is every clip of the other modality, its own pair included; clips that share a label with the
    query are relevant. A row of zeros has similarity 0 to everything. Where clips tie, a score is its mean over their
    orders.

    Args:
        audio, visual: embeddings [N, D].
        labels: class of each clip [N], whole numbers; or bool [N, C], a column a class, several labels a clip.
        exact: compute similarities in float64, where values that agree to about 1e-12 are ties (final scores); float32
            otherwise (validation during a search).
        threads: worker threads; all usable cores when None.
        objective: its value is given beside MAP.

    Raises:
        UserError: shapes do not match, there are no clips, or an embedding is not finite.

    >>> clips = np.array([[1, 0], [1, 0.1], [0.2, 1], [0.1, 1]])
    >>> scores = retrieval_scores(clips, clips[[0, 2, 1, 3]], [0, 0, 1, 1])  # two visual clips have changed places
    >>> round(scores.map_a2v, 4), round(scores.map, 4)
    (0.7083, 0.7083)
    """
    return scores_of(paired(audio, visual, labels, exact=exact), threads, objective)


def scores_of(directions: Directions, threads: int | None = None, objective: Objective = MAP) -> RetrievalScores:
    """As `retrieval_scores`, of any queries and galleries."""
    a2v, v2a = (_of_direction(direction, threads, objective) for direction in directions)
    map_a2v, map_v2a = float(a2v.ap.mean()), float(v2a.ap.mean())
    map_running_a2v, map_running_v2a = float(a2v.ap_running.mean()), float(v2a.ap_running.mean())
    return RetrievalScores(
        map=(map_a2v + map_v2a) / 2,
        map_a2v=map_a2v,
        map_v2a=map_v2a,
        map_running=(map_running_a2v + map_running_v2a) / 2,
        map_running_a2v=map_running_a2v,
        map_running_v2a=map_running_v2a,
        ap_a2v=a2v.ap,
        ap_v2a=v2a.ap,
        ap_running_a2v=a2v.ap_running,
        ap_running_v2a=v2a.ap_running,
        tied=float(a2v.tied.mean() + v2a.tied.mean()) / 2,
        objective=None if objective.is_map else _objective(objective, a2v, v2a),
    )


def _of_direction(direction: Direction, threads: int | None, objective: Objective) -> _Scored:
    graded = objective.metric == "ndcg" and direction.gains is not None
    other = None if graded else rank_score(objective, direction.items)
    scored = _average_precision(direction, threads, other)
    if graded and direction.gains is not None:
        ndcg, _ = graded_ndcg(direction.ranked, direction.gains, len(direction.query_labels), direction.items)
        return scored._replace(other=ndcg)
    return scored


def _objective(objective: Objective, a2v: _Scored, v2a: _Scored) -> float:
    both = [scored.ap if scored.other is None else scored.other for scored in (a2v, v2a)]
    return objective.mean(*(float(one.mean()) for one in both))
