"""Ranks of the relevant items of every query, and the ties between relevant and irrelevant ones.

Legend: Q queries, G gallery items, R gallery items relevant to a query, W places of a ranking (W - G of them empty), T
ties.

Only the ranks of relevant items matter to any retrieval score, so similarities are sorted *by value*, with the
relevance of each item in the lowest bit of its key, and never by index: a tie is found as neighbouring keys that agree
but for that bit. A float32 has no bit to spare; where two items of different relevance agree in all others, the whole
value decides whether they tie.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from avtune.core.system import usable_cores
from avtune.metrics.query_kinds import QueryKinds
from avtune.metrics.row_sort import sort_rows, sorted_width
from avtune.metrics.ties import Ties

Ints = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]
"""Whole numbers [N], or bool [N, C]; see `relevance`."""
Keys = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Similarity = npt.NDArray[np.floating[Any]]

BLOCK_ITEMS = 1 << 20
"""Similarities computed at a time by one thread."""
SORT_ITEMS = 1 << 18
"""Similarities sorted at a time by one thread: their keys stay in its core's cache."""
FEW_OPEN = 8
"""Up to so many open groups of a float32 row are settled one by one; rows with more are sorted again by longer keys."""
GRID = 2.0**40
"""float64 similarities are compared in steps of 2^-40, about 1e-12."""
_PAD = np.int32(0x7FFFFFFE)
_KEY_OF_INFINITY = np.int32(0x7F800000)
_NO_SPANS = np.empty((0, 3), np.int64)
_NO_TIES = Ties(*np.empty((5, 0), np.int64))
_one_at_a_time = (
    threading.Lock()
)  # the BLAS limit is the process's: two overlapping callers would restore the wrong one


def visit_ranks(
    similarity: Callable[[Ints], Similarity],
    query_labels: Labels,
    gallery_labels: Labels,
    visit: Callable[[Ints, Ints, Ties], None],
    threads: int | None = None,
    left_out: Ints | None = None,
) -> None:
    """Calls `visit(queries [q], ranks [q, R], ties)` once for every query, in blocks of queries of one kind: of one
    class, or with several labels a clip of equally many relevant items.

    Equal similarities tie; -0.0 equals 0.0. float64 similarities must be cosines: they are compared in steps of 2^-40,
    and values that agree to within one step tie.

    Args:
        similarity: gives the similarities [q, G], finite, float32 or float64, of the queries with the given indices.
        query_labels, gallery_labels: of each query and of each gallery item; `relevance` says which are relevant.
        visit: receives ascending 1-based ranks of the relevant items (R may be 0), those of a tie as its last ones, and
            the ties of relevant with irrelevant items, whose `query` counts within `queries`. Called from several
            threads, with disjoint queries.
        threads: worker threads; all usable cores when None.
        left_out: the place of a gallery item that each query does not rank [Q], relevant to it; None for none.
    """
    kinds = QueryKinds.of(query_labels, gallery_labels)
    order = np.argsort(kinds.kind, kind="stable")
    block, part = (max(1, items // len(gallery_labels)) for items in (BLOCK_ITEMS, SORT_ITEMS))
    blocks = [order[first : first + block] for first in range(0, len(order), block)]

    def work(rows: Ints) -> None:
        sim_QG = similarity(rows)
        ranking = _ranking_of_floats if sim_QG.dtype == np.float32 else _ranking_of_doubles
        for first in range(0, len(rows), part):
            queries = rows[first : first + part]
            kind_Q, own_Q = kinds.kind[queries], None if left_out is None else left_out[queries]
            relevant_QG = without(kinds.relevant(queries), own_Q)
            hits_QW, spans_T3 = ranking(without(sim_QG[first : first + part], own_Q), relevant_QG)
            for one in range(kind_Q[0], kind_Q[-1] + 1):
                start, end = np.searchsorted(kind_Q, (one, one + 1))
                ranks_QR = _ranks_of_hits(hits_QW[start:end], int(kinds.count[one]) - (own_Q is not None))
                visit(queries[start:end], ranks_QR, _ties(spans_T3, start, end, ranks_QR, hits_QW.shape[1]))

    threads = threads or usable_cores()
    # The blocks are the parallelism: a matrix product inside one must not start threads of its own.
    with _one_at_a_time, _blas().limit(limits=1, user_api="blas"):
        if threads == 1 or len(blocks) == 1 or len(query_labels) * len(gallery_labels) < BLOCK_ITEMS:
            for job in blocks:
                work(job)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for _ in pool.map(work, blocks):
                    pass


def without(array_QG: npt.NDArray[Any], place_Q: Ints | None) -> npt.NDArray[Any]:
    """An array without one item of each row, whose place the last item takes: [Q, G - 1], in the memory of the array,
    which is written to; the array itself where nothing is left out."""
    if place_Q is None:
        return array_QG
    array_QG[np.arange(len(array_QG)), place_Q] = array_QG[:, -1]
    return array_QG[:, :-1]


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _ranking_of_floats(sim_QG: Similarity, relevant_QG: Bools) -> tuple[Bools, Ints]:
    """(hits [Q, W], spans [T, 3]): whether the item at each place of a query's ranking is relevant, irrelevant ones
    first where they tie and False past the end; and query, items before and size of each tie, ordered by query."""
    num_queries, num_items = sim_QG.shape
    keys = np.empty((num_queries, sorted_width(num_items)), np.int32)
    keys[:, num_items:] = _PAD
    body = _descending_keys(sim_QG, out=keys[:, :num_items])
    body &= -2
    body |= relevant_QG
    keys = sort_rows(keys)
    assert keys[:, num_items - 1].max() < _KEY_OF_INFINITY, "similarities must be finite"
    assert keys[:, 0].min() > -_KEY_OF_INFINITY, "similarities must be finite"
    rows, ends = np.divmod(np.flatnonzero((keys[:, 1:] ^ keys[:, :-1]) == 1), keys.shape[1] - 1)
    if not rows.size:
        return _lowest_bits(keys), _NO_SPANS
    num_open = np.bincount(rows, minlength=num_queries)
    spans = [
        (int(row), *span)
        for row, end in zip(rows, ends, strict=True)
        if num_open[row] <= FEW_OPEN
        for span in _settle(keys[row], int(end), _descending_keys(sim_QG[row]), relevant_QG[row])
    ]
    hits = _lowest_bits(keys)
    found = [np.array(spans, np.int64).reshape(-1, 3)]
    many = np.flatnonzero(num_open > FEW_OPEN)
    if many.size:
        longer = _descending_keys(sim_QG[many]).astype(np.int64)
        longer <<= 1
        longer |= relevant_QG[many]
        longer.sort(axis=-1)
        hits[many, :num_items] = _lowest_bits(longer)
        found.append(_spans(longer, many))
    spans_T3 = np.concatenate(found)
    return hits, spans_T3[np.argsort(spans_T3[:, 0], kind="stable")]


def _settle(sorted_W: Keys, end: int, keys_G: Keys, relevant_G: Bools) -> list[tuple[int, int]]:
    """Orders, in place, the sorted keys that equal `sorted_W[end]`, the last irrelevant one, but for the relevance bit:
    by all bits of `keys_G`, the full keys in gallery order. Returns items before and size of each tie among them."""
    members = np.flatnonzero((keys_G >> 1) == (sorted_W[end] >> 1))
    relevant = relevant_G[members]
    first = end + 1 - int(np.count_nonzero(~relevant))
    odd = keys_G[members] & 1 == 1
    spans = []
    for of_value in (relevant[~odd], relevant[odd]):
        size, num_relevant = len(of_value), int(np.count_nonzero(of_value))
        sorted_W[first : first + size] &= -2
        sorted_W[first + size - num_relevant : first + size] |= 1
        if 0 < num_relevant < size:
            spans.append((first, size))
        first += size
    return spans


def _ranking_of_doubles(sim_QG: Similarity, relevant_QG: Bools) -> tuple[Bools, Ints]:
    """As `_ranking_of_floats`, with W = G."""
    assert sim_QG.dtype == np.float64
    assert np.abs(sim_QG).max() <= 1 + 1e-9, "float64 similarities must be cosines in [-1, 1]"
    keys = np.rint(sim_QG * -GRID).astype(np.int64)
    keys <<= 1
    keys |= relevant_QG
    keys.sort(axis=-1)
    # At most one step apart, and not of one step and one relevance: 1 to 3 between their keys.
    gaps = np.diff(keys, axis=1)
    near = np.flatnonzero(((gaps > 0) & (gaps < 4)).any(axis=1))
    if not near.size:
        return _lowest_bits(keys), _NO_SPANS
    # Values a rounding error apart can land on neighbouring steps: make chains of neighbouring steps one tie.
    chained = keys[near] & 1
    chained[:, 1:] |= np.cumsum(np.diff(keys[near] >> 1, axis=1) > 1, axis=1) << 1
    chained.sort(axis=-1)
    keys[near] = chained
    return _lowest_bits(keys), _spans(chained, near)


def _spans(keys_QG: Ints, queries: Ints) -> Ints:
    """Query, items before and size [T, 3] of each tie of relevant with irrelevant items.

    Args:
        keys_QG: sorted keys with the relevance in the lowest bit; equal otherwise where items tie.
        queries: what the rows are called in the result [Q], ascending.
    """
    num_items = keys_QG.shape[1]
    steps = np.diff(keys_QG >> 1, axis=1, prepend=-(1 << 62))
    starts = np.flatnonzero(steps)  # the first place of every row is one
    mixed = np.flatnonzero((keys_QG[:, 1:] ^ keys_QG[:, :-1]) == 1)
    mixed += mixed // (num_items - 1)
    tie = np.searchsorted(starts, mixed, side="right") - 1
    sizes = np.diff(starts, append=keys_QG.size)
    return np.stack([queries[starts[tie] // num_items], starts[tie] % num_items, sizes[tie]], axis=1)


def _ties(spans_T3: Ints, start: int, end: int, ranks_QR: Ints, width: int) -> Ties:
    """The ties of the queries from `start` to `end`, by the ranks of these; `width` is at least any rank."""
    if not len(spans_T3):
        return _NO_TIES
    first, last = np.searchsorted(spans_T3[:, 0], (start, end))
    query, before, size = spans_T3[first:last].T
    query = query - start
    # Ranks of all queries as one ascending array: how many are no larger than a place of a query.
    line = (ranks_QR + np.arange(len(ranks_QR))[:, None] * (width + 1)).reshape(-1) if len(query) else query
    base = query * (width + 1) + before
    earlier = np.searchsorted(line, base, side="right")
    relevant = np.searchsorted(line, base + size, side="right") - earlier
    return Ties(query, before, earlier - query * ranks_QR.shape[1], size, relevant)


def _descending_keys(sim_QG: Similarity, out: Keys | None = None) -> Keys:
    """int32 keys [Q, G] whose ascending order is the descending order of the float32 similarities."""
    keys = np.empty(sim_QG.shape, np.int32) if out is None else out
    np.subtract(np.float32(0), sim_QG, out=keys.view(np.float32))  # also turns -0.0 into 0.0
    flips = keys >> 31
    flips &= 0x7FFFFFFF
    keys ^= flips
    return keys


def _lowest_bits(keys_QW: Keys | Ints) -> Bools:
    return (keys_QW.astype(np.uint8) & 1).view(bool)


def _ranks_of_hits(hits_QW: Bools, num_relevant: int) -> Ints:
    """1-based positions [Q, R] of the hits, R in every row."""
    num_queries, width = hits_QW.shape
    positions = np.flatnonzero(hits_QW).reshape(num_queries, num_relevant)
    positions -= (np.arange(num_queries) * width - 1)[:, None]
    return positions
