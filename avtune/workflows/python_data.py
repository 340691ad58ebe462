"""Datasets and paths as a call gives them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from avtune.core.errors import UserError
from avtune.core.object_store import is_url
from avtune.data import load
from avtune.data.dataset import Dataset
from avtune.data.options import options_of
from avtune.data.registry import REGISTRY, locate
from avtune.engine.model import Model
from avtune.workflows.study_reading import Read, read_for

Place = str | os.PathLike[str]


def path_text(given: object, what: str) -> str:
    """A name or a path as text, `~` as the home folder.

    Raises:
        UserError: it is neither.
    """
    if not isinstance(given, str | os.PathLike):
        more = "a Dataset, a name or a path" if what == "data" else "a name or a path"
        raise UserError(f"{what} is a {type(given).__name__}; give {more}")
    path = os.fspath(given)
    if what == "results" and is_url(path):
        raise UserError(f"results is the URL {path}; a call takes a folder, and a URL: avtune search --results {path}")
    return os.path.expanduser(path)


def classes_text(classes: Place | None) -> str | None:
    """The file that names the classes.

    Raises:
        UserError: it is no path.
    """
    return None if classes is None else path_text(classes, "classes")


def dataset_for(data: Dataset | Place, classes: Place | None) -> Dataset:
    """The dataset that is given, loaded where it is not.

    Raises:
        UserError: it cannot be loaded, or is loaded and `classes` says how to.
    """
    if not isinstance(data, Dataset):
        return load(path_text(data, "data"), options_of(classes=classes_text(classes)))
    if classes is not None:
        raise UserError("classes goes with the path of a file or folder of features; this dataset is loaded already")
    return data


def dataset_of_models(data: Dataset | Place, classes: Place | None, models: Sequence[Model], results: Path) -> Read:
    """As `dataset_for`, for models: the data of their own study are read as the study has read them.

    Raises:
        UserError: as `dataset_for`.
    """
    if isinstance(data, Dataset):
        return Read(dataset_for(data, classes))
    return read_for(models, path_text(data, "data"), options_of(classes=classes_text(classes)), results)


def spec_of(dataset: Dataset, given: object) -> str:
    """How the command line would name the dataset: what a study tells those who continue it."""
    if isinstance(given, str) and given in REGISTRY:
        return given
    entry = REGISTRY.get(dataset.name)
    if entry is not None:
        found = locate(entry)
        if dataset.source == ("generated" if found is None else str(found)):
            return entry.name
    return dataset.place or dataset.source
