"""The data sets that portfolios are made over: real ones, parts of them, and generated ones.

A family is what comes from one source. Sets of one family are much alike, so a portfolio is judged on a family that it
was made without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.data import SIX_KEYS, Dataset, demo, from_arrays, load
from avtune.data.demo import generated
from avtune.data.registry import data_folders

_TEST = 0.2  # share of the clips of scikit-learn's sets that training does not see
_VIEWS = ("audio", "visual")


@dataclass(frozen=True)
class DataSet:
    """One of them.

    Attributes:
        name: of its recordings, and in tables.
        family: the source that it is of.
        about: what it is, in words.
        make: reads or generates it.
    """

    name: str
    family: str
    about: str
    make: Callable[[], Dataset]


def _file(name: str) -> Dataset:
    """A file of features that is in the data folder; never part of the repository.

    Raises:
        UserError: it is not there.
    """
    for folder in data_folders():
        if (folder / f"{name}.h5").is_file():
            return load(str(folder / f"{name}.h5"))
    raise UserError(f"there is no {name}.h5 in {' or '.join(map(str, data_folders()))}; AVTUNE_DATA names the folder")


def _part(
    whole: Dataset, name: str, *, classes: Sequence[int] | None = None, clips: int | None = None, noise: float = 0.0
) -> Dataset:
    """Some classes of a data set, then so many of its training clips at random, with white noise added."""
    rng = np.random.default_rng(0)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for split_name, split in (("train", whole.train), ("test", whole.test)):
        rows = np.arange(len(split))
        if classes is not None:
            rows = rows[np.isin(split.labels, classes)]
        if clips is not None and split_name == "train":
            rows = np.sort(rng.permutation(rows)[:clips])
        for view in _VIEWS:
            features = getattr(split, view)[rows]
            arrays[f"{view}_{split_name}"] = features + noise * rng.standard_normal(features.shape, np.float32)
        arrays[f"lab_{split_name}"] = split.labels[rows]
    return from_arrays(arrays, name=name, source="part of another set")


def _halves(loader: str, name: str, first: Sequence[int]) -> Dataset:
    """A set that comes with scikit-learn, whose columns `first` are one view and the others the other."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    values, labels = getattr(datasets, loader)(return_X_y=True)
    others = [column for column in range(values.shape[1]) if column not in first]
    views = values[:, list(first)], values[:, others]
    parts = train_test_split(*views, labels, test_size=_TEST, random_state=0, stratify=labels)
    keys = ("audio_train", "audio_test", "visual_train", "visual_test", "lab_train", "lab_test")
    assert set(keys) == set(SIX_KEYS)
    return from_arrays(dict(zip(keys, parts, strict=True)), name=name, source="scikit-learn")


def _generated(name: str, classes: int, clips: int, seed: int) -> Dataset:
    counts = [clips // classes + (place < clips % classes) for place in range(classes)]
    return generated(name, counts, [max(2, count // 5) for count in counts], seed)


def _left_half(side: int) -> list[int]:
    return [row * side + column for row in range(side) for column in range(side // 2)]


def _even_rows(side: int) -> list[int]:
    return [row * side + column for row in range(0, side, 2) for column in range(side)]


def _as(name: str, make: Callable[[], Dataset], **what: Any) -> Callable[[], Dataset]:
    return lambda: _part(make(), name, **what)


SETS: Mapping[str, DataSet] = {
    one.name: one
    for one in (
        DataSet("yt8m_ave15", "yt8m_ave15", "15 classes of YouTube-8M", lambda: _file("yt8m_ave15")),
        DataSet("demo", "generated", "`demo` as it comes, 15 classes", demo),
        DataSet(
            "digits_halves",
            "digits",
            "scikit-learn's digits, left and right half",
            lambda: _halves("load_digits", "digits_halves", _left_half(8)),
        ),
        DataSet(
            "yt8m_10s_1200",
            "yt8m_10s",
            "1,200 training clips of 10 classes of YouTube-8M",
            _as("yt8m_10s_1200", lambda: _file("yt8m_10s"), clips=1200),
        ),
        DataSet(
            "cancer_halves",
            "cancer",
            "scikit-learn's breast cancer: 15 of its columns, and the other 15",
            lambda: _halves("load_breast_cancer", "cancer_halves", range(15)),
        ),
        DataSet(
            "yt8m_ave15_vehicles",
            "yt8m_ave15",
            "its seven classes of vehicles",
            _as("yt8m_ave15_vehicles", lambda: _file("yt8m_ave15"), classes=range(3, 10)),
        ),
        DataSet(
            "yt8m_10s_5_classes",
            "yt8m_10s",
            "five of its classes, 900 training clips",
            _as("yt8m_10s_5_classes", lambda: _file("yt8m_10s"), classes=range(0, 10, 2), clips=900),
        ),
        DataSet(
            "demo_30_classes",
            "generated",
            "of the demo's kind with seed 1, 30 classes, 1,200 training clips",
            lambda: _generated("demo_30_classes", 30, 1200, 1),
        ),
        DataSet(
            "demo_noise",
            "generated",
            "of the demo's kind with seed 2, 8 classes, 900 training clips, white noise of deviation 0.6 added",
            _as("demo_noise", lambda: _generated("demo_noise", 8, 900, 2), noise=0.6),
        ),
        DataSet(
            "digits_rows",
            "digits",
            "scikit-learn's digits, even and odd rows of pixels",
            lambda: _halves("load_digits", "digits_rows", _even_rows(8)),
        ),
    )
}
