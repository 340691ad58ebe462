"""From what a layout has found in a file to a dataset: shapes and memory are checked before anything is read, features
are pooled, and clips without a split are split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.words import plural
from avtune.data.arrays import (
    Array,
    Declared,
    check_feature_shape,
    check_label_shape,
    printable,
    to_features,
)
from avtune.data.dataset import SIX_KEYS, VIEWS, Dataset, from_arrays
from avtune.data.groups import together
from avtune.data.labels import encode, label_rows, read_whole
from avtune.data.on_disk import taken
from avtune.data.options import ReadOptions
from avtune.data.pooling import pooled
from avtune.data.reading import readers
from avtune.data.split import validation_folds
from avtune.data.split_words import SPLIT_WORDS, parted
from avtune.data.turned import check_upright

WHOLE = ("audio", "visual", "lab")
"""Roles of the arrays of a file whose splits are marked, or that has none."""
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Found:
    """What a layout has found.

    Attributes:
        source: file or folder, for messages.
        arrays: by role: those of `SIX_KEYS` and perhaps of `VALIDATION_KEYS` and `GROUP_KEYS`; or `audio visual lab`
            of all clips, and perhaps `split` and `group`. `audio` stands for the first view, whatever it is called.
        views: names of the views.
        names: of the classes, see `from_arrays`.
        keys: every array of the file, without groups: those that are not read are said.
    """

    source: str
    arrays: Mapping[str, Declared]
    views: tuple[str, str] = VIEWS
    names: Declared | Sequence[str] | None = None
    keys: Sequence[str] = ()


def build(found: Found, options: ReadOptions) -> Dataset:
    """The dataset.

    Raises:
        UserError: it is unusable; names the source, the array and what is wrong.
    """
    from avtune.data.opening import read_names

    for view in found.views:
        if not view.strip() or not view.isprintable():
            raise UserError(
                f"{found.source}: {printable(view)} is no name of a view, which is printable text; rename it"
            )
    _check_pool(found, options)
    arrays = {role: _fitting(role, one, options) for role, one in found.arrays.items()}
    check_upright(found.source, arrays, found.views, found.keys, options)
    names = found.names
    features = [role for role in arrays if role.startswith(("audio", "visual"))]
    reads = readers(arrays, features, [names] if isinstance(names, Declared) else [])
    listed = read_names(names) if isinstance(names, Declared) else names
    keys = {role: one.where.removeprefix(found.source).lstrip(":/\\ ") for role, one in arrays.items()}
    if set(SIX_KEYS) <= arrays.keys():
        if options.test_fraction is not None:
            raise UserError(f"{found.source} has a test split; leave --test-fraction out")
        read = {role: one() for role, one in reads.items()}
    else:
        read = _divided({role: one() for role, one in reads.items()}, keys, found, options)
        keys = {f"{role}_{split}": key for role, key in keys.items() for split in SPLIT_WORDS}
    unread = _unread(found)
    dataset = from_arrays(
        read,
        name=options.name or found.source,
        source=found.source,
        class_names=listed,
        keys=keys,
        views=found.views,
        options=options.given(),
    )
    return replace(dataset, unread=unread, remarks=_remarks(arrays))


def _remarks(arrays: Mapping[str, Declared]) -> tuple[str, ...]:
    """What is said of a split that is called after folds, and that 1 and 0 mark."""
    marks = arrays.get("split")
    if marks is None or not marks.key.lower().startswith("fold"):
        return ()
    if {str(one).strip() for one in marks.read().reshape(-1)} <= {"0", "1", "0.0", "1.0"}:
        return (f"{marks.key} is taken for the split: 1 a training clip, 0 a test clip; give folds another name",)
    return ()


def _unread(found: Found) -> tuple[str, ...]:
    """The arrays of the file that were not read, those of a validation split first."""
    used = {"class_names", "view_names"}
    for one in (*found.arrays.values(), *([found.names] if isinstance(found.names, Declared) else [])):
        said = one.where.removeprefix(found.source).lstrip(":/\\ ")
        file = Path(said.partition(": ")[0])
        used |= {said, file.name, file.stem, one.key, one.key.partition("{")[0]}
    keys = list(dict.fromkeys(key for key in found.keys if key not in used))
    outer = {name for key in (*found.keys, *used) if "/" in key for name in _groups_of(key)}
    return tuple(sorted((key for key in keys if key not in outer), key=lambda key: parted(key)[0] != "val"))


def _groups_of(key: str) -> list[str]:
    """The groups that an array is in: `a` and `a/b` of `a/b/c`."""
    parts = key.strip("/").split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _check_pool(found: Found, options: ReadOptions) -> None:
    """Raises:
    UserError: features are to be pooled over time, and none have a time axis.
    """
    shapes = {role: one.shape for role, one in found.arrays.items() if role.startswith(("audio", "visual"))}
    if options.pool and all(len(shape) <= 2 for shape in shapes.values()):
        said = ", ".join(f"{role} has shape {shape}" for role, shape in shapes.items())
        raise UserError(
            f"{found.source}: --pool {','.join(options.pool)} pools over time, and no features have a time axis "
            f"({said}); leave --pool out"
        )


def _fitting(role: str, declared: Declared, options: ReadOptions) -> Declared:
    """The array of a role, pooled where it has a time axis.

    Raises:
        UserError: its shape does not fit the role.
    """
    if role.startswith(("audio", "visual")):
        if len(declared.shape) > 2 and options.pool:
            declared = pooled(declared, options.pool)
        check_feature_shape(declared.shape, declared.dtype, declared.where)
    elif role.startswith("lab"):
        check_label_shape(declared.shape, declared.where)
    elif math.prod(declared.shape) != max(declared.shape, default=0):
        raise UserError(f"{declared.where} has shape {declared.shape}; one value a clip is expected")
    return declared


def _divided(
    read: Mapping[str, Array], keys: Mapping[str, str], found: Found, options: ReadOptions
) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of all clips, divided into splits."""
    count = label_rows(read["lab"].shape)
    for role in ("audio", "visual", *(one for one in ("split", "group") if one in read)):
        found_rows = len(read[role]) if role in WHOLE else read[role].size
        if found_rows != count:
            raise UserError(
                f"{found.source}: {keys[role]} has {plural(found_rows, 'row')} and {keys['lab']} has "
                f"{plural(count, 'label')}; row i of each must be the same clip"
            )
    if "split" in read:
        if options.test_fraction is not None:
            raise UserError(f"{found.source}: {keys['split']} says which clips are the test; leave --test-fraction out")
        marks = _marks(read["split"].reshape(-1), f"{found.source}: {keys['split']}")
    else:
        marks = _drawn(read, keys, found, options)
    labels = read["lab"] if 1 not in read["lab"].shape else read["lab"].reshape(-1)
    features = {role: to_features(read[role], f"{found.source}: {keys[role]}") for role in ("audio", "visual")}
    every = {**read, **features, "lab": labels} | ({"group": read["group"].reshape(-1)} if "group" in read else {})
    return {
        f"{role}_{split}": taken(array, rows)
        for split in SPLIT_WORDS
        if len(rows := np.flatnonzero(marks == split))
        for role, array in every.items()
        if role != "split"
    }


def _marks(given: Array, where: str) -> npt.NDArray[np.str_]:
    """`train`, `val` or `test` of each clip, from words, or from 1 for a training clip and 0 for a test clip.

    Raises:
        UserError: another mark, or no clip of one split.
    """
    if given.dtype.kind in "SUO":
        texts = [(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one)).lower() for one in given]
    else:
        texts = [str(int(one == 1)) if one in (0, 1) else str(one) for one in given]
    words = {word: split for split, every in SPLIT_WORDS.items() for word in every} | {
        "1": "train",
        "0": "test",
    }
    for row, text in enumerate(texts):
        if text.strip() not in words:
            raise UserError(
                f"{where} holds {text[:40]!r} in row {row}; allowed: train, val and test, or 1 for a training clip "
                "and 0 for a test clip\nwrite these, or give it another name where it is no split (such as the numbers "
                "of folds) and add --test-fraction 0.2"
            )
    marks = np.array([words[text.strip()] for text in texts])
    for split in ("train", "test"):
        if split not in marks:
            raise UserError(f"{where} marks no clip as {split}")
    return marks


def _drawn(
    read: Mapping[str, Array], keys: Mapping[str, str], found: Found, options: ReadOptions
) -> npt.NDArray[np.str_]:
    """Marks of a stratified test split, in which clips of one group, and equal clips, stay on one side."""
    if options.test_fraction is None:
        raise UserError(
            f"{found.source} has no test split; add --test-fraction 0.2 to set a fifth of its clips aside, the same "
            "ones every time"
        )
    labels = encode({"lab": read["lab"]}, {"lab": f"{found.source}: {keys['lab']}"}).labels["lab"]
    groups = read_whole(read["group"], f"{found.source}: {keys['group']}") if "group" in read else None
    kept = together((read["audio"], read["visual"]), groups)
    try:
        fold = validation_folds(labels, fraction=options.test_fraction, seed=_SPLIT_SEED, groups=kept)[0]
    except UserError as error:
        raise UserError(f"{found.source}, --test-fraction {options.test_fraction:g}: {error}") from error
    marks = np.full(len(labels), "train", dtype="<U5")
    marks[fold.validation] = "test"
    return marks


def held(where: str, array: Array) -> Declared:
    """An array in memory as a file would declare it."""
    return Declared(where, array.shape, array.dtype, lambda: array)


def transposed(declared: Declared) -> Declared:
    """The array with its two axes changed round."""

    def mapped() -> Array | None:
        found = declared.mapped()
        return None if found is None else found.T

    return replace(
        declared,
        shape=declared.shape[::-1],
        read=lambda: declared.read().T,
        rows=None,
        blocks=declared.columns,
        columns=declared.blocks if len(declared.shape) == 2 else None,
        mapped=mapped,
    )
