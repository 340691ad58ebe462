"""What to say of a file or folder that has no known layout: what it holds, the nearest layout, and a `--map` to try."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.core.errors import UserError, did_you_mean
from avtune.data.arrays import Container
from avtune.data.layouts._base import Layout
from avtune.data.layouts.mapped import USE
from avtune.data.opening import files_of, keys_of, open_arrays
from avtune.data.split_words import parted

_SHOWN = 8
_MOST = 100  # arrays whose shapes are looked at
_LABEL_WORDS = ("labels", "label", "lab", "class", "classes", "target", "targets", "y", "gt", "gnd", "cat", "l")
_VIEW_WORDS = {
    "audio": ("aud", "sound", "vggish", "mfcc", "speech"),
    "visual": ("vis", "vid", "rgb", "frame"),
    "image": ("im", "resnet", "vgg"),
    "text": ("t", "txt", "tex", "tag", "bow", "doc", "word", "sent", "cap", "bert"),
}


def unknown(path: Path, layouts: Sequence[Layout]) -> str:
    """The message.

    Raises:
        UserError: the file is of another kind than files of arrays, or damaged: what is the matter with it.
    """
    if path.is_dir() and not keys_of(path):
        names = [file.name for file in files_of(path)]
        inside = next((name for name in names if name.endswith((".h5", ".hdf5", ".npz", ".mat", ".parquet"))), None)
        hint = f"; did you mean '{path / inside}'?" if inside else ""
        held = (", ".join(names[:_SHOWN]) or "nothing") + (" ..." if len(names) > _SHOWN else "")
        return (
            f"{path} holds {held}, which is no dataset{hint}\n"
            "folders of .tfrecord shards, .mat or .npy arrays, AVE's files or Parquet tables are read: docs/data.md"
        )
    with open_arrays(path, layouts[0].KEYS) as container:
        keys = [*container.keys, *container.inner()]
        nearest = max(layouts, key=lambda one: sum(key in keys for key in one.KEYS))
        there = [key for key in nearest.KEYS if key in keys]
        missing = [key for key in nearest.KEYS if key not in keys]
        others = [key for key in keys if key not in nearest.KEYS]
        said = ", ".join(repr(key)[:40] for key in keys[:_SHOWN]) or "no array"
        more = " ..." if len(keys) > _SHOWN else ""
        if missing and len(there) > len(nearest.KEYS) // 2:
            hint = did_you_mean(missing[0], others)
            first = f"{path} has no key {', '.join(map(repr, missing))}{hint}; the layout {nearest.TITLE} has it"
        else:
            near = f"; the nearest layout is {nearest.TITLE}: {' '.join(nearest.KEYS)}" if len(there) > 1 else ""
            first = f"{path} has {said}{more}, which is no layout that is known{near}"
        proposed = proposal(container, keys)
    return f"{first}\nsay what they are, e.g.: --map {proposed}; docs/data.md lists the layouts"


def proposal(container: Container, keys: Sequence[str]) -> str:
    """What to give as `--map`: arrays by what their names and shapes suggest, `KEY` where nothing does."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key in keys[:_MOST]:
        try:
            shapes[key] = container.declare(key).shape
        except UserError:
            continue  # a group, a cell array, a link
    known = {key: parted(key) for key in shapes}
    labels = {split: key for key, (split, rest) in known.items() if _is_label(rest, shapes[key])}
    features = [
        key for key in shapes if key not in labels.values() and len(shapes[key]) > 1 and min(shapes[key][:2]) > 1
    ]
    views: dict[str, dict[str, str]] = {}
    for key in features:
        split, rest = known[key]
        views.setdefault("_".join(rest) or "view", {}).setdefault(split, key)
    full = [name for name, found in views.items() if {"train", "test"} <= found.keys()]
    if len(full) >= 2 and {"train", "test"} <= labels.keys():
        (first, second), names = _in_order(full[0], full[1])
        every = [
            (f"{name}_{split}", views[view][split], labels[split])
            for view, name in zip((first, second), names, strict=True)
            for split in ("train", "test")
        ]
        every += [(f"lab_{split}", labels[split], labels[split]) for split in ("train", "test")]
        return ",".join(f"{what}={_upright(key, shapes[key], shapes[of])}" for what, key, of in every)
    plain = [name for name, found in views.items() if "" in found]
    if len(plain) >= 2 and "" in labels:
        (first, second), names = _in_order(plain[0], plain[1])
        of = labels[""]
        every = [(names[0], views[first][""], of), (names[1], views[second][""], of), ("labels", of, of)]
        given = ",".join(f"{what}={_upright(key, shapes[key], shapes[of])}" for what, key, of in every)
        return f"{given} --test-fraction 0.2"
    return USE


def _upright(key: str, shape: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """What to call an array whose rows, or columns, are the clips of labels of a shape."""
    clips = max(labels)
    return f"{key}.T" if len(shape) == 2 and shape[0] != clips == shape[1] and 1 not in shape else key


def _is_label(words: tuple[str, ...], shape: tuple[int, ...]) -> bool:
    return any(word in _LABEL_WORDS for word in words) or len(shape) == 1 or (len(shape) == 2 and 1 in shape)


def _in_order(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Two views and their names: audio before visual, image before text, whatever else last."""
    names, known = _named(first, second), list(_VIEW_WORDS)
    places = [known.index(name) if name in known else len(known) for name in names]
    if places[1] < places[0]:
        return (second, first), (names[1], names[0])
    return (first, second), names


def _named(first: str, second: str) -> tuple[str, str]:
    """Names of views for what their arrays are called."""

    def of(text: str, fallback: str) -> str:
        words = text.split("_")
        for name, starts in _VIEW_WORDS.items():
            if any(word == start or (len(start) > 1 and word.startswith(start)) for word in words for start in starts):
                return name
        clean = "_".join(word for word in words if word.isalnum())
        return clean[:20] if clean and not clean.isdigit() else fallback

    one, other = of(first, "first"), of(second, "second")
    return (one, other) if one != other else ("first", "second")
