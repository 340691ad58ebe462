"""What `evaluate` is asked to score: embeddings, or a model on clips; with what they are looked for in."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from avtune.core.errors import UserError
from avtune.core.view_names import VIEWS
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.labels import counts_by_class, held_by, renumbered
from avtune.data.options import ReadOptions
from avtune.engine.model import Model
from avtune.workflows.clips import Clips, Source, embed_clips, read_clips
from avtune.workflows.evaluate import embeddings_of, read_embeddings, views_of_embeddings
from avtune.workflows.galleries import Embeddings, Sets, given, kind_of, within
from avtune.workflows.looks import count_look_at
from avtune.workflows.shared_clips import Views
from avtune.workflows.study_reading import Read

SPLITS = ("test", "train")


class Asked(NamedTuple):
    """What is scored.

    Attributes:
        sets: queries and gallery.
        title: where they come from.
        epoch: how the model's epoch was chosen, where that is to be said.
        problems: of the datasets.
        look: what is to be said of the look at the test split of the model's study.
        views: what the dataset calls its views.
        unseen: classes of the queries of which the model was trained on no clip.
        reading: how the model's own data are read, where that is to be said.
    """

    sets: Sets
    title: str
    epoch: str = ""
    problems: tuple[str, ...] = ()
    look: str = ""
    views: tuple[str, str] = VIEWS
    unseen: tuple[str, ...] = ()
    reading: str = ""

    @property
    def counts(self) -> list[int]:
        """Queries of each class that queries or gallery have."""
        queries, gallery = self.sets.queries.labels, self.sets.gallery.labels
        held = np.union1d(held_by(queries), held_by(gallery))
        counts: list[int] = counts_by_class(renumbered(queries, held), len(held)).tolist()
        return counts


def of_embeddings(path: Path, kind: str | None, gallery: Path | None) -> Asked:
    """Of an npz file.

    Args:
        kind: of the gallery, among the same clips; None for a file of its own.
        gallery: that file.

    Raises:
        UserError: a file cannot be read, or they do not fit each other.
    """
    queries, views = read_embeddings(path), views_of_embeddings(path)
    if gallery is None:
        assert kind is not None
        return Asked(within(queries, kind), str(path), views=views)
    return Asked(given(queries, read_embeddings(gallery)), f"{path}, gallery {gallery}", views=views)


class _Part(NamedTuple):
    """Embedded clips, and where they come from."""

    embedded: Embeddings
    features: Views
    title: str
    dataset: Dataset | None
    split: str
    note: str = ""
    problem: str = ""


def of_model(
    model: Model,
    place: Path,
    query: Dataset | Read | str,
    gallery: Dataset | str,
    *,
    split: str,
    results: Path,
    method: str | None,
    reading: ReadOptions | None = None,
) -> Asked:
    """Of a model. A look at the test split of its study is counted before anything is scored.

    Args:
        place: the model's folder.
        query: a dataset, perhaps as `study_reading` has read it; or what names one, or any file of features with
            labels, with `:test` or `:train` at its end where another split than `split` is meant.
        gallery: the same, or one of `galleries.KINDS`.
        split: of a dataset.
        results: the folder of studies, where the model's is looked for.
        method: the user's own method that the study was made with, if any.
        reading: how the files are read.

    Raises:
        UserError: clips cannot be read, have no labels, or do not fit the model.
    """
    asked = _part(model, query, split, reading, results)
    kind = kind_of(gallery) if isinstance(gallery, str) else None
    other = None if kind is not None else _part(model, gallery, split, reading, results)
    parts = [asked] if other is None else [asked, other]
    looks: list[str] = []
    problems: list[str] = []
    for one in parts:
        if one.dataset is not None:
            looks.append(count_look_at(model, place, one.dataset, one.split, results=results, method=method))
            problems += [*([one.problem] if one.problem else []), *examine(one.dataset).problems]
    if other is None:
        sets = within(asked.embedded, kind or "all")
    else:
        sets = given(asked.embedded, other.embedded, (asked.features, other.features))
    return Asked(
        sets,
        asked.title if other is None else f"{asked.title}, gallery {other.title}",
        str(model.about.get("epoch", "")),
        tuple(dict.fromkeys(problems)),
        "; ".join(dict.fromkeys(look for look in looks if look)),
        model.views if asked.dataset is None else asked.dataset.views,
        _unseen(model, sets),
        "; ".join(dict.fromkeys(one.note for one in parts if one.note)),
    )


def _part(model: Model, what: Dataset | Read | str, split: str, reading: ReadOptions | None, results: Path) -> _Part:
    if not isinstance(what, str):
        read = Read(what) if isinstance(what, Dataset) else what
        dataset = read.dataset.in_order(model.views)
        rows = dataset.test if split == "test" else dataset.train
        title, problem = f"{dataset.name} ({split} split)", read.problem if split == "test" else ""
        embedded = embeddings_of(model, dataset, split)
        return _Part(embedded, (rows.audio, rows.visual), title, dataset, split, read.note, problem)
    spec, colon, end = what.rpartition(":")
    wanted: str | None = end
    if not colon or end not in SPLITS:
        spec, wanted = what, None if split == SPLITS[0] else split  # a file without splits takes none
    clips = read_clips(Source(spec, wanted, reading=reading or ReadOptions(), results=results), model)
    said = f" ({clips.split} split)" if clips.split is not None else ""
    note = clips.note if clips.dataset is not None else ""
    embedded = _labelled(model, clips)
    first, second = (clips.views[view] for view in model.views)
    title = f"{spec}{said}"
    return _Part(embedded, (first, second), title, clips.dataset, clips.split or "", note, clips.problem)


def _labelled(model: Model, clips: Clips) -> Embeddings:
    if clips.labels is None:
        raise UserError(f"{clips.title} has no labels; name their array labels, or lab_test")
    if clips.audio is None or clips.visual is None:
        missing = next(view for view in model.views if view not in clips.views)
        raise UserError(f"{clips.title} has no {missing} features; both views are asked with")
    made = embed_clips(model, clips)
    audio, visual = (made[view] for view in model.views)
    if clips.dataset is not None:
        return Embeddings(audio, visual, clips.labels, clips.dataset.class_names)
    held = held_by(clips.labels)
    of = renumbered(clips.labels, held)
    return Embeddings(audio, visual, of, [clips.names.get(label, str(label)) for label in held.tolist()])


def _unseen(model: Model, sets: Sets) -> tuple[str, ...]:
    """Classes of the queries that the model's training did not have, by name; none where one of both has numbers in
    place of names, which say nothing of each other."""
    labels = sets.queries.labels
    held = held_by(labels)
    names = [sets.names[label] for label in held.tolist() if label < len(sets.names)]
    numbered = [all(name.lstrip("-").isdigit() for name in some) for some in (names, model.class_names)]
    if numbered[0] != numbered[1]:
        return ()
    return tuple(name for name in names if name not in model.class_names)
