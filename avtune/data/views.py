"""Features of one view or of both from any file of arrays, for a model that is used: without labels, without a training
split. Which arrays are the views is told by their names, or by the user."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.core.view_names import VIEWS
from avtune.data.arrays import Container, Declared, check_feature_shape, to_features
from avtune.data.class_names import names_of
from avtune.data.dataset import SIX_KEYS, Features, Labels
from avtune.data.formats import LAYOUTS
from avtune.data.labels import encode, held_by, is_several, numbered, to_hot
from avtune.data.layouts import all_clips
from avtune.data.layouts.four_keys import FOUR_KEYS
from avtune.data.layouts.npy import ARRAY
from avtune.data.opening import keys_of, open_arrays, read_names
from avtune.data.pooling import pooled
from avtune.data.reading import readers

SPLITS = ("test", "train")
_LABELS = ("labels", "Label_ID")


@dataclass(frozen=True, eq=False)
class Views:
    """What a file holds of some clips. Row i of all arrays is clip i.

    Attributes:
        audio, visual: the first and the second view, whatever their names: float32 [N, A] and [N, V], C-contiguous;
            None for a view that was not read.
        labels: int64 [N], as the file has them; bool [N, C], a column a class, where clips have several; None where it
            has none.
        names: of the labels, by their values; of columns, by their numbers.
        keys: the array that each of these was read from.
        unused: arrays of the file that were not read.
    """

    audio: Features | None
    visual: Features | None
    labels: Labels | None
    names: Mapping[int, str]
    keys: Mapping[str, str]
    unused: tuple[str, ...]


def is_dataset(path: Path) -> bool:
    """Whether a file has all arrays of a layout of datasets, so that it has splits and labels. Arrays of all clips are
    a dataset where one of them marks the splits.

    Raises:
        UserError: it cannot be read.
    """
    found = next((layout for layout in LAYOUTS[:-1] if layout.recognise(path)), None)
    if found is not None:
        return found.TITLE != all_clips.TITLE or "split" in keys_of(path)
    with open_arrays(path, VIEWS, single=True):  # says what is wrong with it
        return False


def has_views(path: Path, views: Sequence[str]) -> bool:
    """Whether a file holds views of these names, and labels, of clips without splits."""
    if not os.path.isfile(path):
        return False
    try:
        with open_arrays(path, tuple(views), single=True) as container:
            return {*views, "labels"} <= set(_found(container, views, None, None))
    except UserError:
        return False


def _is_dataset(container: Container) -> bool:
    return any(set(keys) <= set(container.keys) for keys in (SIX_KEYS, FOUR_KEYS))


def read_views(
    path: str | Path,
    dims: Mapping[str, int],
    *,
    view: str | None = None,
    split: str | None = None,
    chosen: Mapping[str, str] | None = None,
    pool: Sequence[str] = (),
) -> Views:
    """The views in an HDF5, .npz or .npy file.

    The array of a view is called as the view, e.g. `audio`, `audio_feat`, `audio_test` or `audio_train`, that of the
    labels `labels`, `Label_ID`, `lab_test` or `lab_train`.

    Args:
        dims: dimensions that each view must have, by the names of both views, the first one first.
        view: the only view to read; of an .npy file, which one it is. None: those that are there.
        split: of two arrays that differ in it, which one.
        chosen: the names of the views and `labels`, or some of them, to names of arrays, of HDF5 also in groups
            (`a/b`); in place of the names above.
        pool: how features [clips, time, ...] become [clips, dims], see `ReadOptions`.

    Raises:
        UserError: the file cannot be read, no view is found, or one is no such features: another dimension, values that
            are not finite, other numbers of rows; or none has a time axis to pool over.
    """
    path = Path(os.path.expanduser(path))
    views = tuple(dims)
    with open_arrays(path, views, single=True) as container:
        keys = _chosen(container, views, chosen, view) if chosen else _found(container, views, view, split)
        declared = _pooled({what: container.declare(key) for what, key in keys.items()}, views, pool)
        for what in (one for one in views if one in declared):
            _check(declared[what], what, dims)
        names = container.declare("class_names") if "labels" in keys and "class_names" in container.keys else None
        there = [what for what in views if what in declared]
        reads = readers(declared, there, [names] if names else [])
        read = {what: to_features(reads[what](), declared[what].where) for what in there}
        labels, words = _labels(declared["labels"], len(read[there[0]])) if "labels" in keys else (None, None)
        listed = words if words is not None else read_names(names) if names else container.listed()
        used = {*(key.strip("/").split("/")[0] for key in keys.values()), "class_names"}
        unused = tuple(key for key in container.keys if key not in used)
    rows = {what: len(one) for what, one in read.items()} | ({} if labels is None else {"labels": len(labels)})
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{keys[what]} has {count}" for what, count in rows.items())
        raise UserError(f"{path}: rows differ: {said}; row i of each must be the same clip, or read one with --view")
    values = held_by(labels) if labels is not None else np.empty(0, np.int64)
    named = dict(zip(values.tolist(), names_of(values, listed, str(path)), strict=True)) if len(values) else {}
    return Views(read.get(views[0]), read.get(views[1]), labels, named, keys, unused)


def _pooled(declared: Mapping[str, Declared], views: Sequence[str], pool: Sequence[str]) -> dict[str, Declared]:
    """What was declared, with the views that have a time axis pooled over it."""
    timed = [what for what in views if what in declared and len(declared[what].shape) > 2]
    if pool and not timed:
        said = ", ".join(f"{one.where} is {one.shape}" for what, one in declared.items() if what in views)
        raise UserError(
            f"--pool {','.join(pool)} pools over time, and no features have a time axis ({said}); leave it out"
        )
    return {what: pooled(one, pool) if pool and what in timed else one for what, one in declared.items()}


def _labels(declared: Declared, rows: int) -> tuple[Labels, list[str] | None]:
    """Labels of so many clips in any form, and their names where they are words."""
    array = declared.read()
    if rows == 1 and array.ndim == 2 and array.shape[1] > 1:  # columns of one clip, and not a row of labels
        hot = to_hot(array, declared.where)
        return hot if is_several(hot) else numbered({"": hot})[""], None
    encoded = encode({"": array}, {"": declared.where})
    return encoded.labels[""], encoded.words


def _chosen(container: Container, views: Sequence[str], chosen: Mapping[str, str], view: str | None) -> dict[str, str]:
    """The arrays that the user names."""
    if container.keys == (ARRAY,):
        raise UserError(f"{container.source} is one array without a name; say what it is with --view, without --map")
    if _is_dataset(container):  # its test rows are counted as looked at, which names chosen by hand would get round
        raise UserError(f"{container.source} has the layout of a dataset; leave --map out, --split chooses the rows")
    for what in chosen:
        if what not in (*views, "labels"):
            raise UserError(f"--map names {what!r}{did_you_mean(what, views)}; allowed: {choices([*views, 'labels'])}")
    for key in chosen.values():
        if key not in container.keys and ("/" not in key.strip("/") or not container.is_hdf5):
            raise UserError(f"{container.source} has no {key!r}{did_you_mean(key, container.keys)}; {_held(container)}")
    if view is not None and view not in chosen:
        raise UserError(f"--map names no {view}, which --view {view} asks for; add {view}=KEY")
    if not any(one in chosen for one in views):
        raise UserError(f"--map names no view; give {views[0]}=KEY, {views[1]}=KEY or both")
    return {what: key for what, key in chosen.items() if what in (view, "labels") or view is None}


def _found(container: Container, views: Sequence[str], view: str | None, split: str | None) -> dict[str, str]:
    """The arrays that have a name of ours."""
    if container.keys == (ARRAY,):
        if view is None:
            raise UserError(
                f"{container.source} is one array without a name; say what it is: --view {' or '.join(views)}"
            )
        _no_split(container, split)
        return {view: ARRAY}
    wanted = tuple(views) if view is None else (view,)
    found = {one: key for one in wanted if (key := _key(container, (one, f"{one}_feat"), one, split))}
    if not found:
        asked = " or ".join(wanted)
        raise UserError(
            f"{container.source} has no array called {asked}; {_held(container)}\nname it: --map {wanted[0]}=KEY"
        )
    labels = _key(container, _LABELS, "lab", split)
    return found | ({"labels": labels} if labels else {})


def _key(container: Container, plain: Sequence[str], stem: str, split: str | None) -> str | None:
    """The one array of some names, or of the names with a split."""
    there = [key for key in plain if key in container.keys]
    if there and split is not None:
        _no_split(container, split)
    if not there:
        there = [key for one in ([split] if split else SPLITS) if (key := f"{stem}_{one}") in container.keys]
    if len(there) > 1:
        way = f"--split {' or '.join(SPLITS)}" if not set(there) <= set(plain) else f"--map {stem}=KEY"
        raise UserError(f"{container.source} has {' and '.join(there)}; choose with {way}")
    return there[0] if there else None


def _no_split(container: Container, split: str | None) -> None:
    if split is not None:
        raise UserError(f"{container.source} has no splits; leave --split {split} out")


def _check(declared: Declared, view: str, dims: Mapping[str, int]) -> None:
    """Raises:
    UserError: an array of that shape is not the features that the model takes.
    """
    check_feature_shape(declared.shape, declared.dtype, declared.where)
    rows, width = declared.shape
    if width == dims[view]:
        return
    other = next(one for one in dims if one != view)
    hint = f"; {width} are those of its {other} view: are the views swapped?" if width == dims[other] else ""
    if rows == dims[view]:
        hint = "; its rows are so many: if its columns are the clips, write it transposed"
    raise UserError(f"{declared.where} has {width} dimensions; the model takes {dims[view]} of {view}{hint}")


def _held(container: Container) -> str:
    names = ", ".join(container.keys[:8]) or "nothing"
    return f"it holds {names}{' ...' if len(container.keys) > 8 else ''}"
