"""YouTube-8M video-level shards: a folder of `.tfrecord` files and a class file become a dataset.

Records are tf.train.Example with `id`, `labels`, `mean_rgb` (1024) and `mean_audio` (128); source:
research.google.com/youtube8m/download.html. The released parts suit no retrieval among a few classes, so the clips
are split into train and test here.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError, did_you_mean
from avtune.core.words import plural
from avtune.data.arrays import Array
from avtune.data.dataset import Dataset, from_arrays
from avtune.data.layouts.tfrecord import parse_example, read_records
from avtune.data.on_disk import Rows, taken
from avtune.data.opening import files_of
from avtune.data.options import ReadOptions
from avtune.data.split import validation_folds

TITLE = "YouTube-8M shards"
KEYS = ("*.tfrecord", "classes.csv")
TAKES = frozenset({"classes", "several_labels"})
Clip = tuple[bytes, tuple[int, ...]]
"""The id and the labels of a clip."""
CLASS_FILE = "classes.csv"
_CALLED = {"audio": "mean_audio", "visual": "mean_rgb"}
FEATURES = {"id": bytes, "labels": np.int64, "mean_rgb": np.float32, "mean_audio": np.float32}


def recognise(path: Path) -> bool:
    """Whether it is a folder with a `.tfrecord` file."""
    return path.is_dir() and any(file.suffix == ".tfrecord" for file in files_of(path))


def read(path: Path, options: ReadOptions) -> Dataset:
    """The dataset of a folder of shards."""
    return read_youtube8m(
        path, options.classes, name=options.name, options=options.given(), several=options.several_labels
    )


def read_youtube8m(
    folder: str | Path,
    classes: str | Path | None = None,
    *,
    fraction: float = 0.2,
    seed: int = 0,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    several: bool = False,
) -> Dataset:
    """The clips that carry exactly one of the classes, or with `several` at least one, split by class into train and
    test.

    Clips are ordered by id, and one of each id is kept, so that neither the order nor the names of the shards matter.

    Args:
        folder: of the shards.
        classes: CSV of `name,label_id`, a header is optional; `classes.csv` in the folder when None.
        fraction: share of the test split, between 0 and 1.
        seed: of the split.
        name: the dataset's name; that of the folder when None.
        options: how it was asked for, to be recorded.
        several: clips may have several of the classes as their labels.

    Raises:
        UserError: no shard, no or a wrong class file, a damaged shard (file and record are named), a clip without a
            feature, or too few clips of a class.
    """
    folder = Path(os.path.expanduser(folder))
    shards = _shards_of(folder)
    class_file = _class_file(folder, classes)
    names = read_class_file(class_file)
    most = len(names) if several else 1
    views = {"audio": Rows(), "visual": Rows()}
    clips = [clip for shard in shards for clip in _clips_of(shard, set(names), views, most)]
    _check_classes(clips, names, folder, class_file, "" if several else " alone")
    features = {view: rows.array() for view, rows in views.items()}
    chosen = _in_order(clips, features["audio"], features["visual"])
    labels = _labels([clips[row] for row in chosen], sorted(names))
    fold = validation_folds(labels, fraction=fraction, seed=seed)[0]
    rows = {"train": fold.fit, "test": fold.validation}
    arrays = {
        f"{view}_{split}": taken(array, chosen[part])
        for view, array in features.items()
        for split, part in rows.items()
    }
    return from_arrays(
        arrays | {f"lab_{split}": labels[part] for split, part in rows.items()},
        name=name or folder.resolve().name,
        source=str(folder),
        class_names=[names[label] for label in sorted(names)],
        options=options,
    )


def _in_order(clips: Sequence[Clip], audio: Array, visual: Array) -> npt.NDArray[np.int64]:
    """The places of the clips by id, one of each: of several, the one whose labels and features sort first."""
    by_id: dict[bytes, list[int]] = {}
    for place, (clip_id, _) in enumerate(clips):
        by_id.setdefault(clip_id, []).append(place)

    def contents(place: int) -> tuple[tuple[int, ...], bytes, bytes]:
        return clips[place][1], audio[place].tobytes(), visual[place].tobytes()

    same = (by_id[clip_id] for clip_id in sorted(by_id))
    return np.array([one[0] if len(one) == 1 else min(one, key=contents) for one in same], np.int64)


def _shards_of(folder: Path) -> list[Path]:
    files = files_of(folder)
    shards = [file for file in files if file.suffix == ".tfrecord" and file.is_file()]
    if not shards:
        others = [file for file in files if file.suffix in (".h5", ".hdf5", ".npz")]
        hint = f"; did you mean '{others[0]}'?" if others else ""
        raise UserError(f"{folder} is a folder without .tfrecord shards{hint}")
    return shards


def _class_file(folder: Path, given: str | Path | None) -> Path:
    if given is not None:
        return Path(os.path.expanduser(given))
    if not (folder / CLASS_FILE).is_file():
        raise UserError(
            f"{folder} holds shards and no {CLASS_FILE}; a class file has a line `name,label_id` for each class\n"
            f"put one there, or give it with --classes"
        )
    return folder / CLASS_FILE


def _labels(clips: Sequence[Clip], known: Sequence[int]) -> Array:
    """The label of each clip, int64 [N]; where clips have several, a column of `known` for each, bool [N, C]."""
    if all(len(clip[1]) == 1 for clip in clips):
        return np.array([clip[1][0] for clip in clips], np.int64)
    return np.array([[label in clip[1] for label in known] for clip in clips], bool)


def _check_classes(clips: Sequence[Clip], names: dict[int, str], folder: Path, class_file: Path, alone: str) -> None:
    counts = Counter(label for clip in clips for label in clip[1])
    for label, class_name in names.items():
        if counts[label] < 3:
            raise UserError(
                f"{folder} has {plural(counts[label], 'clip')} of class '{class_name}' (label {label}){alone}; at "
                f"least 3 are needed\nadd shards, or take the class out of {class_file}"
            )


def read_class_file(path: Path) -> dict[int, str]:
    """Label id -> class name, from a CSV of `name,label_id` whose header is optional.

    Raises:
        UserError: the file is missing, or a line of it is wrong; names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file), 1) if line]
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no CSV text ({error}); it has a line `name,label_id` for each class") from error
    names: dict[int, str] = {}
    known: set[str] = set()
    for number, line in lines:
        label = line[1].strip() if len(line) == 2 else ""
        if not (label.isascii() and label.isdigit() and len(label) < 16):
            if number == lines[0][0] and len(line) == 2 and not any(c.isdigit() for c in label):
                continue  # the header
            raise UserError(f"{path}, line {number}: {','.join(line)[:60]!r} is not `name,label_id`")
        class_name = line[0].strip()
        if int(label) in names or class_name in known:
            raise UserError(f"{path}, line {number}: {class_name!r} or label {label} is there already")
        names[int(label)] = class_name
        known.add(class_name)
    if len(names) < 2:
        raise UserError(f"{path} lists {plural(len(names), 'class', 'classes')}; at least two are needed")
    return names


def _clips_of(shard: Path, wanted: set[int], views: Mapping[str, Rows], most: int) -> list[Clip]:
    """The shard's clips of one class, or of up to `most`; their features are added to `views`."""
    clips: list[Clip] = []
    for number, record in enumerate(read_records(shard)):
        where = f"{shard}: record {number}"
        features = parse_example(record, where)
        labels = wanted.intersection(_feature(features, "labels", where).tolist())
        if not 1 <= len(labels) <= most:
            continue
        found = {view: _values(features, called, where) for view, called in _CALLED.items()}
        clip_id = _feature(features, "id", where)[0]
        for name, rows in views.items():
            if len(rows) and len(found[name]) != rows.dims:
                called = _CALLED[name]
                raise UserError(
                    f"{where}: {called} has {len(found[name])} values and {rows.dims} in the records before"
                )
        for name, rows in views.items():
            rows.add(found[name])
        clips.append((clip_id, tuple(sorted(labels))))
    return clips


def _values(features: dict[str, Any], name: str, where: str) -> Any:
    """The values of a view, float32 [D].

    Raises:
        UserError: there are none, or some are not finite.
    """
    values = _feature(features, name, where)
    if not len(values):
        raise UserError(f"{where}: {name} is empty")
    if not np.isfinite(values).all():
        raise UserError(f"{where}: {name} holds values that are NaN or infinite")
    return values


def _feature(features: dict[str, Any], name: str, where: str) -> Any:
    if name not in features:
        hint = did_you_mean(name, features) or f"; it has {', '.join(sorted(features))[:80] or 'none'}"
        raise UserError(
            f"{where} has no feature '{name}'{hint}\nvideo-level shards of the train or validate part are needed"
        )
    value = features[name]
    kind = FEATURES[name]
    if (kind is bytes and not (isinstance(value, list) and value)) or (
        kind is not bytes and getattr(value, "dtype", None) != kind
    ):
        raise UserError(f"{where}: feature '{name}' is of another kind than in YouTube-8M's video-level shards")
    return value
