"""The clips of the other view that are nearest to a clip, by exact cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError, did_you_mean
from avtune.core.relevance import relevance
from avtune.data.labels import label_text
from avtune.engine.model import Model
from avtune.metrics.cosine import unit_rows
from avtune.metrics.ranking import GRID
from avtune.workflows.clips import Clips, embed_clips

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """A clip of the gallery.

    Attributes:
        rank: from 1.
        clip: its row, from 0.
        cosine: of its embedding and the query's, -1 to 1.
        tied: its cosine is that of another clip of the gallery; the lower row has the better rank then.
        label: its name, or the names of its labels; None where the data has no labels.
        hit: it shares a label with the query; None where the data has no labels.
        own_pair: it is the other view of the query's own clip.
    """

    rank: int
    clip: int
    cosine: float
    tied: bool
    label: str | None
    hit: bool | None
    own_pair: bool

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it; without what the data does not say."""
        facts = {**vars(self)}
        return {key: value for key, value in facts.items() if value is not None}


@dataclass(frozen=True)
class Answer:
    """What was found for one query: the clip of that row, its label, the nearest clips, best first, and how many of
    the gallery share a label with it (None without labels)."""

    clip: int
    label: str | None
    found: tuple[Found, ...]
    relevant: int | None

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        facts = {"clip": self.clip, "label": self.label, "relevant": self.relevant}
        said = {key: value for key, value in facts.items() if value is not None}
        return {**said, "found": [one.to_json() for one in self.found]}


def retrieve(model: Model, clips: Clips, queries: Sequence[int], *, view: str, k: int) -> list[Answer]:
    """The k clips of the other view that are nearest to each query.

    The gallery is the other view of all clips, the query's own included. Cosines are of float64; those that agree to
    2^-40 (about 1e-12), as in the scores, tie, and clips that tie are in the order of their rows.

    Args:
        clips: both views.
        queries: rows, from 0.
        view: of the queries, one of `clips.view_names`.
        k: at least 1; where the gallery is smaller, all of it is given.

    Raises:
        UserError: a view is not there, a query is no row, or the clips do not fit the model.
    """
    check_queries(clips, queries)
    other = other_view(clips, view)
    made = embed_clips(model, clips)
    unit_queries, gallery = unit_rows(made[view][list(queries)], view), unit_rows(made[other], other)
    return [
        _answer(clips, clip, gallery @ unit_query, k) for clip, unit_query in zip(queries, unit_queries, strict=True)
    ]


def other_view(clips: Clips, view: str) -> str:
    """The name of the view that is not this one.

    Raises:
        UserError: the clips have no view of that name.
    """
    names = clips.view_names
    if view not in names:
        raise UserError(f"--from is {view}{did_you_mean(view, names)}; the views are {' and '.join(names)}")
    return names[1 - names.index(view)]


def check_queries(clips: Clips, queries: Sequence[int]) -> None:
    """Raises:
    UserError: the clips have one view only, or not so many rows.
    """
    for view in clips.view_names:
        if view not in clips.views:
            raise UserError(f"{clips.title} has no {view} view: the gallery is the other view of the same clips")
    for clip in queries:
        if not 0 <= clip < len(clips):
            raise UserError(f"--query is {clip}; {clips.title} has the clips 0 to {len(clips) - 1}")


def _answer(clips: Clips, query: int, cosine_G: Floats, k: int) -> Answer:
    order, ties = ranking(cosine_G)
    tied = np.bincount(ties)[ties] > 1
    labels = clips.labels
    relevant_G = None if labels is None else relevance(labels[[query]], labels)[0]
    found = []
    for rank, (clip, is_tied) in enumerate(zip(order[:k].tolist(), tied[:k].tolist(), strict=True), 1):
        name = None if labels is None else label_text(labels, clip, clips.names)
        hit = None if relevant_G is None else bool(relevant_G[clip])
        found.append(Found(rank, clip, float(np.clip(cosine_G[clip], -1, 1)), is_tied, name, hit, clip == query))
    label = None if labels is None else label_text(labels, query, clips.names)
    return Answer(query, label, tuple(found), None if relevant_G is None else int(relevant_G.sum()))


def ranking(cosine_G: Floats) -> tuple[Ints, Ints]:
    """The order of a gallery [G] by its cosines to a query, best first, and for each place [G] the number of its tie.

    Rounding gives equal embeddings cosines that differ by 1e-16, in an order that depends on their places. So, as in
    `metrics.ranking`, chains of neighbouring steps of 2^-40 are one tie.
    """
    steps = np.rint(cosine_G * -GRID).astype(np.int64)
    first = np.argsort(steps, kind="stable")
    tie_G = np.empty(len(steps), np.int64)
    tie_G[first] = np.cumsum(np.diff(steps[first], prepend=steps[first[0]]) > 1)
    order = np.lexsort((np.arange(len(steps)), tie_G))
    return order, tie_G[order]
