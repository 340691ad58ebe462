"""The two directions of cross-modal retrieval: what is asked, what it is looked for in, and what is relevant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.metrics.cosine import Block, cosine_blocks, unit_rows
from avtune.metrics.ranking import Ints, Labels, Similarity, visit_ranks, without
from avtune.metrics.ties import Ties


@dataclass(frozen=True)
class Direction:
    """Queries of one view, a gallery of the other. Q queries, G gallery items.

    Attributes:
        similarity: gives the similarities [q, G] of the queries with the given places.
        query_labels, gallery_labels: classes [Q] and [G], or bool [Q, C] and [G, C]; the items that share a label
            with a query are relevant to it.
        pair: the place of each query's own pair in the gallery [Q]; None where the gallery has none of them.
        without_pair: the own pair is left out of the gallery of each query.
    """

    similarity: Block
    query_labels: Labels
    gallery_labels: Labels
    pair: Ints | None = None
    without_pair: bool = False

    def __post_init__(self) -> None:
        assert self.pair is not None or not self.without_pair

    @property
    def items(self) -> int:
        """Items that a query ranks."""
        return len(self.gallery_labels) - self.without_pair

    @property
    def left_out(self) -> Ints | None:
        """The place of the gallery item that is left out for each query [Q]; None where none is."""
        return self.pair if self.without_pair else None

    def ranked(self, rows: Ints) -> Similarity:
        """Similarities of some queries to what they rank [q, items], the last item in the place of the own pair where
        that is left out."""
        return without(self.similarity(rows), None if self.left_out is None else self.left_out[rows])

    @property
    def gains(self) -> Callable[[Ints], Ints] | None:
        """Gives how many labels each item of `ranked` shares with some queries; None where a clip has one label."""
        if self.query_labels.ndim == 1:
            return None
        columns = self.gallery_labels.T.astype(np.int64)

        def shared(rows: Ints) -> Ints:
            found = self.query_labels[rows].astype(np.int64) @ columns
            return without(found, None if self.left_out is None else self.left_out[rows])

        return shared

    def visit(self, visit: Callable[[Ints, Ints, Ties], None], threads: int | None = None) -> None:
        """The ranks of the relevant items of every query, see `ranking.visit_ranks`."""
        visit_ranks(self.similarity, self.query_labels, self.gallery_labels, visit, threads, self.left_out)

    def check_cutoffs(self, ks: npt.ArrayLike) -> None:
        """Raises:
        UserError: one of the cut-offs is no rank of the gallery.
        """
        wrong = [k for k in np.asarray(ks, int).tolist() if not 1 <= k <= self.items]
        if wrong:
            raise UserError(f"k is {wrong[0]}; allowed: 1 to {self.items}, the number of clips")


class Directions(NamedTuple):
    """Both: first view to second, second to first."""

    a2v: Direction
    v2a: Direction


def paired(audio: npt.ArrayLike, visual: npt.ArrayLike, labels: npt.ArrayLike, *, exact: bool) -> Directions:
    """Every clip of a view against every clip of the other, its own pair included.

    Args:
        audio, visual, labels, exact: see `cosine.cosine_blocks`.

    Raises:
        UserError: as there.
    """
    a2v, v2a, of = cosine_blocks(audio, visual, labels, exact)
    own = np.arange(len(of))
    return Directions(Direction(a2v, of, of, own), Direction(v2a, of, of, own))


Clips = tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], Ints]
"""Embeddings of both views [N, D] of some clips, and their labels."""


def between(queries: Clips, gallery: Clips, pair: Ints | None = None, *, without_pair: bool = False) -> Directions:
    """Queries and a gallery of any sizes, by float64 cosines.

    Args:
        queries, gallery: of one D; labels of one numbering.
        pair, without_pair: see `Direction`.

    Raises:
        UserError: an embedding is not finite.
    """
    query_a, query_v = (
        unit_rows(one, f"{name} query") for one, name in zip(queries, ("audio", "visual"), strict=False)
    )
    item_a, item_v = (
        unit_rows(one, f"{name} gallery") for one, name in zip(gallery, ("audio", "visual"), strict=False)
    )
    of, among = queries[2], gallery[2]
    return Directions(
        Direction(lambda rows: query_a[rows] @ item_v.T, of, among, pair, without_pair),
        Direction(lambda rows: query_v[rows] @ item_a.T, of, among, pair, without_pair),
    )
