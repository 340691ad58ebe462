"""Queries by how many items are relevant to them, for rankings of many queries at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.relevance import is_multi_label, relevance

COUNT_ITEMS = 1 << 22
"""Pairs of clips at a time, where relevant items are counted."""


@dataclass(frozen=True, eq=False)
class QueryKinds:
    """Queries by kind: those of one kind have equally many relevant items. With one label a clip a kind is a class.

    Attributes:
        kind: of each query [Q], 0 to K - 1.
        count: relevant items of a query of each kind [K].
    """

    kind: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    _queries: npt.NDArray[Any]
    _gallery: npt.NDArray[Any]
    _by_class: npt.NDArray[np.bool_] | None

    @classmethod
    def of(cls, queries: npt.NDArray[Any], gallery: npt.NDArray[Any]) -> QueryKinds:
        """The kinds of queries by their labels and those of the gallery."""
        if not is_multi_label(queries):
            classes, kind = np.unique(queries, return_inverse=True)
            by_class = relevance(classes, gallery)
            return cls(kind, by_class.sum(axis=1), queries, gallery, by_class)
        block = max(1, COUNT_ITEMS // len(gallery))
        starts = range(0, len(queries), block)
        counts = [relevance(queries[start : start + block], gallery).sum(axis=1) for start in starts]
        count, kind = np.unique(np.concatenate(counts), return_inverse=True)
        return cls(kind, count, queries, gallery, None)

    def relevant(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """The items that are relevant to some of the queries [q, G]."""
        if self._by_class is not None:
            return self._by_class[self.kind[rows]]
        found: npt.NDArray[np.bool_] = relevance(self._queries[rows], self._gallery)
        return found
