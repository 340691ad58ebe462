"""Ranks of the relevant items of every query, exactly as a stable descending sort would give them.

Legend: Q queries, G gallery items, R gallery items relevant to a query.

Only the ranks of relevant items matter to any retrieval score, so similarities are sorted *by value*, with the
relevance of each item in the lowest bit of its key, and never by index. Where that leaves the order open (two items of
different relevance whose keys agree otherwise), longer keys that hold the gallery index too decide.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from avtune.metrics.row_sort import sort_rows, sorted_width

Ints = npt.NDArray[np.int64]
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
INDEX_BITS = 20
"""Room for the gallery index in a float64 key: 42 bits of similarity, 20 of index, 1 of relevance."""
_PAD = np.int32(0x7FFFFFFE)
_KEY_OF_INFINITY = np.int32(0x7F800000)
_one_at_a_time = (
    threading.Lock()
)  # the BLAS limit is the process's: two overlapping callers would restore the wrong one


def usable_cores() -> int:
    """The cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visit_ranks(
    similarity: Callable[[Ints], Similarity],
    query_labels: Ints,
    gallery_labels: Ints,
    visit: Callable[[Ints, Ints], None],
    threads: int | None = None,
) -> None:
    """Calls `visit(queries [q], ranks [q, R])` once for every query, in blocks of queries of one class.

    Ties go to the lower gallery index; -0.0 equals 0.0. float64 similarities must be cosines: they are compared in
    steps of 2^-40, and values that agree to within one step are ties.

    Args:
        similarity: gives the similarities [q, G], finite, float32 or float64, of the queries with the given indices.
        query_labels: class of each query [Q].
        gallery_labels: class of each gallery item [G]; the items of a query's own class are relevant.
        visit: receives ascending 1-based ranks of the relevant items (R may be 0). Called from several threads, with
            disjoint queries.
        threads: worker threads; all usable cores when None.
    """
    order = np.argsort(query_labels, kind="stable")
    classes = np.unique(query_labels)
    relevant_CG = gallery_labels == classes[:, None]
    block, part = (max(1, items // len(gallery_labels)) for items in (BLOCK_ITEMS, SORT_ITEMS))
    blocks = [order[first : first + block] for first in range(0, len(order), block)]

    def work(rows: Ints) -> None:
        sim_QG = similarity(rows)
        hits = _hits_of_floats if sim_QG.dtype == np.float32 else _hits_of_doubles
        places = np.searchsorted(classes, query_labels[rows])
        for first in range(0, len(rows), part):
            queries, place_Q = rows[first : first + part], places[first : first + part]
            hits_QW = hits(sim_QG[first : first + part], relevant_CG[place_Q])
            for one in range(place_Q[0], place_Q[-1] + 1):
                of_class = slice(*np.searchsorted(place_Q, (one, one + 1)))
                visit(queries[of_class], _ranks_of_hits(hits_QW[of_class], int(relevant_CG[one].sum())))

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


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _hits_of_floats(sim_QG: Similarity, relevant_QG: Bools) -> Bools:
    """Whether the item at each place of a query's ranking is relevant, [Q, W] with W at least G: False past the end."""
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
    num_open = np.bincount(rows, minlength=num_queries)
    for row, end in zip(rows, ends, strict=True):
        if num_open[row] <= FEW_OPEN:
            _settle(keys[row], int(end), _descending_keys(sim_QG[row]), relevant_QG[row])
    hits = _lowest_bits(keys)
    many = np.flatnonzero(num_open > FEW_OPEN)
    if many.size:
        longer = _descending_keys(sim_QG[many]).astype(np.int64)
        longer <<= 32
        longer |= np.arange(num_items) << 1
        longer |= relevant_QG[many]
        longer.sort(axis=-1)
        hits[many, :num_items] = _lowest_bits(longer)
    return hits


def _settle(sorted_W: Keys, end: int, keys_G: Keys, relevant_G: Bools) -> None:
    """Orders, in place, the sorted keys that equal `sorted_W[end]`, the last irrelevant one, but for the relevance bit:
    by all bits of `keys_G`, the full keys in gallery order, then by gallery index."""
    members = np.flatnonzero((keys_G >> 1) == (sorted_W[end] >> 1))
    members = members[np.argsort(keys_G[members], kind="stable")]
    first = end + 1 - np.count_nonzero(~relevant_G[members])
    sorted_W[first : first + len(members)] = keys_G[members] & -2 | relevant_G[members]


def _hits_of_doubles(sim_QG: Similarity, relevant_QG: Bools) -> Bools:
    """As `_hits_of_floats`, with W = G."""
    num_items = sim_QG.shape[1]
    assert sim_QG.dtype == np.float64
    assert num_items <= 1 << INDEX_BITS, (
        f"{num_items} gallery items; at most {1 << INDEX_BITS} can be ranked in float64"
    )
    assert np.abs(sim_QG).max() <= 1 + 1e-9, "float64 similarities must be cosines in [-1, 1]"
    keys = np.rint(sim_QG * -GRID).astype(np.int64)
    keys <<= INDEX_BITS + 1
    keys |= np.arange(num_items) << 1
    keys |= relevant_QG
    keys.sort(axis=-1)
    # Values a rounding error apart can land on neighbouring steps: make chains of neighbouring steps one tie.
    gaps = np.diff(keys >> (INDEX_BITS + 1), axis=1)
    near = np.flatnonzero((gaps == 1).any(axis=1))
    if near.size:
        chained = keys[near] & ((2 << INDEX_BITS) - 1)
        chained[:, 1:] |= np.cumsum(gaps[near] > 1, axis=1) << (INDEX_BITS + 1)
        chained.sort(axis=-1)
        keys[near] = chained
    return _lowest_bits(keys)


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
