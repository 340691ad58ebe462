"""The public VEGAS and AVE feature files: `audio_train visual_train lab_train audio_test visual_test lab_test`, and
perhaps `class_names`, `audio_val visual_val lab_val`, `group_train group_val group_test` (or `groups_train` ...) and
`view_names`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from avtune.core.errors import UserError, did_you_mean
from avtune.data.arrays import Container, Declared
from avtune.data.build import Found, build
from avtune.data.dataset import GROUP_KEYS, SIX_KEYS, VALIDATION_KEYS, VIEWS, Dataset
from avtune.data.labels import label_rows
from avtune.data.layouts.kinds import turned_round
from avtune.data.opening import class_names_of, keys_of, open_arrays, read_names
from avtune.data.options import ReadOptions

TITLE = "six keys"
KEYS = SIX_KEYS
TAKES = frozenset({"views", "pool"})
VIEW_NAMES = "view_names"


def recognise(path: Path) -> bool:
    """Whether it is a file with all six keys."""
    return set(SIX_KEYS) <= keys_of(path)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of six keys."""
    with open_arrays(path, SIX_KEYS) as container:
        ends = [end for end in ("val", "valid", "validation") if f"audio_{end}" in container.keys] or ["val"]
        called = {key: key.replace("_val", f"_{ends[0]}") for key in (*VALIDATION_KEYS, *GROUP_KEYS)}
        for key in GROUP_KEYS:
            if called[key] not in container.keys:
                called[key] = called[key].replace("group", "groups", 1)
        optional = [key for key, name in called.items() if name in container.keys]
        missing = [key for key in VALIDATION_KEYS if key not in optional]
        if 0 < len(missing) < len(VALIDATION_KEYS):
            have = next(called[key] for key in VALIDATION_KEYS if key in optional)
            lacks = [called[key] for key in missing]
            hint = did_you_mean(lacks[0], [key for key in container.keys if key not in (*SIX_KEYS, have)])
            raise UserError(f"{path} has {have} and no {', '.join(lacks)}{hint}\na validation split needs all three")
        declared = {key: container.declare(called.get(key, key)) for key in (*SIX_KEYS, *optional)}
        if is_turned(declared):
            raise UserError(f"{path} {turned_round(path, SIX_KEYS, hdf5=container.is_hdf5)}")
        names = class_names_of(container) or container.listed()
        views = options.pair(_views(container) or VIEWS)
        return build(Found(str(path), declared, views, names, container.keys), options)


def _views(container: Container) -> tuple[str, str] | None:
    """The names of the views that avtune wrote beside the six keys."""
    if VIEW_NAMES not in container.keys:
        return None
    names = read_names(container.declare(VIEW_NAMES))
    if len(names) != 2 or names[0] == names[1] or not all(name.isprintable() and name for name in names):
        raise UserError(f"{container.source}: {VIEW_NAMES} must be two different names")
    return names[0], names[1]


def is_turned(declared: Mapping[str, Declared]) -> bool:
    """Whether all features are [dims, clips], going by the labels."""
    shapes = [
        (declared[f"{view}_{split}"].shape, label_rows(declared[f"lab_{split}"].shape))
        for view in ("audio", "visual")
        for split in ("train", "test")
    ]
    return all(len(shape) == 2 and shape[1] == labels != shape[0] for shape, labels in shapes)
