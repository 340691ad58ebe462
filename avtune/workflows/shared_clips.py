"""Which clips of one set are in another one, told by their features or by their embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Views = tuple[npt.NDArray[Any], npt.NDArray[Any]]
"""Features or embeddings of both views, [N, A] and [N, V]."""

ROUNDING = 1e-5
"""Largest difference of two embeddings of one clip, as a share of the largest value of the view. A model embeds a clip
a little differently among other clips, since matrix products of other sizes add in another order: in float32 (6e-8 a
step) that comes to about 1e-6. Frames of one video differ by far more, unless a model has brought them to one point."""
_BLOCK = 4096  # rows
_MOST_NEAR = 4096  # clips that are compared with a query


def places_of(queries: Views, gallery: Views, *, rounded: bool = False) -> npt.NDArray[np.int64]:
    """The place of each query in the gallery, the first one where it has several; -1 where it is not there. The same
    clip has the same values in both views, whatever their types: of two kinds of floats the coarser one counts, so that
    float64 and what was saved of it as float32 agree, as do 0.0 and -0.0.

    Args:
        rounded: for a query without such a clip, one whose values differ by rounding counts (`ROUNDING`), if it is the
            only one in the gallery: where several are so near, nothing tells which of them the query is.
    """
    kinds = [_common(one.dtype, other.dtype) for one, other in zip(queries, gallery, strict=True)]
    places: dict[bytes, int] = {}
    for place, key in enumerate(_keys(gallery, kinds)):
        places.setdefault(key, place)
    found = np.array([places.get(key, -1) for key in _keys(queries, kinds)], np.int64)
    if rounded:
        missing = np.flatnonzero(found < 0)
        found[missing] = _near((queries[0][missing], queries[1][missing]), gallery)
    return found


def _common(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    floats = [kind for kind in (one, other) if kind.kind == "f"]
    return min(floats, key=lambda kind: kind.itemsize).newbyteorder("=") if len(floats) == 2 else np.dtype(np.float64)


def _keys(views: Views, kinds: list[np.dtype[Any]]) -> Iterator[bytes]:
    for start in range(0, len(views[0]), _BLOCK):
        with np.errstate(over="ignore"):  # float64 beyond float32: it is in no file of float32
            rows = [
                np.ascontiguousarray(view[start : start + _BLOCK]).astype(kind) + kind.type(0)  # -0.0 becomes 0.0
                for view, kind in zip(views, kinds, strict=True)
            ]
        for pair in zip(*rows, strict=True):
            yield blake2b(b"".join(row.tobytes() for row in pair), digest_size=16).digest()


def _near(queries: Views, gallery: Views) -> npt.NDArray[np.int64]:
    """The place of the only clip of the gallery that differs from a query by rounding; -1 where there is none, or are
    several. Clips are looked for by a weighted sum of their values, which is as near as the values are."""
    first = queries[0].astype(np.float64), gallery[0].astype(np.float64)
    second = queries[1].astype(np.float64), gallery[1].astype(np.float64)
    weights = np.random.default_rng(0).uniform(0.5, 1.0, (first[0].shape[1],))
    weights[1::2] *= -1
    sums = first[1] @ weights
    order = np.argsort(sums, kind="stable")
    room = 2 * ROUNDING * np.abs(weights).sum() * np.abs(first[0]).max(axis=1, initial=0.0)
    wanted = first[0] @ weights
    low = np.searchsorted(sums[order], wanted - room, side="left")
    high = np.searchsorted(sums[order], wanted + room, side="right")
    found = np.full(len(queries[0]), -1, np.int64)
    for query in np.flatnonzero((high > low) & (high - low <= _MOST_NEAR)):
        some = order[low[query] : high[query]]
        for asked, held in (first, second):
            most = ROUNDING * np.abs(asked[query]).max()
            some = some[np.abs(held[some] - asked[query]).max(axis=1) <= most]
        if len(some) == 1:
            found[query] = some[0]
    return found
