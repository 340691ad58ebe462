"""The clips that a model is used on, from a dataset's split or from any file of features, and their embeddings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.view_names import VIEWS
from avtune.data.dataset import Dataset, Features, Labels
from avtune.data.options import ReadOptions
from avtune.data.registry import REGISTRY
from avtune.data.views import SPLITS, is_dataset, read_views
from avtune.engine.model import Model
from avtune.workflows.study_reading import read_for

Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Source:
    """Where clips come from, as the user says it.

    Attributes:
        spec: a registered dataset, or the path of a file or of a folder of tfrecord shards.
        split: `test` or `train`; None where it was not said.
        view: the only view that is wanted; None for all.
        chosen: names of arrays by what they are, see `data.views.read_views`; None where none was named.
        reading: how a dataset's file is read.
        results: the folder of studies, where the model's is looked for, which says how its own data are read; None for
            nowhere.
    """

    spec: str
    split: str | None = None
    view: str | None = None
    chosen: Mapping[str, str] | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)
    results: Path | None = None


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of a dataset's split, or of a file without splits. Row i of all arrays is clip i, counted from 0.

    Attributes:
        audio, visual: the first and the second view, whatever their names: unscaled features, float32 [N, A] and
            [N, V]; None for a view that is not there or not wanted.
        labels: int64 [N], or bool [N, C] where clips have several; None where there are none.
        names: of the labels, by their values.
        title: what they are, e.g. `the test split of ave`.
        name: of the dataset, or the stem of the file.
        dataset: that they are a split of; None for a file without splits.
        split: of the dataset.
        note: which arrays were read; of a dataset, how it was read where that is to be said.
        view_names: of both views, the first one first.
        problem: that the model was trained on some of the test clips; empty where it is not known to be.
    """

    audio: Features | None
    visual: Features | None
    labels: Labels | None
    names: Mapping[int, str]
    title: str
    name: str
    dataset: Dataset | None = None
    split: str | None = None
    note: str = ""
    view_names: tuple[str, str] = VIEWS
    problem: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.views.values())))

    @property
    def views(self) -> dict[str, Features]:
        """Those that are there, by name."""
        both = zip(self.view_names, (self.audio, self.visual), strict=True)
        return {view: one for view, one in both if one is not None}


def read_clips(source: Source, model: Model) -> Clips:
    """The clips that `source` names, checked against the model.

    Raises:
        UserError: they cannot be read, or do not fit the model.
    """
    if source.view is not None and source.view not in model.views:
        raise UserError(f"--view is {source.view}; the model has {' and '.join(model.views)}")
    if _is_dataset(source.spec):
        return _of_dataset(source, model)
    given = [name for name in source.reading.given() if name != "pool"]
    if given:
        what = given[0].replace("_", "-")
        raise UserError(f"--{what} goes with a dataset; {source.spec} is a file of views")
    found = read_views(
        source.spec,
        model.dims,
        view=source.view,
        split=source.split,
        chosen=source.chosen,
        pool=source.reading.pool,
    )
    path = Path(os.path.expanduser(source.spec))
    read = ", ".join(f"{what} from {key}" for what, key in found.keys.items())
    unused = f"; not read: {', '.join(found.unused[:8])}" if found.unused else ""
    title = f"{path.name}" + (f" ({source.split} split)" if source.split else "")
    return Clips(
        found.audio,
        found.visual,
        found.labels,
        found.names,
        title,
        path.stem,
        note=f"{path}: {read}{unused}",
        view_names=model.views,
    )


def _is_dataset(spec: str) -> bool:
    path = Path(os.path.expanduser(spec))
    if spec in REGISTRY or path.is_dir():
        return True
    if not path.exists() and not path.suffix and os.sep not in spec:
        return True  # a name that is misspelt, which the reader of datasets knows how to say
    return is_dataset(path)


def _of_dataset(source: Source, model: Model) -> Clips:
    if source.chosen:
        raise UserError(f"{source.spec} is a dataset; leave --map out, --split {' or '.join(SPLITS)} chooses the rows")
    read = read_for((model,), source.spec, source.reading, source.results)
    dataset = read.dataset.in_order(model.views)
    split = source.split or SPLITS[0]
    rows = dataset.test if split == "test" else dataset.train
    wanted = model.views if source.view is None else (source.view,)
    both = dict(zip(model.views, (rows.audio, rows.visual), strict=True))
    views: dict[str, Features] = {view: both[view] for view in wanted}
    for view, features in views.items():
        if features.shape[1] != model.dims[view]:
            raise UserError(
                f"{dataset.source} has {features.shape[1]} {view} dimensions; the model takes {model.dims[view]}"
            )
    names = dict(enumerate(dataset.class_names))
    title = f"the {'test' if split == 'test' else 'training'} split of {dataset.name}"
    first, second = (views.get(view) for view in model.views)
    problem = read.problem if split == "test" else ""
    return Clips(
        first,
        second,
        rows.labels,
        names,
        title,
        dataset.name,
        dataset,
        split,
        note=read.note,
        view_names=model.views,
        problem=problem,
    )


def embed_clips(model: Model, clips: Clips) -> dict[str, Embeddings]:
    """Embeddings float32 [N, D] of each view of the clips.

    Raises:
        UserError: they are not finite.
    """
    embedded = model.embed(clips.audio, clips.visual)
    made = dict(zip(clips.views, embedded if isinstance(embedded, tuple) else (embedded,), strict=True))
    if not all(np.isfinite(one).all() for one in made.values()):
        raise UserError(f"the model's embeddings of {clips.title} are not finite; model and features do not fit")
    return made
