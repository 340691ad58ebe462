"""Which clips are relevant to each other: those that share a label. This is the one place that says so.

Labels are whole numbers [N], one a clip; or bool [N, C], a column a class, of which each row has at least one True:
several labels a clip. Both are taken as NumPy arrays and as tensors, whose lanes come first.
"""

from __future__ import annotations

from typing import Any


def is_multi_label(labels: Any) -> bool:
    """Whether labels, an array or a tensor, have a column a class: several labels a clip."""
    return str(labels.dtype).rpartition(".")[2] == "bool"


def relevance(queries: Any, gallery: Any) -> Any:
    """Which items share a label with a query: bool [..., Q, G].

    Args:
        queries, gallery: labels of one form, [..., Q] and [..., G], or bool [..., Q, C] and [..., G, C]; two arrays or
            two tensors.

    >>> import numpy as np
    >>> relevance(np.array([0, 1]), np.array([0, 0, 1])).tolist()
    [[True, True, False], [False, False, True]]
    >>> relevance(np.array([[True, True, False]]), np.array([[False, True, True], [False, False, True]])).tolist()
    [[True, False]]
    """
    if is_multi_label(queries):
        shared = (1.0 * queries) @ (1.0 * gallery).swapaxes(-1, -2)  # how many labels
        return shared > 0
    return queries[..., :, None] == gallery[..., None, :]
