"""Arrays whose columns are the clips, and the `--map` that reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from avtune.core.errors import UserError
from avtune.data.arrays import Declared
from avtune.data.labels import label_rows
from avtune.data.options import ReadOptions

_FILES = (".npy", ".mat", ".h5", ".hdf5")


def check_upright(
    source: str, arrays: Mapping[str, Declared], views: tuple[str, str], keys: Sequence[str], options: ReadOptions
) -> None:
    """Checks that the rows of features are the clips, going by the labels.

    Args:
        source: file or folder.
        arrays: by role, see `build.Found`.
        views: their names.
        keys: what `--map` can name.

    Raises:
        UserError: the columns of some are; gives the whole `--map` that turns these, or what else does.
    """
    turned = {
        role: one for role, one in arrays.items() if role.startswith(("audio", "visual")) and _is_turned(role, arrays)
    }
    if not turned:
        return
    said = ", ".join(f"{_short(one, source)} has shape {one.shape}" for one in turned.values())
    role, first = next(iter(turned.items()))
    labels = arrays[_labels_of(role)]
    clips = label_rows(labels.shape)
    start = (
        f"{source}: {said}, and {_short(labels, source)} has {clips} labels: the columns seem to be the clips (MATLAB "
        "turns arrays round in HDF5)"
    )
    names = {role: _key(one, source) for role, one in arrays.items()}
    if options.map:
        given = {what: _turn(key) if _role(what, views) in turned else key for what, key in options.map.items()}
    elif all(name in keys for name in names.values()):
        given = {_what(role, views): f"{name}.T" if role in turned else name for role, name in names.items()}
    else:
        name = Path(first.where).name
        raise UserError(f"{start}\nwrite it transposed, in Python: numpy.save({name!r}, numpy.load({name!r}).T)")
    fraction = "" if options.test_fraction is None else f" --test-fraction {options.test_fraction:g}"
    pool = f" --pool {','.join(options.pool)}" if options.pool else ""
    raise UserError(
        f"{start}\nturn them: --map {','.join(f'{what}={key}' for what, key in given.items())}{fraction}{pool}"
    )


def _labels_of(role: str) -> str:
    return f"lab_{role.partition('_')[2]}" if "_" in role else "lab"


def _is_turned(role: str, arrays: Mapping[str, Declared]) -> bool:
    shape, labels = arrays[role].shape, arrays.get(_labels_of(role))
    if labels is None or len(shape) != 2 or len(labels.shape) not in (1, 2):
        return False
    return shape[1] == label_rows(labels.shape) != shape[0]


def _key(declared: Declared, source: str) -> str:
    """What `--map` calls an array."""
    said = declared.where.removeprefix(source).lstrip(":/\\ ")
    if not os.path.isdir(source):
        return said
    file = Path(said.partition(": ")[0])
    return file.stem if file.suffix in _FILES else said


def _short(declared: Declared, source: str) -> str:
    return declared.where.removeprefix(source).lstrip(":/\\ ")


def _turn(key: str) -> str:
    return key.removesuffix(".T") if key.endswith(".T") else f"{key}.T"


def _what(role: str, views: tuple[str, str]) -> str:
    """What `--map` calls a role."""
    base, _, split = role.partition("_")
    name = {"audio": views[0], "visual": views[1]}.get(base, base)
    name = "labels" if name == "lab" and not split else name
    return f"{name}_{split}" if split else name


def _role(what: str, views: tuple[str, str]) -> str | None:
    """The role of a view in `--map`; None for what is no view."""
    for base, view in zip(("audio", "visual"), views, strict=True):
        if what == view or what in (f"{view}_train", f"{view}_val", f"{view}_test"):
            return f"{base}{what.removeprefix(view)}"
    return None
