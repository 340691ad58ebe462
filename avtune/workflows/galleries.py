"""What queries are looked for in: the gallery of `evaluate`, printed with every score.

`all`: every clip of the other view, the query's own pair included, as the field's tables have it. `other`: the own pair
left out. `disjoint`: queries and gallery are different clips, halves of each class, or of all clips where these
have several labels, drawn with a fixed seed. Or two sets of clips that the user gives, of any sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from avtune.core.errors import UserError, did_you_mean, first_of, shown
from avtune.data.labels import held_by
from avtune.metrics.directions import Directions, between, paired
from avtune.workflows.shared_clips import Views, places_of

ALL, DISJOINT, OTHER, GIVEN = "all", "disjoint", "other", "given"
KINDS = (ALL, DISJOINT, OTHER)
CLASS_NAMES = "class_names"
"""Array of a file of embeddings: the names of its labels, from 0."""
_SEED = 0
_WORDS = {
    ALL: "every clip of the other view, the query's own pair included",
    OTHER: "every clip of the other view but the query's own pair",
    DISJOINT: "other clips than the queries: halves of {halves_of}, seed 0",
    GIVEN: "a set of its own",
}


class Embeddings(NamedTuple):
    """Embeddings of labelled clips.

    Attributes:
        audio: [N, D].
        visual: [N, D].
        labels: class of each clip [N], from 0; or bool [N, C], a column a class.
        names: of the classes, by their labels.
    """

    audio: np.ndarray
    visual: np.ndarray
    labels: np.ndarray
    names: Sequence[str]

    def take(self, rows: np.ndarray) -> Embeddings:
        """The clips at `rows`."""
        return Embeddings(self.audio[rows], self.visual[rows], self.labels[rows], self.names)


@dataclass(frozen=True, eq=False)
class Sets:
    """Queries and what they are looked for in, with labels of one numbering.

    Attributes:
        queries: those that have a relevant clip in the gallery.
        gallery: what both views of them are looked for in.
        kind: of `KINDS`, or `given`.
        pair: the place of each query's own clip in the gallery; None where not all are there.
        left_out: queries that were asked for and have no clip of their class in the gallery.
        shared: queries whose clip is in the gallery too.
    """

    queries: Embeddings
    gallery: Embeddings
    kind: str
    pair: np.ndarray | None
    left_out: int = 0
    shared: int = 0

    @property
    def names(self) -> Sequence[str]:
        """Of the classes."""
        return self.gallery.names

    def directions(self) -> Directions:
        """What is scored."""
        if self.kind == ALL:
            return paired(*self.queries[:3], exact=True)
        views = [(one.audio, one.visual, one.labels) for one in (self.queries, self.gallery)]
        return between(views[0], views[1], self.pair, without_pair=self.kind == OTHER)

    def facts(self) -> dict[str, Any]:
        """For JSON and Python."""
        return {
            "kind": self.kind,
            "queries": len(self.queries.labels),
            "clips": len(self.gallery.labels) - (self.kind == OTHER),
            "own_pair": self.kind != OTHER and self.pair is not None,
            "queries_left_out": self.left_out,
            "queries_in_gallery": self.shared,
            **({"halves_of": self._halves_of} if self.kind == DISJOINT else {}),
            **({"classes_by_number": True} if self.kind == GIVEN and only_numbers(self.names) else {}),
        }

    @property
    def _halves_of(self) -> str:
        return "each class" if self.gallery.labels.ndim == 1 else "all clips"


def words(facts: dict[str, Any]) -> list[str]:
    """What `Sets.facts` says, in sentences."""
    lines = [f"gallery {facts['kind']}: {_WORDS[facts['kind']].format(**facts)}"]
    lines.append(f"{facts['queries']} queries of each view, {facts['clips']} clips in the gallery of each")
    if left_out := facts["queries_left_out"]:
        verb = "has" if left_out == 1 else "have"
        lines.append(
            f"note: {left_out} queries more {verb} no clip of their class in the gallery; they are in no score"
        )
    if facts["kind"] == GIVEN and facts["queries_in_gallery"]:
        lines.append(f"note: {facts['queries_in_gallery']} of the queries are clips of the gallery, too")
    if facts.get("classes_by_number"):
        lines.append("note: classes have no names; those of one number are taken for the same")
    return lines


def checked_kind(name: str) -> str:
    """A gallery by its name.

    Raises:
        UserError: there is no such gallery.
    """
    if name not in KINDS:
        hint = did_you_mean(name, KINDS)
        raise UserError(f"gallery is {shown(name)}; allowed: all, disjoint, other, or clips that are there{hint}")
    return name


def kind_of(gallery: str) -> str | None:
    """A gallery by its name; None for what names clips.

    Raises:
        UserError: it is neither, but near a name.
    """
    if gallery in KINDS:
        return gallery
    return checked_kind(gallery) if did_you_mean(gallery, KINDS) and not Path(gallery).exists() else None


def within(clips: Embeddings, kind: str = ALL) -> Sets:
    """Queries and a gallery from one set of clips.

    Args:
        kind: of `KINDS`.

    Raises:
        UserError: no query has a clip of its class in the gallery.
    """
    count = len(clips.labels)
    own = np.arange(count)
    if kind == ALL:
        return Sets(clips, clips, ALL, own, shared=count)
    if kind == OTHER:
        return _answerable(Sets(clips, clips, OTHER, own))
    order = np.random.default_rng(_SEED).permutation(count)
    if clips.labels.ndim == 1:
        order = order[np.argsort(clips.labels[order], kind="stable")]
    queries, gallery = np.sort(order[::2]), np.sort(order[1::2])
    if not len(gallery):
        raise UserError("gallery disjoint needs two clips or more")
    return _answerable(Sets(clips.take(queries), clips.take(gallery), DISJOINT, None))


def given(queries: Embeddings, gallery: Embeddings, features: tuple[Views, Views] | None = None) -> Sets:
    """Queries and a gallery that the user names. Classes are the same where their names are.

    Args:
        features: of the queries and of the gallery, of which a model made the embeddings: clips are the same where
            these are. None tells clips by their embeddings, up to rounding.

    Raises:
        UserError: their embeddings differ in dimension, or no query has a clip of its class in the gallery.
    """
    if queries.audio.shape[1] != gallery.audio.shape[1]:
        raise UserError(
            f"the queries have {queries.audio.shape[1]}-d embeddings and the gallery {gallery.audio.shape[1]}-d ones; "
            "both must come from one model"
        )
    if queries.labels.ndim != gallery.labels.ndim:
        raise UserError("of queries and gallery, one has several labels a clip and the other one; give both alike")
    if only_numbers(queries.names) != only_numbers(gallery.names):
        which = ("gallery", "queries") if only_numbers(queries.names) else ("queries", "gallery")
        raise UserError(
            f"the classes of the {which[0]} have names, and those of the {which[1]} only numbers, which do not say "
            f"which are the same; add {CLASS_NAMES} to the file of the {which[1]}, or make it again "
            "(`avtune embed --out X.npz`)"
        )
    names = list(dict.fromkeys([*gallery.names, *queries.names]))
    both = [one._replace(labels=_numbered(one, names), names=names) for one in (queries, gallery)]
    found = places_of(queries[:2], gallery[:2], rounded=True) if features is None else places_of(*features)
    shared = int((found >= 0).sum())
    pair = found if shared == len(found) else None
    return _answerable(Sets(both[0], both[1], GIVEN, pair, shared=shared))


def only_numbers(names: Iterable[str]) -> bool:
    """Whether names of classes are their numbers."""
    return all(name.lstrip("-").isdecimal() for name in names)


def _numbered(clips: Embeddings, names: Sequence[str]) -> np.ndarray:
    """The labels of clips in the numbering of `names`."""
    place = {name: number for number, name in enumerate(names)}
    numbers = np.array([place[name] for name in clips.names])
    if clips.labels.ndim == 1:
        return np.asarray(numbers[clips.labels])
    columns = np.zeros((len(clips.labels), len(names)), bool)
    columns[:, numbers] = clips.labels
    return columns


def _answerable(sets: Sets) -> Sets:
    """Without the queries that have no relevant clip in the gallery.

    Raises:
        UserError: none has one.
    """
    queries, gallery = sets.queries.labels, sets.gallery.labels
    if queries.ndim == 2:  # labels that a query shares with clips of the gallery, in all
        matches, own = queries.astype(np.int64) @ gallery.sum(axis=0), queries.sum(axis=1)
    else:
        matches, own = np.bincount(gallery, minlength=int(queries.max()) + 1)[queries], np.ones(len(queries), np.int64)
    if sets.kind == OTHER:
        matches = matches - own
    rows = np.flatnonzero(matches > 0)
    if not len(rows):
        raise UserError(
            f"gallery {sets.kind}: no query has a clip of its class in the gallery, so nothing is scored"
            f"{_both_names(sets) if sets.kind == GIVEN else ''}"
        )
    pair = None if sets.pair is None else sets.pair[rows]
    return Sets(sets.queries.take(rows), sets.gallery, sets.kind, pair, len(matches) - len(rows), sets.shared)


def _both_names(sets: Sets) -> str:
    """The classes of queries and gallery, which have no name in common, in words."""
    shown = []
    for what, clips in (("queries", sets.queries), ("gallery", sets.gallery)):
        names = [clips.names[label] for label in held_by(clips.labels).tolist()]
        shown.append(f"{what}: {first_of(names)}")
    return f"\nclasses are the same where their names are; {'; '.join(shown)}"
