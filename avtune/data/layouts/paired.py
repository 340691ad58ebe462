"""What layouts share whose arrays are called by split and view, e.g. `train_img`: no layout by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.core.words import plural
from avtune.data.arrays import Declared, check_memory
from avtune.data.build import Found, build
from avtune.data.dataset import Dataset
from avtune.data.opening import class_names_of, keys_of, open_arrays
from avtune.data.options import ReadOptions

Names = Mapping[str, tuple[str, ...]]
"""By role (`audio` for the first view, `visual`, `lab`; `same`: labels that repeat these; `group`, `names`): what its
array may be called, `{}` for the split."""
SPLITS = {"train": ("train", "tr"), "val": ("val", "valid", "validation"), "test": ("test", "te")}
_NEEDED = ("audio", "visual", "lab")


def recognised(path: Path, names: Names) -> bool:
    """Whether a file or folder has views and labels of both splits."""
    keys = keys_of(path)
    return bool(keys) and all(_key(names, role, split, keys) for role in _NEEDED for split in ("train", "test"))


def read_paired(path: Path, options: ReadOptions, names: Names, views: tuple[str, str]) -> Dataset:
    """The dataset of such arrays.

    Raises:
        UserError: it is damaged or unusable, a validation split is not whole, or the views have labels that differ, so
            that their rows are no pairs.
    """
    with open_arrays(path, ()) as container:
        keys = container.keys
        roles = {
            f"{role}_{split}": _key(names, role, split, keys) for role in names if role != "names" for split in SPLITS
        }
        _check_validation(path, roles)
        declared = {role: container.declare(key) for role, key in roles.items() if key and not role.startswith("same")}
        for split in SPLITS:
            if (key := roles.get(f"same_{split}")) and f"lab_{split}" in declared:
                check_same(declared[f"lab_{split}"], container.declare(key))
        others = [key for key in keys if key not in {roles.get(f"same_{split}") for split in SPLITS}]
        listed = _key(names, "names", "", keys)
        given = container.declare(listed) if listed else class_names_of(container) or container.listed()
        return build(Found(str(path), declared, options.pair(views), given, others), options)


def _key(names: Names, role: str, split: str, keys: Collection[str]) -> str | None:
    """The array of a role and split, the first name that is there."""
    words = SPLITS.get(split, ("",))
    return next((key for name in names.get(role, ()) for word in words if (key := name.format(word)) in keys), None)


def _check_validation(path: Path, roles: Mapping[str, str | None]) -> None:
    there = [key for role in _NEEDED if (key := roles[f"{role}_val"])]
    if 0 < len(there) < len(_NEEDED):
        lacking = next(role for role in _NEEDED if not roles[f"{role}_val"])
        like = roles[f"{lacking}_train"]
        raise UserError(
            f"{path} has {', '.join(there)} and no array for validation like {like}; a validation split needs both "
            "views and labels"
        )


def check_same(first: Declared, second: Declared) -> None:
    """Checks that labels which are there once for each view are the same, from any start.

    Raises:
        UserError: they differ.
    """
    check_memory([first, second])
    one, other = np.squeeze(first.read()), np.squeeze(second.read())
    if one.shape != other.shape:
        raise UserError(
            f"{first.where} has shape {first.shape} and {second.where} has {second.shape}; they must be equal"
        )
    if one.dtype.kind in "iuf" and other.dtype.kind in "iuf" and one.ndim == 1 and len(one):
        one, other = one - one.min(), other - other.min()
    if not np.array_equal(one, other):
        many = int((one != other).reshape(len(one), -1).any(axis=1).sum())
        raise UserError(
            f"{first.where} and {second.where} differ in {plural(many, 'row')}: the views of these rows are of "
            "different classes, so that they are no pairs"
        )
