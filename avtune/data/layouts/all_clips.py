"""A file of all clips: `audio visual labels`, and perhaps `split` (train, val, test; or 1 and 0), `groups` and
`class_names`, as the folder of .npy arrays has them."""

from __future__ import annotations

from pathlib import Path

from avtune.data.build import Found, build
from avtune.data.dataset import VIEWS, Dataset
from avtune.data.layouts.npy_folder import LABELS, roles_beside
from avtune.data.opening import class_names_of, keys_of, open_arrays
from avtune.data.options import ReadOptions

TITLE = "arrays of all clips"
KEYS = (*VIEWS, "labels")
TAKES = frozenset({"views", "pool", "test_fraction"})


def recognise(path: Path) -> bool:
    """Whether it is a file with both views and labels."""
    if path.is_dir():
        return False
    keys = keys_of(path)
    return set(VIEWS) <= keys and any(name in keys for name in LABELS)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of these arrays."""
    with open_arrays(path, KEYS) as container:
        roles = {"audio": VIEWS[0], "visual": VIEWS[1], **roles_beside(container)}
        declared = {role: container.declare(key) for role, key in roles.items()}
        names = class_names_of(container) or container.listed()
        return build(Found(str(path), declared, options.pair(VIEWS), names, container.keys), options)
