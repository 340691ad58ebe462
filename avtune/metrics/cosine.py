"""Cosine similarities of paired embeddings, a block of queries at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.relevance import is_multi_label
from avtune.metrics.ranking import Ints, Labels, Similarity

Block = Callable[[Ints], Similarity]


def cosine_blocks(
    audio: npt.ArrayLike, visual: npt.ArrayLike, labels: npt.ArrayLike, exact: bool
) -> tuple[Block, Block, Labels]:
    """(audio-to-visual, visual-to-audio, labels): the first two give similarities [q, N] of the queries asked for.

    Args:
        audio, visual: embeddings [N, D]; rows of zeros have similarity 0 to everything.
        labels: class of each clip [N], whole numbers; or bool [N, C], several labels a clip.
        exact: float64 similarities; float32 otherwise.

    Raises:
        UserError: shapes do not match, there are no clips, labels are no labels, or an embedding is not finite.
    """
    audio, visual, labels = np.asarray(audio), np.asarray(visual), np.asarray(labels)
    _check_labels(labels)
    if audio.ndim != 2 or audio.shape != visual.shape or len(audio) != len(labels):
        raise UserError(
            f"embeddings have shapes {audio.shape} (audio) and {visual.shape} (visual) for {len(labels)} labels; "
            f"needed: [N, D] twice, with N = {len(labels)}"
        )
    unit_audio: Similarity = unit_rows(audio, "audio")
    unit_visual: Similarity = unit_rows(visual, "visual")
    if not exact:
        unit_audio, unit_visual = unit_audio.astype(np.float32), unit_visual.astype(np.float32)
    return (
        lambda rows: unit_audio[rows] @ unit_visual.T,
        lambda rows: unit_visual[rows] @ unit_audio.T,
        labels if is_multi_label(labels) else labels.astype(np.int64),
    )


def _check_labels(labels: npt.NDArray[Any]) -> None:
    """Raises:
    UserError: they are no labels, or a clip has none.
    """
    several = is_multi_label(labels)
    if labels.ndim != (2 if several else 1) or labels.size == 0 or labels.dtype.kind not in "iub":
        raise UserError(
            f"labels have shape {labels.shape} and type {labels.dtype}; needed: [N] whole numbers, N >= 1, or [N, C] "
            "true or false, a column a class"
        )
    if several and not labels.any(axis=1).all():
        none = np.flatnonzero(~labels.any(axis=1))
        raise UserError(f"{len(none)} of {len(labels)} clips have no label, the first in row {none[0]}")


def unit_rows(embeddings: npt.NDArray[Any], name: str) -> npt.NDArray[np.float64]:
    """Rows [N, D] scaled to length 1; rows of zeros stay zero.

    Raises:
        UserError: values are not numbers or not finite; `name` says whose they are.
    """
    if embeddings.dtype.kind not in "fiu":
        raise UserError(f"{name} embeddings have type {embeddings.dtype}; needed: numbers")
    rows = embeddings.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise UserError(
            f"{name} embeddings hold NaN or infinity in {bad.size} of {len(rows)} rows, the first is row {bad[0]}"
        )
    largest = np.abs(rows).max(axis=1, initial=0.0, keepdims=True)
    # Scaled by the largest value first, so that squares neither overflow nor vanish.
    np.divide(rows, largest, out=rows, where=largest > 0)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]
    np.divide(rows, norms, out=rows, where=norms > 0)
    return rows
