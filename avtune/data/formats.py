"""From a path to a dataset: finds out what is there and reads it.

Layouts of named arrays, in HDF5 or .npz:
- six keys: `audio_train visual_train lab_train audio_test visual_test lab_test` (the public VEGAS and AVE files), and
  optionally `class_names`;
- four keys: `audio_feat visual_feat Label_ID Train_test`, where `"1"` marks a training clip and `"0"` a test clip (the
  newer public AVE file).
A folder of `.tfrecord` shards is read by `youtube8m.py`.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from avtune.core.errors import UserError, did_you_mean
from avtune.data.arrays import (
    Array,
    Container,
    Declared,
    check_feature_shape,
    check_label_shape,
    check_memory,
    to_features,
    to_labels,
    turned_hint,
)
from avtune.data.dataset import SIX_KEYS, Dataset, from_arrays
from avtune.data.layouts.hdf5 import open_hdf5, write_hdf5
from avtune.data.layouts.kinds import HEAD_BYTES, kind_of, turned_round
from avtune.data.layouts.npy import MAGIC, open_npy
from avtune.data.layouts.npz import open_npz
from avtune.data.layouts.youtube8m import read_youtube8m

__all__ = ["read", "read_youtube8m", "write_hdf5"]

FOUR_KEYS = ("audio_feat", "visual_feat", "Label_ID", "Train_test")


def read(path: str | Path, *, classes: str | Path | None = None, name: str | None = None) -> Dataset:
    """The dataset at `path`: an HDF5 or .npz file in either layout, or a folder of YouTube-8M shards.

    Args:
        classes: the class file of a folder of shards (see `read_youtube8m`).
        name: the dataset's name; the stem of the file when None.

    Raises:
        UserError: there is no such file, it cannot be read, or the dataset is unusable; names the file and the key.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        return read_youtube8m(path, classes, name=name)
    if classes is not None:
        raise UserError(f"{path} is no folder of .tfrecord shards; a class file goes with such a folder only")
    with open_arrays(path, SIX_KEYS) as container:
        return _read_container(container, name or path.stem)


@contextmanager
def open_arrays(path: Path, wanted: Sequence[str], *, single: bool = False) -> Iterator[Container]:
    """The named arrays of a file, whichever of our formats it has; they can be declared and read while it is open.

    Args:
        wanted: the keys that its reader needs, for messages.
        single: also an .npy file, whose one array is called `npy.ARRAY`.

    Raises:
        UserError: there is no such file, it is of another kind, or it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is no regular file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(_no_such_file(path)) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if head[:2] == b"PK":
        opened = open_npz(path, wanted)
    elif single and head.startswith(MAGIC):
        opened = open_npy(path)
    elif h5py.is_hdf5(path):
        opened = open_hdf5(path)
    else:
        kind = kind_of(path, head, wanted)
        known = "HDF5, .npz nor .npy" if single else "HDF5 nor .npz"
        raise UserError(f"{path} {kind or f'is neither {known}: it begins with {head[:8]!r}; it may be damaged'}")
    with opened as container:
        yield container


def _no_such_file(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f"{path}: there is no folder {path.parent}"
    try:
        names = os.listdir(path.parent)
    except OSError:
        names = []  # a folder that may be entered and not listed: no hint
    return f"{path}: no such file{did_you_mean(path.name, names)}"


def _read_container(container: Container, name: str) -> Dataset:
    wanted: tuple[str, ...] = SIX_KEYS
    if sum(key in container.keys for key in FOUR_KEYS) > sum(key in container.keys for key in SIX_KEYS):
        wanted = FOUR_KEYS
    missing = [key for key in wanted if key not in container.keys]
    if missing:
        raise UserError(_missing(container, missing, wanted))
    declared = {key: container.declare(key) for key in wanted}
    names = container.declare("class_names") if "class_names" in container.keys else None
    for key, array in declared.items():
        if key.startswith(("audio", "visual")):
            check_feature_shape(array.shape, array.dtype, array.where)
        else:
            check_label_shape(array.shape, array.where)
    if wanted is SIX_KEYS and _is_turned(declared):
        raise UserError(f"{container.source} {turned_round(Path(container.source), SIX_KEYS, hdf5=container.is_hdf5)}")
    check_memory([*declared.values(), *([names] if names else [])])
    class_names = read_names(names) if names else container.class_names
    if wanted is SIX_KEYS:
        arrays = {key: array.read() for key, array in declared.items()}
        return from_arrays(arrays, name=name, source=container.source, class_names=class_names)
    arrays, keys = _split_four(declared)
    return from_arrays(arrays, name=name, source=container.source, class_names=class_names, keys=keys)


def _is_turned(declared: dict[str, Declared]) -> bool:
    """Whether all features are [dims, clips], going by the labels."""
    shapes = [
        (declared[f"{view}_{split}"].shape, math.prod(declared[f"lab_{split}"].shape))
        for view in ("audio", "visual")
        for split in ("train", "test")
    ]
    return all(shape[1] == labels != shape[0] for shape, labels in shapes)


def _missing(container: Container, missing: list[str], wanted: tuple[str, ...]) -> str:
    present = sorted(key for key in container.keys if key not in wanted)
    if len(missing) == len(wanted):
        have = ", ".join(repr(key)[:40] for key in present[:8]) or "no array"
        return (
            f"{container.source} has {have}{' ...' if len(present) > 8 else ''}\n"
            f"a dataset needs the keys {' '.join(SIX_KEYS)}, or {' '.join(FOUR_KEYS)}"
        )
    hint = did_you_mean(missing[0], present)
    return f"{container.source} has no key {', '.join(repr(key) for key in missing)}{hint}"


def read_names(declared: Declared) -> list[str]:
    """Names of classes, one text each.

    Raises:
        UserError: it is something else.
    """
    array = declared.read()
    if array.ndim != 1 or array.dtype.kind not in "SUO":
        raise UserError(f"{declared.where} must be one text a class")
    try:
        return [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in array]
    except UnicodeDecodeError as error:
        raise UserError(f"{declared.where} is not UTF-8 text") from error


def _split_four(declared: dict[str, Declared]) -> tuple[dict[str, Array], dict[str, str]]:
    """The six arrays of a four-key file, and the key that each came from."""
    audio, visual, label, mark = (declared[key] for key in FOUR_KEYS)
    lengths = {key: declared[key].shape[0] for key in FOUR_KEYS[:2]}
    lengths |= {key: math.prod(declared[key].shape) for key in FOUR_KEYS[2:]}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{key} {length}" for key, length in lengths.items())
        hint = turned_hint(audio.shape, lengths["Label_ID"], "audio_feat")
        raise UserError(f"{audio.where}: the keys differ in length: {said}; row i of each must be the same clip{hint}")
    in_train = to_labels(mark.read(), mark.where)
    if not np.isin(in_train, (0, 1)).all():
        given = in_train[~np.isin(in_train, (0, 1))][0]
        raise UserError(f"{mark.where} holds {given}; allowed: 1 for a training clip, 0 for a test clip")
    for value, split in ((1, "training"), (0, "test")):
        if value not in in_train:
            raise UserError(f"{mark.where} marks no clip {value}, so the {split} split is empty")
    arrays: dict[str, Array] = {}
    keys: dict[str, str] = {}
    for part, array in (
        ("audio", to_features(audio.read(), audio.where)),
        ("visual", to_features(visual.read(), visual.where)),
        ("lab", to_labels(label.read(), label.where)),
    ):
        for split, rows in (("train", in_train == 1), ("test", in_train == 0)):
            arrays[f"{part}_{split}"] = array[rows]
            keys[f"{part}_{split}"] = {"audio": audio, "visual": visual, "lab": label}[part].where.split(": ")[-1]
    return arrays, keys
