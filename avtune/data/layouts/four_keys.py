"""The newer public AVE file: `audio_feat visual_feat Label_ID Train_test`, where `"1"` marks a training clip and `"0"`
a test clip."""

from __future__ import annotations

from pathlib import Path

from avtune.data.build import Found, build
from avtune.data.dataset import VIEWS, Dataset
from avtune.data.opening import class_names_of, keys_of, open_arrays
from avtune.data.options import ReadOptions

FOUR_KEYS = ("audio_feat", "visual_feat", "Label_ID", "Train_test")
TITLE = "four keys"
KEYS = FOUR_KEYS
TAKES = frozenset({"views", "pool"})


def recognise(path: Path) -> bool:
    """Whether it is a file with all four keys."""
    return set(FOUR_KEYS) <= keys_of(path)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of four keys."""
    with open_arrays(path, FOUR_KEYS) as container:
        roles = dict(zip(("audio", "visual", "lab", "split"), FOUR_KEYS, strict=True))
        groups = next((key for key in ("group", "groups") if key in container.keys), None)
        roles |= {"group": groups} if groups else {}
        declared = {role: container.declare(key) for role, key in roles.items()}
        names = class_names_of(container) or container.listed()
        return build(Found(str(path), declared, options.pair(VIEWS), names, container.keys), options)
