"""The two directions of cross-modal retrieval: what is asked, what it is looked for in, and what is relevant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.metrics.cosine import Block, cosine_blocks
from avtune.metrics.ranking import Ints, visit_ranks
from avtune.metrics.ties import Ties


@dataclass(frozen=True)
class Direction:
    """Queries of one view, a gallery of the other. Q queries, G gallery items.

    Attributes:
        similarity: gives the similarities [q, G] of the queries with the given places.
        query_labels, gallery_labels: classes [Q] and [G], or bool [Q, C] and [G, C]; the items that share a label
            with a query are relevant to it.
        pair: the place of each query's own pair in the gallery [Q].
    """

    similarity: Block
    query_labels: Ints
    gallery_labels: Ints
    pair: Ints

    @property
    def items(self) -> int:
        """Items that a query ranks."""
        return len(self.gallery_labels)

    @property
    def gains(self) -> Callable[[Ints], Ints] | None:
        """Gives how many labels each item shares with some queries [q, G]; None where a clip has one label."""
        if self.query_labels.ndim == 1:
            return None
        columns = self.gallery_labels.T.astype(np.int64)
        return lambda rows: self.query_labels[rows].astype(np.int64) @ columns

    def visit(self, visit: Callable[[Ints, Ints, Ties], None], threads: int | None = None) -> None:
        """The ranks of the relevant items of every query, see `ranking.visit_ranks`."""
        visit_ranks(self.similarity, self.query_labels, self.gallery_labels, visit, threads)

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
