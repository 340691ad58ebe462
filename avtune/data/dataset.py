"""What a dataset is: paired feature vectors of two views with class labels, split into train and test."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.relevance import is_multi_label
from avtune.core.view_names import VIEWS as VIEWS
from avtune.core.words import plural
from avtune.data.arrays import to_features, turned_hint
from avtune.data.class_names import names_of, some, words_of
from avtune.data.given_arrays import copy_of, given_groups
from avtune.data.given_names import given_class_names, given_name, given_views
from avtune.data.groups import GROUP_KEYS as GROUP_KEYS
from avtune.data.groups import read_groups
from avtune.data.labels import Labels as Labels
from avtune.data.labels import counts_by_class, encode, held_by, is_columns, off_by_one, renumbered
from avtune.data.on_disk import joined, taken

Features = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

SIX_KEYS = ("audio_train", "visual_train", "lab_train", "audio_test", "visual_test", "lab_test")
VALIDATION_KEYS = ("audio_val", "visual_val", "lab_val")
"""Beside the six keys: clips that the publisher sets aside for validation."""
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
ARRAYS = "arrays"
"""The source of a dataset that was made of arrays in memory."""


@dataclass(frozen=True, eq=False)
class Split:
    """Clips of one split. Row i of all three arrays is clip i.

    Attributes:
        audio: the first view, whatever its name; float32 [N, Da], C-contiguous.
        visual: the second view; float32 [N, Dv], C-contiguous.
        labels: int64 [N], each 0..C-1; of a multi-label dataset bool [N, C], a column a class.
    """

    audio: Features
    visual: Features
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def swapped(self) -> Split:
        """The same clips with the second view first."""
        return Split(self.visual, self.audio, self.labels)

    def take(self, rows: npt.NDArray[np.int64]) -> Split:
        """The clips at `rows` (int64 [M], each 0..N-1), in that order, copied; on disk where these are."""
        return Split(taken(self.audio, rows), taken(self.visual, rows), self.labels[rows])


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A dataset. `check` says what makes one usable; every reader of this package returns only usable ones.

    Attributes:
        name: a registered name, or the stem of the file.
        train, test: the two splits, of equal dims.
        class_names: one name a class; the original label values as text when the file names none.
        source: what the user reads: a path, `generated`, or `arrays` for one made by `from_arrays`.
        views: names of the two views, of `audio` and of `visual` of a `Split`.
        validation: int64 [V] rows of `train` that the publisher sets aside for validation; None where it sets none.
        groups: int64 [N], what each training clip is a part of (its video): clips of one group stay on one side of a
            validation split. None where that is not known.
        test_groups: the same of the test clips; None where that is not known.
        options: how its file was read, as `options.ReadOptions.given` says it.
        unread: arrays of its file that were not read, those that are of a validation split by their names first.
        remarks: sentences on how its file was read.
        place: the absolute path of what was read; empty where nothing was.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    source: str
    views: tuple[str, str] = VIEWS
    validation: Rows | None = None
    groups: Rows | None = None
    test_groups: Rows | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    place: str = ""

    @property
    def leaked(self) -> int:
        """Test clips that are part of a group with training clips."""
        if self.groups is None or self.test_groups is None:
            return 0
        return int(np.isin(self.test_groups, self.groups).sum())

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def is_multi_label(self) -> bool:
        """Whether clips have several labels: they are bool [N, C] then."""
        return is_multi_label(self.train.labels)

    @property
    def classes_text(self) -> str:
        """`10 classes`, and how many labels a training clip has where it may have several."""
        many = f" ({self.train.labels.sum() / len(self.train):.3g} labels a clip)" if self.is_multi_label else ""
        return f"{self.num_classes} classes{many}"

    def in_order(self, views: tuple[str, str]) -> Dataset:
        """The dataset with its views in the places that a model has for views of these names. Where no name is the
        same, the first view stands for the first.

        Raises:
            UserError: one view has the name of the model's other one.
        """
        if self.views == views[::-1]:
            return replace(self, train=self.train.swapped(), test=self.test.swapped(), views=views)
        if self.views[0] == views[1] or self.views[1] == views[0]:
            raise UserError(
                f"{self.source} has {' and '.join(self.views)}, in this order, and the model has "
                f"{' and '.join(views)}\nname the views, or order them, as the model has them"
            )
        return self

    def __repr__(self) -> str:
        sizes = f"{len(self.train)} training and {len(self.test)} test clips, {self.classes_text}"
        return f"<Dataset {self.name}: {sizes}, {self.dims_text}>"

    @property
    def dims_text(self) -> str:
        """`audio 128-d, visual 1024-d`."""
        return f"{self.views[0]} {self.audio_dim}-d, {self.views[1]} {self.visual_dim}-d"

    @property
    def audio_dim(self) -> int:
        return int(self.train.audio.shape[1])

    @property
    def visual_dim(self) -> int:
        return int(self.train.visual.shape[1])

    @cached_property
    def digest(self) -> str:
        """SHA-256, 64 hex digits, over shapes, dtypes and bytes of the six arrays: two datasets with the same digest
        train the same. A validation split that is given and groups take part where there are any, names and source
        do not."""
        sha = hashlib.sha256()
        for split in (self.train, self.test):
            for array in (split.audio, split.visual, split.labels):
                _add_to(sha, array)
        for what, rows in (("validation", self.validation), ("groups", self.groups)):
            if rows is not None:
                sha.update(f"{what};".encode())
                _add_to(sha, rows)
        return sha.hexdigest()

    @classmethod
    def from_arrays(
        cls,
        *,
        train: Sequence[npt.ArrayLike],
        test: Sequence[npt.ArrayLike],
        validation: Sequence[npt.ArrayLike] | None = None,
        views: tuple[str, str] = VIEWS,
        name: str = ARRAYS,
        class_names: Sequence[str] | None = None,
        groups: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Dataset:
        """A checked dataset of arrays in memory. They are copied: what becomes of them later does not change it.

        Args:
            train, test: `(audio, visual, labels)` of each split: features [N, Da] and [N, Dv], labels [N], or
                [N, C] of 0 and 1 with a column a class, row i of all three being clip i. Whatever
                `numpy.asarray` takes.
            validation: the same of clips that are set aside for validation; None for none.
            views: names of the two views, e.g. `("image", "text")`.
            name: of the dataset; a study of it is called so where nobody says otherwise.
            class_names: see the function `from_arrays`.
            groups: by split (`train`, `test`, `validation`), what each clip is a part of, e.g. its video: [N] numbers
                or words. Clips of one group stay on one side of a validation split. None where that is not known.

        Raises:
            UserError: the arrays are no usable dataset; names the split, the view and what is wrong.

        >>> import numpy as np
        >>> draw = np.random.default_rng(0)
        >>> def clips(n):
        ...     return draw.normal(size=(n, 8)), draw.normal(size=(n, 16)), np.arange(n) % 3
        >>> Dataset.from_arrays(train=clips(60), test=clips(24), name="noise", class_names=["dog", "rain", "siren"])
        <Dataset noise: 60 training and 24 test clips, 3 classes, audio 8-d, visual 16-d>
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        keys: dict[str, str] = {}
        name, views, class_names = given_name(name), given_views(views), given_class_names(class_names)
        held = [] if validation is None else [("val", validation)]
        for split, given in (("train", train), *held, ("test", test)):
            if not isinstance(given, tuple | list) or len(given) != 3:
                what = f"{len(given)} items" if isinstance(given, tuple | list) else f"a {type(given).__name__}"
                raise UserError(f"{_SPLITS[split]} is {what}; give ({views[0]}, {views[1]}, labels)")
            for view, short, array in zip((*views, "labels"), ("audio", "visual", "lab"), given, strict=True):
                keys[f"{short}_{split}"] = f"{view} of {_SPLITS[split]}"
                arrays[f"{short}_{split}"] = copy_of(
                    array, f"{ARRAYS}: {view} of {_SPLITS[split]}", features=short != "lab"
                )
        splits = {_SPLITS[split]: split for split in ("train", *(split for split, _ in held), "test")}
        keys |= {f"group_{split}": f"groups of {called}" for called, split in splits.items()}
        arrays |= {f"group_{split}": array for split, array in given_groups(groups, splits).items()}
        return from_arrays(arrays, name=name, source=ARRAYS, class_names=class_names, keys=keys, views=views)


def _add_to(sha: Any, array: npt.NDArray[Any]) -> None:
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    sha.update(f"{little.shape} {little.dtype.str};".encode())
    sha.update(little.data)


def from_arrays(
    arrays: Mapping[str, npt.ArrayLike],
    *,
    name: str,
    source: str,
    class_names: Sequence[str] | None = None,
    keys: Mapping[str, str] | None = None,
    views: tuple[str, str] = VIEWS,
    options: Mapping[str, Any] | None = None,
) -> Dataset:
    """A checked dataset from six arrays named by `SIX_KEYS`, and perhaps those of `VALIDATION_KEYS` and `GROUP_KEYS`.

    Args:
        arrays: features [N, D] of any real or integer dtype; labels [N], [N, 1] or [1, N], integers as any number or
            text, or words; or [N, C], one column a class, with at least one 1 in each row. Groups are labels, too.
        class_names: names of the labels, in the order of their values; or, if longer than the number of classes, the
            name of label v at index v. None: the label values themselves.
        keys: what the source calls each of these keys, for error messages.
        views: names of the two views.
        options: how the source was read.

    Raises:
        UserError: the dataset is unusable; names the source, the key and what is wrong.
    """
    every = (*SIX_KEYS, *VALIDATION_KEYS, *GROUP_KEYS)
    given = {key: np.asarray(arrays[key]) for key in every if key in arrays}
    where = {key: f"{source}: {(keys or {}).get(key, key)}" for key in every}
    features = {key: to_features(given[key], where[key]) for key in given if key.startswith(("audio", "visual"))}
    encoded = encode({key: given[key] for key in given if key.startswith("lab")}, where)
    labels = encoded.labels
    names = class_names if encoded.words is None else words_of(encoded.words, class_names, source)
    train, validation = _training(features, labels, where)
    groups, test_groups = read_groups(given, where, len(train))
    values = held_by(train.labels)
    absent = np.setdiff1d(held_by(labels["lab_test"]), values)
    if len(absent):
        shown = absent if encoded.words is None else [repr(encoded.words[one]) for one in absent]
        called = (keys or {}).get("lab_train", "lab_train")  # one array of all clips has one name for both splits
        train_lacks = "the training clips lack" if where["lab_test"] == where["lab_train"] else f"{called} lacks"
        numbers = encoded.words is None and not is_columns(given["lab_test"].shape)
        shifted = off_by_one(values, held_by(labels["lab_test"])) if numbers else ""
        raise UserError(
            f"{where['lab_test']} has {plural(len(absent), 'label')} that {train_lacks}: {some(shown)}\n"
            + (shifted or "every class of the test split must be in the training split: remove those test clips")
        )
    dataset = Dataset(
        name=name,
        train=Split(train.audio, train.visual, renumbered(train.labels, values)),
        test=Split(features["audio_test"], features["visual_test"], renumbered(labels["lab_test"], values)),
        class_names=names_of(values, names, source),
        source=source,
        views=views,
        validation=validation,
        groups=groups,
        test_groups=test_groups,
        options=options or {},
    )
    check(dataset, keys=keys)
    return dataset


def _training(
    features: Mapping[str, Features], labels: Mapping[str, Labels], where: Mapping[str, str]
) -> tuple[Split, Rows | None]:
    """The training clips, with those of a given validation split at the end, and the rows of these."""
    train = Split(features["audio_train"], features["visual_train"], labels["lab_train"])
    if "lab_val" not in labels:
        return train, None
    held = Split(features["audio_val"], features["visual_val"], labels["lab_val"])
    _check_given(train, held, where)
    both = Split(*(joined(*pair) for pair in zip(_parts(train), _parts(held), strict=True)))
    return both, np.arange(len(train), len(both))


def _parts(split: Split) -> tuple[npt.NDArray[Any], ...]:
    return split.audio, split.visual, split.labels


def _check_given(train: Split, held: Split, where: Mapping[str, str]) -> None:
    """Raises:
    UserError: a validation split does not go with the training split.
    """
    for view in ("audio", "visual"):
        for split, name in ((train, "train"), (held, "val")):
            if len(getattr(split, view)) != len(split):
                raise UserError(_rows_differ(getattr(split, view), len(split), where, view, name))
        dims = getattr(train, view).shape[1], getattr(held, view).shape[1]
        if dims[0] != dims[1]:
            raise UserError(f"{where[f'{view}_train']} has {dims[0]} dims and {where[f'{view}_val']} has {dims[1]}")


def check(dataset: Dataset, *, keys: Mapping[str, str] | None = None) -> None:
    """Checks a dataset however it was made.

    Args:
        keys: what the source calls each of `SIX_KEYS`, for error messages.

    Raises:
        UserError: an array has another dtype or number of axes than `Split` says, features that are not finite, an
            empty split, lengths or dims that differ, labels outside 0..C-1, fewer than two classes, a class with fewer
            than two training clips.
    """
    named = {key: f"{dataset.source}: {(keys or {}).get(key, key)}" for key in SIX_KEYS}
    _check_split(dataset.train, "train", dataset.num_classes, named)
    _check_split(dataset.test, "test", dataset.num_classes, named)
    if is_multi_label(dataset.train.labels) != is_multi_label(dataset.test.labels):
        raise UserError(f"{named['lab_train']} and {named['lab_test']} differ in form; both splits need the same")
    for view in ("audio", "visual"):
        train_dim, test_dim = (getattr(split, view).shape[1] for split in (dataset.train, dataset.test))
        if train_dim != test_dim:
            raise UserError(
                f"{named[f'{view}_train']} has {train_dim} dims and {named[f'{view}_test']} has {test_dim}; "
                f"both splits need the same features"
            )
    if dataset.num_classes < 2:
        raise UserError(f"{named['lab_train']} holds one class only; metric learning needs at least two")
    counts = counts_by_class(dataset.train.labels, dataset.num_classes)
    if counts.min() < 2:
        few = [f"'{dataset.class_names[c]}' ({plural(int(counts[c]), 'clip')})" for c in np.flatnonzero(counts < 2)]
        raise UserError(
            f"{named['lab_train']} has too few clips of {some(few)}; a validation split needs two of every class\n"
            f"add training clips, or remove the class from both splits"
        )


def _check_split(split: Split, name: str, num_classes: int, named: Mapping[str, str]) -> None:
    """Checks the arrays of one split by themselves; `named`: what messages call each of `SIX_KEYS`."""
    for view in ("audio", "visual"):
        features, where = getattr(split, view), named[f"{view}_{name}"]
        if to_features(features, where) is not features:
            raise UserError(f"{where} must be float32 in C order")
        if len(features) != len(split):
            raise UserError(_rows_differ(features, len(split), named, view, name))
    where = named[f"lab_{name}"]
    if is_multi_label(split.labels):
        if split.labels.shape[1:] != (num_classes,) or not split.labels.any(axis=1).all():
            raise UserError(f"{where} must be [clips, {num_classes}] with a label in every row")
        return
    if split.labels.dtype != np.int64 or split.labels.ndim != 1:
        raise UserError(f"{where} must be int64 with one axis, or bool with one column a class")
    if split.labels.min() < 0 or split.labels.max() >= num_classes:
        raise UserError(f"{where} must lie in 0..{num_classes - 1}")


def _rows_differ(features: Features, labels: int, named: Mapping[str, str], view: str, split: str) -> str:
    where = named[f"{view}_{split}"]
    hint = turned_hint(features.shape, labels)
    return f"{where} has {plural(len(features), 'row')} and {named[f'lab_{split}']} has {plural(labels, 'label')}" + (
        hint or "\nrow i of both views and of the labels must be the same clip"
    )
