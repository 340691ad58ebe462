"""The six-key HDF5 file that avtune writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from avtune.core.errors import UserError
from avtune.core.files import sync_folder
from avtune.core.view_names import VIEWS
from avtune.data.dataset import Dataset


def _write_splits(file: Any, dataset: Dataset) -> None:
    """The arrays of each split; groups where there are any."""
    rows = np.arange(len(dataset.train))
    parts = {"train": rows}
    if dataset.validation is not None:
        parts = {"train": np.setdiff1d(rows, dataset.validation), "val": dataset.validation}
    splits = {name: (dataset.train.take(chosen), dataset.groups, chosen) for name, chosen in parts.items()}
    splits["test"] = (dataset.test, dataset.test_groups, np.arange(len(dataset.test)))
    for name, (split, groups, chosen) in splits.items():
        file[f"audio_{name}"] = split.audio
        file[f"visual_{name}"] = split.visual
        file[f"lab_{name}"] = split.labels.astype(np.uint8) if dataset.is_multi_label else split.labels
        if groups is not None:
            file[f"group_{name}"] = groups[chosen]


def _write_texts(file: Any, key: str, texts: Sequence[str]) -> None:
    """Of fixed length: the HDF5 library can hang on a damaged file that holds text of any length."""
    encoded = [text.encode() for text in texts]
    dtype = h5py.string_dtype("utf-8", max(len(text) for text in encoded))
    file.create_dataset(key, data=encoded, dtype=dtype)


def write_hdf5(dataset: Dataset, path: str | Path, *, overwrite: bool = False) -> None:
    """Writes the six-key layout, `class_names`, and the validation split, groups and names of views that there are. The
    file appears whole or not at all. A view that is called audio or visual is under the keys of that name.

    Raises:
        UserError: the file exists and `overwrite` is False, or it cannot be written there.
    """
    path = Path(path)
    if dataset.views[0] == VIEWS[1] or dataset.views[1] == VIEWS[0]:  # others go by the keys
        dataset = dataset.in_order(dataset.views[::-1])
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; remove it, or say that it may be overwritten (--overwrite)")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w", locking=False) as file:
            _write_splits(file, dataset)
            _write_texts(file, "class_names", dataset.class_names)
            if dataset.views != VIEWS:
                _write_texts(file, "view_names", dataset.views)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()
