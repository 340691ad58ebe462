"""The Wikipedia image-text set of SVCL: `raw_features.mat` (`I_tr T_tr I_te T_te`) with `trainset_txt_img_cat.list` and
`testset_txt_img_cat.list` beside it, whose lines end with the class, and perhaps `categories.list` with their names."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array
from avtune.data.build import Found, build, held
from avtune.data.dataset import Dataset
from avtune.data.opening import is_arrays, keys_of, open_arrays
from avtune.data.options import ReadOptions

TITLE = "Wikipedia"
KEYS = ("I_tr", "T_tr", "I_te", "T_te")
TAKES = frozenset({"views", "pool"})
FILE, NAMES = "raw_features.mat", "categories.list"
LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
_MOST_BYTES = 1 << 24


def recognise(path: Path) -> bool:
    """Whether it is `raw_features.mat`, or a folder that holds it."""
    file = path / FILE if path.is_dir() else path
    return is_arrays(file) and set(KEYS) <= keys_of(file)


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of images and texts."""
    file = path / FILE if path.is_dir() else path
    roles = dict(zip(("audio_train", "visual_train", "audio_test", "visual_test"), KEYS, strict=True))
    with open_arrays(file, KEYS) as container:
        declared = {role: container.declare(key) for role, key in roles.items()}
        for split, name in LISTS.items():
            declared[f"lab_{split}"] = held(str(file.parent / name), _labels(file.parent / name))
        names = file.parent / NAMES
        listed = [line.strip() for line in _lines(names)] if names.is_file() else None
        given = {v: listed[v - 1] for v in range(1, len(listed) + 1)} if listed else {}
        every = [given.get(int(v), str(v)) for v in np.unique(declared["lab_train"].read())] if given else None
        return build(Found(str(file), declared, options.pair(("image", "text")), every), options)


def _labels(path: Path) -> Array:
    """The last number of each line, from 1.

    Raises:
        UserError: the file is missing, or a line is another one.
    """
    labels = []
    for number, line in enumerate(_lines(path), 1):
        words = line.split()
        if len(words) < 2 or not (words[-1].isascii() and words[-1].isdigit() and len(words[-1]) < 10):
            raise UserError(f"{path}, line {number}: {line[:60]!r} does not end with the number of a class")
        labels.append(int(words[-1]))
    if not labels:
        raise UserError(f"{path} is empty")
    return np.array(labels, np.int64)


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size} bytes; it is no list of clips")
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; it has the class of each clip and comes with {FILE}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text; download it again") from error
    return [line for line in text.splitlines() if line.strip()]
