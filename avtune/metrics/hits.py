"""Hit rates at k and median ranks: how soon a query finds a clip of its class, and its own pair.

Where items tie, a hit rate is the mean over all orders of the tie, and the rank of a query is its mean rank over these
orders. The median is over the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.metrics.directions import Direction, Directions, paired
from avtune.metrics.ranking import BLOCK_ITEMS, GRID, Ints
from avtune.metrics.ties import Floats, Ties


@dataclass(frozen=True)
class Hits:
    """Of the queries of each direction. a2v: audio queries, visual gallery; v2a: the reverse.

    Attributes:
        ks: the cut-offs [K].
        hit_rate_a2v, hit_rate_v2a: share of the queries with at least one clip of their class among the first k [K]:
            Recall@k of the metric-learning literature.
        pair_hit_rate_a2v, pair_hit_rate_v2a: share of the queries with their own pair among the first k [K]: R@k of the
            cross-modal retrieval literature. None where the gallery does not hold the queries' pairs.
        median_rank_a2v, median_rank_v2a: median rank of the first clip of the query's class, from 1.
        pair_median_rank_a2v, pair_median_rank_v2a: median rank of the query's own pair, from 1; None as above.
    """

    ks: tuple[int, ...]
    hit_rate_a2v: Floats
    hit_rate_v2a: Floats
    pair_hit_rate_a2v: Floats | None
    pair_hit_rate_v2a: Floats | None
    median_rank_a2v: float
    median_rank_v2a: float
    pair_median_rank_a2v: float | None
    pair_median_rank_v2a: float | None


def hits(
    audio: npt.ArrayLike,
    visual: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    ks: Sequence[int] = (1, 5, 10),
    threads: int | None = None,
) -> Hits:
    """Hit rates and median ranks of cross-modal retrieval by cosine, with the gallery of `retrieval_scores`; exact, in
    float64.

    Args:
        audio, visual: embeddings [N, D]; row i of one is the pair of row i of the other.
        labels: class of each clip [N], whole numbers; or bool [N, C], several labels a clip.
        ks: cut-offs, each from 1 to N.
        threads: worker threads; all usable cores when None.

    Raises:
        UserError: as `retrieval_scores`, or a cut-off is outside 1..N.

    >>> clips = np.eye(4)
    >>> found = hits(clips, clips[[1, 0, 3, 2]], [0, 0, 1, 1], ks=[1, 4])
    >>> found.hit_rate_a2v.tolist(), found.pair_hit_rate_a2v.tolist()
    ([1.0, 1.0], [0.0, 1.0])
    >>> found.median_rank_a2v, found.pair_median_rank_a2v
    (1.0, 3.0)
    """
    return hits_of(paired(audio, visual, labels, exact=True), ks, threads)


def hits_of(directions: Directions, ks: Sequence[int], threads: int | None = None) -> Hits:
    """As `hits`, of any queries, each of which has a relevant item, and galleries."""
    found: dict[str, Floats | float | None] = {}
    for way, direction in directions._asdict().items():
        direction.check_cutoffs(ks)
        rate, rank = _of_class(direction, ks, threads)
        found |= {f"hit_rate_{way}": rate.mean(axis=0), f"median_rank_{way}": float(np.median(rank))}
        pair_rate, pair_rank = (None, None) if direction.without_pair else _of_pair(direction, ks)
        found |= {
            f"pair_hit_rate_{way}": None if pair_rate is None else pair_rate.mean(axis=0),
            f"pair_median_rank_{way}": None if pair_rank is None else float(np.median(pair_rank)),
        }
    return Hits(ks=tuple(ks), **found)  # type: ignore[arg-type]


def _of_class(direction: Direction, ks: Sequence[int], threads: int | None) -> tuple[Floats, Floats]:
    """For each query the chance of a hit among the first k [N, K], and the mean rank of the first hit [N]."""
    from scipy.stats import hypergeom  # here: it takes a second to import

    cut = np.array(ks, int)
    count = len(direction.query_labels)
    rate, rank = np.empty((count, len(cut))), np.empty(count)

    def visit(queries: Ints, ranks_QR: Ints, ties: Ties) -> None:
        first = ranks_QR[:, 0]
        rank[queries], rate[queries] = first, first[:, None] <= cut
        open_ = ties.hits == 0  # of a query at most one: the tie that holds its first hit
        query, before, size, relevant = (each[open_] for each in (ties.query, ties.before, ties.size, ties.relevant))
        if not len(query):
            return
        rank[queries[query]] = before + (size + 1) / (relevant + 1)
        drawn = np.clip(cut - before[:, None], 0, size[:, None])
        rate[queries[query]] = hypergeom.sf(0, size[:, None], relevant[:, None], drawn)

    direction.visit(visit, threads)
    return rate, rank


def _of_pair(direction: Direction, ks: Sequence[int]) -> tuple[Floats, Floats] | tuple[None, None]:
    """For each query the chance of its own pair among the first k [N, K], and its mean rank [N]; None where the gallery
    has no pairs."""
    if direction.pair is None:
        return None, None
    cut, count = np.array(ks, int), len(direction.query_labels)
    rate, rank = np.empty((count, len(cut))), np.empty(count)
    block = max(1, BLOCK_ITEMS // direction.items)
    for start in range(0, count, block):
        rows = np.arange(start, min(start + block, count))
        near = direction.similarity(rows)
        own = near[np.arange(len(rows)), direction.pair[rows]][:, None]
        before = np.count_nonzero(near > own + 1 / GRID, axis=1)  # within a step, similarities tie
        size = np.count_nonzero(near >= own - 1 / GRID, axis=1) - before
        rank[rows] = before + (size + 1) / 2
        rate[rows] = np.clip(cut - before[:, None], 0, size[:, None]) / size[:, None]
    return rate, rank
