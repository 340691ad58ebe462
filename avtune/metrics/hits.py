"""Hit rates at k and median ranks: how soon a query finds a clip of its class, and its own pair.

Where items tie, a hit rate is the mean over all orders of the tie, and the rank of a query is its mean rank over these
orders. The median is over the queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.metrics.cosine import Block, cosine_blocks
from avtune.metrics.ranking import BLOCK_ITEMS, GRID, Ints, Labels, visit_ranks
from avtune.metrics.ties import Floats, Ties


@dataclass(frozen=True)
class Hits:
    """Of the queries of each direction. a2v: audio queries, visual gallery; v2a: the reverse.

    Attributes:
        ks: the cut-offs [K].
        hit_rate_a2v, hit_rate_v2a: share of the queries with at least one clip of their class among the first k [K]:
            Recall@k of the metric-learning literature.
        pair_hit_rate_a2v, pair_hit_rate_v2a: share of the queries with their own pair among the first k [K]: R@k of the
            cross-modal retrieval literature.
        median_rank_a2v, median_rank_v2a: median rank of the first clip of the query's class, from 1.
        pair_median_rank_a2v, pair_median_rank_v2a: median rank of the query's own pair, from 1.
    """

    ks: tuple[int, ...]
    hit_rate_a2v: Floats
    hit_rate_v2a: Floats
    pair_hit_rate_a2v: Floats
    pair_hit_rate_v2a: Floats
    median_rank_a2v: float
    median_rank_v2a: float
    pair_median_rank_a2v: float
    pair_median_rank_v2a: float


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
    a2v, v2a, of = cosine_blocks(audio, visual, labels, exact=True)
    wrong = [k for k in ks if not 1 <= k <= len(of)]
    if wrong:
        raise UserError(f"k is {wrong[0]}; allowed: 1 to {len(of)}, the number of clips")
    found: dict[str, Floats | float] = {}
    for way, similarity in (("a2v", a2v), ("v2a", v2a)):
        rate, rank = _of_class(similarity, of, ks, threads)
        pair_rate, pair_rank = _of_pair(similarity, len(of), ks)
        found |= {f"hit_rate_{way}": rate.mean(axis=0), f"median_rank_{way}": float(np.median(rank))}
        found |= {
            f"pair_hit_rate_{way}": pair_rate.mean(axis=0),
            f"pair_median_rank_{way}": float(np.median(pair_rank)),
        }
    return Hits(ks=tuple(ks), **found)  # type: ignore[arg-type]


def _of_class(similarity: Block, labels: Labels, ks: Sequence[int], threads: int | None) -> tuple[Floats, Floats]:
    """For each query the chance of a hit among the first k [N, K], and the mean rank of the first hit [N]."""
    from scipy.stats import hypergeom  # here: it takes a second to import

    cut = np.array(ks, int)
    rate, rank = np.empty((len(labels), len(cut))), np.empty(len(labels))

    def visit(queries: Ints, ranks_QR: Ints, ties: Ties) -> None:
        first = ranks_QR[:, 0]  # a query's own pair is relevant, so that there is one
        rank[queries], rate[queries] = first, first[:, None] <= cut
        open_ = ties.hits == 0  # of a query at most one: the tie that holds its first hit
        query, before, size, relevant = (each[open_] for each in (ties.query, ties.before, ties.size, ties.relevant))
        if not len(query):
            return
        rank[queries[query]] = before + (size + 1) / (relevant + 1)
        drawn = np.clip(cut - before[:, None], 0, size[:, None])
        rate[queries[query]] = hypergeom.sf(0, size[:, None], relevant[:, None], drawn)

    visit_ranks(similarity, labels, labels, visit, threads)
    return rate, rank


def _of_pair(similarity: Block, count: int, ks: Sequence[int]) -> tuple[Floats, Floats]:
    """For each query the chance of its own pair among the first k [N, K], and its mean rank [N]."""
    cut = np.array(ks, int)
    rate, rank = np.empty((count, len(cut))), np.empty(count)
    block = max(1, BLOCK_ITEMS // count)
    for start in range(0, count, block):
        rows = np.arange(start, min(start + block, count))
        near = similarity(rows)
        own = near[np.arange(len(rows)), rows][:, None]
        before = np.count_nonzero(near > own + 1 / GRID, axis=1)  # within a step, similarities tie
        size = np.count_nonzero(near >= own - 1 / GRID, axis=1) - before
        rank[rows] = before + (size + 1) / 2
        rate[rows] = np.clip(cut - before[:, None], 0, size[:, None]) / size[:, None]
    return rate, rank
