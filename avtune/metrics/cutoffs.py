"""MAP@R, MAP@k and NDCG.

With relevant items at ranks k_1 < ... < k_R and P_j = j / k_j the precision at the j-th of them:

- AP@R: the sum of P_j over the relevant items among the first R, divided by R (Musgrave, Belongie, Lim, "A metric
  learning reality check", ECCV 2020);
- AP@k: the sum over those among the first k, divided by min(R, k), so that 1 means that the first k are relevant as far
  as there are relevant ones;
- AP@k of those found: the same sum divided by how many there are, 0 where there are none. Cross-modal papers since
  Rasiwasia et al. ("A new approach to cross-modal multimedia retrieval", ACM MM 2010) and most code mean this one by
  MAP@50. A single relevant clip at rank 1 scores 1;
- NDCG: discounted cumulative gain, the sum of 1 / log2(1 + k_j), divided by that of the best ranking (Jarvelin and
  Kekalainen, "Cumulated gain-based evaluation of IR techniques", ACM TOIS 2002). NDCG@k looks at the first k of both.
  Where clips have several labels, the gain of a clip is how many it shares with the query (`metrics.graded`).

Where relevant and irrelevant items tie, each is its mean over all orders of the tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.metrics.directions import Direction, Directions, paired
from avtune.metrics.graded import graded_ndcg
from avtune.metrics.rank_sums import RankSums
from avtune.metrics.ties import Floats, Ints, Ties


@dataclass(frozen=True)
class CutoffScores:
    """Of one direction, by query, each in [0, 1].

    Attributes:
        ap_at_r, ndcg: [Q].
        ap_at_k, ap_found_at_k, ndcg_at_k: [Q, K], at each cut-off.
    """

    ap_at_r: Floats
    ndcg: Floats
    ap_at_k: Floats
    ap_found_at_k: Floats
    ndcg_at_k: Floats


@dataclass(frozen=True)
class Cutoffs:
    """Means over the queries. a2v: audio queries, visual gallery; v2a: the reverse.

    Attributes:
        ks: the cut-offs [K].
        map_at_r_a2v, map_at_r_v2a: MAP@R.
        ndcg_a2v, ndcg_v2a: NDCG over all ranks.
        map_at_k_a2v, map_at_k_v2a: MAP@k, divided by min(R, k) [K].
        map_found_at_k_a2v, map_found_at_k_v2a: MAP@k, divided by the relevant items found [K].
        ndcg_at_k_a2v, ndcg_at_k_v2a: NDCG@k [K].
    """

    ks: tuple[int, ...]
    map_at_r_a2v: float
    map_at_r_v2a: float
    ndcg_a2v: float
    ndcg_v2a: float
    map_at_k_a2v: Floats
    map_at_k_v2a: Floats
    map_found_at_k_a2v: Floats
    map_found_at_k_v2a: Floats
    ndcg_at_k_a2v: Floats
    ndcg_at_k_v2a: Floats


def cutoffs(
    audio: npt.ArrayLike,
    visual: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    ks: Sequence[int] = (1, 5, 10),
    exact: bool = False,
    threads: int | None = None,
) -> Cutoffs:
    """MAP@R, MAP@k and NDCG of cross-modal retrieval by cosine, with the gallery and the ties of `retrieval_scores`.

    Args:
        audio, visual: embeddings [N, D].
        labels: class of each clip [N], whole numbers; or bool [N, C], several labels a clip.
        ks: cut-offs, each from 1 to N.
        exact: float64 similarities, as in `retrieval_scores`.
        threads: worker threads; all usable cores when None.

    Raises:
        UserError: as `retrieval_scores`, or a cut-off is outside 1..N.

    >>> clips = np.array([[1, 0], [1, 0.1], [0.2, 1], [0.1, 1]])
    >>> found = cutoffs(clips, clips[[0, 2, 1, 3]], [0, 0, 1, 1], ks=[2])  # two visual clips have changed places
    >>> found.map_at_r_a2v, found.map_at_k_a2v.tolist(), found.map_found_at_k_a2v.tolist()
    (0.375, [0.375], [0.75])
    """
    return cutoffs_of(paired(audio, visual, labels, exact=exact), ks, threads)


def cutoffs_of(directions: Directions, ks: Sequence[int], threads: int | None = None) -> Cutoffs:
    """As `cutoffs`, of any queries and galleries."""
    means: dict[str, float | Floats] = {}
    for way, direction in directions._asdict().items():
        direction.check_cutoffs(ks)
        found = cutoff_scores(direction, ks, threads)
        means |= {f"map_at_r_{way}": float(found.ap_at_r.mean()), f"ndcg_{way}": float(found.ndcg.mean())}
        means |= {
            f"map_at_k_{way}": found.ap_at_k.mean(axis=0),
            f"map_found_at_k_{way}": found.ap_found_at_k.mean(axis=0),
            f"ndcg_at_k_{way}": found.ndcg_at_k.mean(axis=0),
        }
    return Cutoffs(ks=tuple(ks), **means)  # type: ignore[arg-type]


def cutoff_scores(direction: Direction, ks: Sequence[int], threads: int | None = None) -> CutoffScores:
    """By query; 0 for one without relevant items."""
    queries, sums = len(direction.query_labels), RankSums(direction.items)
    ap_at_r, ndcg = np.zeros(queries), np.zeros(queries)
    ap_at_k, found_at_k, ndcg_at_k = np.zeros((3, queries, len(ks)))

    def visit(some: Ints, ranks_QR: Ints, ties: Ties) -> None:
        relevant = ranks_QR.shape[1]
        if relevant == 0:
            return
        ap_at_r[some] = sums.precision(ranks_QR, ties, relevant) / relevant
        ndcg[some] = sums.gain(ranks_QR, ties, direction.items) / sums.best_gain(relevant, direction.items)
        for column, k in enumerate(ks):
            ap_at_k[some, column] = sums.precision(ranks_QR, ties, k) / min(relevant, k)
            found_at_k[some, column] = sums.precision_of_found(ranks_QR, ties, k)
            ndcg_at_k[some, column] = sums.gain(ranks_QR, ties, k) / sums.best_gain(relevant, k)

    direction.visit(visit, threads)
    if direction.gains is not None:
        ndcg, ndcg_at_k = graded_ndcg(direction.ranked, direction.gains, queries, direction.items, ks)
    return CutoffScores(ap_at_r, ndcg, ap_at_k, found_at_k, ndcg_at_k)
