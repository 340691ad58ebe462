"""AVE's own folder: `audio_feature.h5` [N, 10, 128], `visual_feature.h5` [N, 10, 7, 7, 512] (or `visual_feature_vec.h5`
[N, 10, 512]), `labels.h5` [N, 10, 29], and the rows of the splits in `train_order.h5`, `val_order.h5`, `test_order.h5`;
each file holds one array. Source: the code of Tian et al., "Audio-Visual Event Localization in Unconstrained Videos"
(ECCV 2018).

A clip's class is that of its event: the column, but for the last one (background), with most of its segments.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from avtune.core.errors import UserError, did_you_mean
from avtune.core.words import plural
from avtune.data.arrays import Array, Container, Declared, check_memory, to_labels
from avtune.data.build import Found, build, held
from avtune.data.dataset import VIEWS, Dataset
from avtune.data.layouts.youtube8m import read_class_file
from avtune.data.opening import files_of, open_arrays
from avtune.data.options import ReadOptions
from avtune.data.pooling import pooled

TITLE = "AVE's own folder"
KEYS = ("audio_feature", "visual_feature", "labels", "train_order", "test_order")
TAKES = frozenset({"views", "pool", "classes", "map"})
CLASSES = (
    "Church bell", "Male speech", "Bark", "Fixed-wing aircraft", "Race car", "Female speech", "Helicopter", "Violin",
    "Flute", "Ukulele", "Frying (food)", "Truck", "Shofar", "Motorcycle", "Acoustic guitar", "Train horn", "Clock",
    "Banjo", "Goat", "Baby cry", "Bus", "Chainsaw", "Cat", "Horse", "Toilet flush", "Rodents", "Accordion", "Mandolin",
)  # fmt: skip
"""Of the first 28 columns of `labels.h5`; the 29th is the background."""
_SPLITS = {"train": "train_order", "val": "val_order", "test": "test_order"}


def recognise(path: Path) -> bool:
    """Whether it is a folder with AVE's files."""
    if not path.is_dir():
        return False
    names = {file.stem for file in files_of(path) if file.suffix == ".h5"}
    return {"audio_feature", "labels", "train_order", "test_order"} <= names and bool(_visual(names))


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset, pooled over time: by the mean, where `--pool` does not say otherwise."""
    options = options if options.pool else replace(options, pool=("mean",))
    with ExitStack() as opened:
        container = opened.enter_context(open_arrays(path, ()))
        visual = _chosen(path, container, options)
        rows = {split: _order(container, name) for split, name in _SPLITS.items() if name in container.keys}
        declared = {
            "audio": _over_time(container, "audio_feature", options),
            "visual": _over_time(container, visual, options),
        }
        labels = container.declare("labels")
        check_memory([*declared.values(), labels])
        of_clips = _classes(labels)
        views = {name: one.read() for name, one in declared.items()}
    _check_rows(path, rows, {**{n: len(v) for n, v in views.items()}, "labels": len(of_clips)})
    names = dict(enumerate(CLASSES)) if labels.shape[-1] == len(CLASSES) + 1 else {}
    wanted = read_class_file(Path(os.path.expanduser(options.classes))) if options.classes else names
    arrays: dict[str, Declared] = {}
    for split, chosen in rows.items():
        kept = chosen[np.isin(of_clips[chosen], list(wanted))] if options.classes else chosen
        for name, features in views.items():
            arrays[f"{name}_{split}"] = held(declared[name].where, features[kept])
        arrays[f"lab_{split}"] = held(labels.where, of_clips[kept])
    present = np.unique(np.concatenate([arrays[f"lab_{split}"].read() for split in rows if split != "test"]))
    listed = [wanted.get(int(one), str(one)) for one in present]
    dataset = build(Found(str(path), arrays, options.pair(VIEWS), listed), replace(options, pool=()))
    return replace(dataset, options=options.given())


def _visual(names: Any) -> list[str]:
    return sorted(name for name in names if name.startswith("visual_feature"))


def _chosen(path: Path, container: Container, options: ReadOptions) -> str:
    """The file of the visual features.

    Raises:
        UserError: there are several and none is chosen, or what is chosen is not there.
    """
    there = _visual(container.keys)
    if set(options.map) - {"visual"}:
        raise UserError(
            f"{path} is AVE's own folder, of which --map chooses the visual features only: --map visual={there[0]}"
        )
    if options.map:
        given = options.map["visual"].removesuffix(".h5")
        if given not in container.keys:
            raise UserError(f"{path} has no {given}.h5{did_you_mean(given, there)}")
        return given
    if len(there) > 1:
        raise UserError(
            f"{path} has {' and '.join(f'{name}.h5' for name in there)}; choose with --map visual={there[-1]}"
        )
    return there[0]


def _over_time(container: Container, name: str, options: ReadOptions) -> Declared:
    declared = container.declare(name)
    if len(declared.shape) < 3:
        raise UserError(f"{declared.where} has shape {declared.shape}; AVE's features are [clips, segments, dims]")
    return pooled(declared, options.pool)


def _order(container: Container, name: str) -> Array:
    """The rows of a split."""
    declared = container.declare(name)
    return to_labels(declared.read(), declared.where)


def _classes(declared: Declared) -> Array:
    """The class of each clip, int64 [N].

    Raises:
        UserError: the labels have another shape, or a clip has no event.
    """
    if len(declared.shape) != 3 or declared.shape[-1] < 3 or declared.dtype.kind not in "biuf":
        raise UserError(f"{declared.where} has shape {declared.shape}; AVE's labels are [clips, segments, classes + 1]")
    counts = (declared.read()[:, :, :-1] > 0).sum(axis=1)
    empty = np.flatnonzero(counts.sum(axis=1) == 0)
    if len(empty):
        raise UserError(f"{declared.where}: {plural(len(empty), 'clip')} without an event, the first in row {empty[0]}")
    return np.asarray(counts.argmax(axis=1), np.int64)


def _check_rows(path: Path, rows: dict[str, Array], lengths: dict[str, int]) -> None:
    """Raises:
    UserError: the arrays differ in length, or the splits name a row that is not there, or one twice.
    """
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise UserError(f"{path}: clips differ in number: {said}; row i of each must be the same clip")
    count = lengths["labels"]
    for split, chosen in rows.items():
        if chosen.min() < 0 or chosen.max() >= count:
            raise UserError(f"{path / _SPLITS[split]}.h5 names the row {chosen.max()}; there are {count} clips, from 0")
    every = np.concatenate(list(rows.values()))
    if len(np.unique(every)) < len(every):
        raise UserError(f"{path}: a clip is in two of the splits, or twice in one, by the files *_order.h5")
