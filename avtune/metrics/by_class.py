"""Retrieval by class: average precision of each class, which classes come first for which, and single queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.core.relevance import is_multi_label
from avtune.metrics.cosine import Block, cosine_blocks
from avtune.metrics.directions import Direction, Directions, paired
from avtune.metrics.ranking import BLOCK_ITEMS, GRID, Ints, Labels
from avtune.metrics.ties import Floats


@dataclass(frozen=True)
class Found:
    """What a query finds first.

    Attributes:
        query: the place of its clip.
        clips: the places of the clips found, nearest first; of equally near ones the lower place first.
    """

    query: int
    clips: tuple[int, ...]


def class_means(ap: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> Floats:
    """MAP of each class [C]: the mean over the queries of the class; NaN for a class without queries.

    Args:
        ap: average precision of every query [N].
        labels: class of each query [N], 0 to C - 1; or bool [N, C]: a query counts for each of its labels.
        classes: C.

    >>> class_means([0.2, 0.4, 1.0], [0, 0, 2], 3).tolist()
    [0.30000000000000004, nan, 1.0]
    """
    of = np.asarray(labels)
    if is_multi_label(of):
        counts, totals = of.sum(axis=0), np.asarray(ap) @ of
    else:
        counts, totals = np.bincount(of, minlength=classes), np.bincount(of, np.asarray(ap), minlength=classes)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def shares(labels: Labels) -> Floats:
    """What a clip of several labels (bool [N, C]) counts for each class: equal parts that sum to 1."""
    made: Floats = labels / labels.sum(axis=1, keepdims=True)
    return made


def queries_by_class(labels: Labels, classes: int) -> Floats:
    """How many queries of each class `confusion` counts [C]; a query of several labels counts in parts."""
    if is_multi_label(labels):
        return np.asarray(shares(labels).sum(axis=0))
    return np.bincount(labels, minlength=classes).astype(np.float64)


def confusion(
    audio: npt.ArrayLike, visual: npt.ArrayLike, labels: npt.ArrayLike, classes: int, *, k: int = 1
) -> tuple[Floats, Floats]:
    """How many clips of which class the queries of a class find first: (audio to visual, visual to audio), each [C, C],
    rows the class of the query, columns that of the k nearest clips, so that every query counts k. Where several are
    equally near at the k-th place, each counts for its part. A clip of several labels counts for each of them in equal
    parts, as a query and where it is found.

    Args:
        audio, visual: embeddings [N, D].
        labels: class of each clip [N], 0 to C - 1; or bool [N, C].
        classes: C.
        k: how many clips each query finds, 1 to N.

    Raises:
        UserError: as `retrieval_scores`, or k is outside 1..N.

    >>> clips = np.eye(3)
    >>> confusion(clips, clips[[0, 2, 1]], [0, 0, 1], 2)[0].tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    return confusion_of(paired(audio, visual, labels, exact=True), classes, k)


def confusion_of(directions: Directions, classes: int, k: int) -> tuple[Floats, Floats]:
    """As `confusion`, of any queries and galleries."""
    directions.a2v.check_cutoffs([k])
    return _confusion(directions.a2v, classes, k), _confusion(directions.v2a, classes, k)


def _confusion(direction: Direction, classes: int, k: int) -> Floats:
    counts, labels, among = np.zeros((classes, classes)), direction.query_labels, direction.gallery_labels
    query_parts, parts = (shares(labels), shares(among)) if is_multi_label(labels) else (None, None)
    for rows in _blocks(np.arange(len(labels)), len(among)):
        near = np.round(direction.similarity(rows) * GRID)  # scores compare them in these steps
        if direction.left_out is not None:
            near[np.arange(len(rows)), direction.left_out[rows]] = -np.inf
        last = np.partition(near, -k, axis=1)[:, -k, None]
        nearer, tied = near > last, near == last
        part = (k - nearer.sum(axis=1)) / tied.sum(axis=1)  # of each clip that ties for the last places
        weight = nearer + tied * part[:, None]
        if query_parts is not None and parts is not None:
            counts += query_parts[rows].T @ (weight @ parts)
            continue
        query, clip = np.nonzero(weight)
        np.add.at(counts, (labels[rows[query]], among[clip]), weight[query, clip])
    return counts


def nearest(
    audio: npt.ArrayLike, visual: npt.ArrayLike, queries: tuple[Sequence[int], Sequence[int]], count: int
) -> tuple[list[Found], list[Found]]:
    """What some queries find first: (audio queries, visual queries).

    Args:
        audio, visual: embeddings [N, D].
        queries: places of the audio queries, and of the visual ones.
        count: clips that are found for each.
    """
    a2v, v2a, _ = cosine_blocks(audio, visual, np.zeros(len(np.asarray(audio)), int), exact=True)
    return _nearest(a2v, queries[0], count), _nearest(v2a, queries[1], count)


def _nearest(similarity: Block, queries: Sequence[int], count: int) -> list[Found]:
    near = np.round(similarity(np.array(queries, int)) * GRID)
    order = np.argsort(-near, axis=1, kind="stable")[:, :count]
    return [Found(query, tuple(row.tolist())) for query, row in zip(queries, order, strict=True)]


def _blocks(rows: Ints, items: int) -> list[Ints]:
    size = max(1, BLOCK_ITEMS // items)
    return [rows[start : start + size] for start in range(0, len(rows), size)]
