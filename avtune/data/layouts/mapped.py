"""Any HDF5, .npz or .mat file, or folder of arrays, whose arrays the user names: `--map audio_train=KEY,...`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from avtune.core.errors import UserError, did_you_mean
from avtune.data.arrays import Container, Declared
from avtune.data.build import Found, build, transposed
from avtune.data.dataset import Dataset
from avtune.data.opening import class_names_of, keys_of, open_arrays
from avtune.data.options import ReadOptions

TITLE = "arrays named by --map"
KEYS: tuple[str, ...] = ()
TAKES = frozenset({"views", "pool", "map", "test_fraction"})
_LABELS = ("lab", "label", "labels")
_OTHERS = {"group": "group", "groups": "group", "split": "split"}
USE = "audio_train=KEY,visual_train=KEY,lab_train=KEY,audio_test=KEY,visual_test=KEY,lab_test=KEY"


def recognise(path: Path) -> bool:
    """Whether it holds named arrays."""
    return bool(keys_of(path))


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of the arrays that are named."""
    roles, views = roles_of(options.map, options.views)
    with open_arrays(path, ()) as container:
        declared = {role: named(container, key) for role, key in roles.items()}
        names = class_names_of(container, list(roles.values())) or container.listed()
        return build(Found(str(path), declared, views, names, [*container.keys, *container.inner()]), options)


def roles_of(given: Mapping[str, str], wanted: tuple[str, ...] = ()) -> tuple[dict[str, str], tuple[str, str]]:
    """The arrays by role, see `build.Found`, and the names of the views: those that `--map` uses.

    Raises:
        UserError: they make no dataset; says what is missing.
    """
    parts = {what: _parted(what) for what in given}
    views = list(dict.fromkeys(what for what, _ in parts.values() if what not in ("lab", *_OTHERS.values())))
    if len(views) != 2:
        said = f"names the view{'s' * (len(views) != 1)} {', '.join(views)}" if views else "names no view"
        raise UserError(f"--map {said}; two are needed, and labels: --map {USE}")
    if wanted and set(wanted) != set(views):
        raise UserError(
            f"--map names the views {' and '.join(views)}, and --views {','.join(wanted)}; leave --views out"
        )
    views = list(wanted or views)
    slots = {views[0]: "audio", views[1]: "visual"}
    roles = {f"{slots.get(what, what)}{'_' * bool(split)}{split}": given[said] for said, (what, split) in parts.items()}
    whole = not any(split for _, split in parts.values())
    needed = (
        ["audio", "visual", "lab"]
        if whole
        else [f"{one}_{split}" for split in ("train", "test") for one in slots.values()]
    )
    needed += [] if whole else ["lab_train", "lab_test"]
    if any(role.endswith("_val") for role in roles):
        needed += ["audio_val", "visual_val", "lab_val"]
    named_as = {slot: view for view, slot in slots.items()}
    missing = [
        role.replace(role.split("_")[0], named_as.get(role.split("_")[0], role.split("_")[0]), 1)
        for role in needed
        if role not in roles
    ]
    if missing:
        raise UserError(f"--map names no {', '.join(missing)}; add {','.join(f'{one}=KEY' for one in missing)}")
    odd = [what for what, (_, split) in parts.items() if not whole and not split]
    if odd:
        raise UserError(
            f"--map names {odd[0]} without a split beside others with one; write {odd[0]}_train and {odd[0]}_test"
        )
    return roles, (views[0], views[1])


def _parted(what: str) -> tuple[str, str]:
    """What a word of `--map` stands for, and of which split."""
    found = re.fullmatch(r"(.+?)(?:_(train|val|test))?", what)
    assert found is not None
    base, split = found[1], found[2] or ""
    base = "lab" if base in _LABELS else _OTHERS.get(base, base)
    if base == "split" and split:
        raise UserError(f"--map names {what}; split is one array, which marks the clips of each split")
    if not all(letter.isalnum() or letter in "_-" for letter in base):
        raise UserError(f"--map names {what!r}; the name of a view is letters, digits, _ and -")
    return base, split


def named(container: Container, key: str) -> Declared:
    """An array by its name; `NAME.T` is the array transposed, `NAME{2}` the second of a MATLAB cell array."""
    if key not in container.keys:
        if key.endswith(".T"):
            return transposed(named(container, key.removesuffix(".T")))
        cell = re.fullmatch(r"(.+)\{([1-9][0-9]{0,5})\}", key)
        if cell and container.cells is not None and cell[1] in container.keys:
            inner = container.cells(cell[1])
            if int(cell[2]) > len(inner):
                raise UserError(f"{container.source}: {cell[1]} has {len(inner)} cells, and --map names {key}")
            return inner[int(cell[2]) - 1]
        in_groups = container.inner() if "/" in key.strip("/") else ()
        if not in_groups or not (container.is_hdf5 or key in in_groups):
            keys = [*container.keys, *in_groups]
            raise UserError(
                f"{container.source} has no {key!r}{did_you_mean(key, keys)}; it holds "
                f"{', '.join(keys[:8])}{' ...' if len(keys) > 8 else ''}"
            )
    return container.declare(key)
