"""A `--map` to try for arrays whose layout is not known: what each is, by its name and shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avtune.core.errors import UserError
from avtune.data.arrays import Container
from avtune.data.layouts.mapped import USE
from avtune.data.split_words import parted

_MOST = 100  # arrays whose shapes are looked at
_LABEL_WORDS = ("labels", "label", "lab", "class", "classes", "target", "targets", "y", "gt", "gnd", "cat", "l")
_MARK_WORDS = {"split", "splits", "subset", "partition", "set"}
_TRAIN_MARKS = (("is",), ("mask",), ("flag",), ("test",))
"""With `train`: an array that is 1 for a training clip, e.g. `is_train`, `train_test`."""
_ROW_WORDS = {"idx", "index", "indices", "ind", "inds", "ids", "rows", "is", "mask", "flag"}
"""With the name of a split: the rows of its clips, or a mark that `split` does not take."""
_GROUP_WORDS = {"group", "groups", "video", "videos", "vid", "youtube", "speaker", "speakers"}
_NAME_WORDS = {"id", "ids", "idx", "index", "name", "names", "file", "files", "filename", "filenames", "path", "paths"}
_VIEW_WORDS = {
    "audio": ("aud", "sound", "vggish", "mfcc", "speech"),
    "visual": ("vis", "vid", "rgb", "frame"),
    "image": ("im", "resnet", "vgg"),
    "text": ("t", "txt", "tex", "tag", "bow", "doc", "word", "sent", "cap", "bert"),
}
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class _Parts:
    """Arrays by what they seem to be.

    Attributes:
        views: by name and split, those of features.
        labels, groups: by split.
        marks: the array that says of which split each clip is.
        rows: an array that says it in a way which `--map` does not take.
    """

    views: Mapping[str, Mapping[str, str]]
    labels: Mapping[str, str]
    groups: Mapping[str, str]
    marks: str | None
    rows: str | None


def proposal(container: Container, keys: Sequence[str]) -> str:
    """What to give as `--map`, with what else is to be typed or known: arrays by what their names and shapes suggest,
    `KEY` where nothing does."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key in keys[:_MOST]:
        try:
            shapes[key] = container.declare(key).shape
        except UserError:
            continue  # a group, a cell array, a link
    found = _parts(shapes)
    full = [name for name, of in found.views.items() if {"train", "test"} <= of.keys()]
    if len(full) >= 2 and {"train", "test"} <= found.labels.keys():
        return _of_splits(found, full, shapes)
    plain = [name for name, of in found.views.items() if "" in of]
    return _of_all(found, plain, shapes) if len(plain) >= 2 else USE


def _of_splits(found: _Parts, views: Sequence[str], shapes: Shapes) -> str:
    (first, second), names = _in_order(views[0], views[1])
    every = [
        (f"{name}_{split}", found.views[view][split], found.labels[split])
        for view, name in zip((first, second), names, strict=True)
        for split in ("train", "test")
    ]
    every += [(f"lab_{split}", found.labels[split], found.labels[split]) for split in ("train", "test")]
    said = [f"{what}={_upright(key, shapes[key], shapes[of])}" for what, key, of in every]
    if {"train", "test"} <= found.groups.keys():
        said += [f"group_{split}={found.groups[split]}" for split in ("train", "test")]
    return ",".join(said)


def _of_all(found: _Parts, views: Sequence[str], shapes: Shapes) -> str:
    (first, second), names = _in_order(views[0], views[1])
    labels = found.labels.get("")
    said = [
        f"{name}={_upright(key, shapes[key], shapes[labels]) if labels else key}"
        for name, key in zip(names, (found.views[first][""], found.views[second][""]), strict=True)
    ]
    said.append(f"labels={labels or 'KEY'}")
    if found.marks or found.rows:
        said.append(f"split={found.marks or 'KEY'}")
    if "" in found.groups:
        said.append(f"groups={found.groups['']}")
    if found.marks:
        return ",".join(said)
    if found.rows:
        return (
            f"{','.join(said)}, where split is an array that you add: train or test for each clip, as {found.rows} "
            "seems to say it"
        )
    return f"{','.join(said)} --test-fraction 0.2"


def _parts(shapes: Shapes) -> _Parts:
    known = {key: parted(key) for key in shapes}
    clips = {split: _clips([shapes[key] for key in shapes if known[key][0] == split]) for split, _ in known.values()}
    flat = [key for key, shape in shapes.items() if len(shape) == 1 or (len(shape) == 2 and 1 in shape)]
    mark_keys = [key for key in flat if _marks(*known[key]) and max(shapes[key]) == clips.get("")]
    row_keys = [key for key in flat if key not in mark_keys and _is_rows(*known[key])]
    group_keys = [key for key in flat if _GROUP_WORDS & {*known[key][1]} and max(shapes[key]) == clips[known[key][0]]]
    taken = {*mark_keys, *row_keys, *group_keys}
    labels: dict[str, str] = {}
    for split, count in clips.items():
        there = [key for key in shapes if known[key][0] == split and key not in taken and count in shapes[key]]
        if chosen := _label(there, known, flat):
            labels[split] = chosen
    views: dict[str, dict[str, str]] = {}
    for key, shape in shapes.items():
        split, rest = known[key]
        if key not in labels.values() and len(shape) > 1 and min(shape[:2]) > 1:
            views.setdefault("_".join(rest) or "view", {}).setdefault(split, key)
    groups = {known[key][0]: key for key in reversed(group_keys)}
    return _Parts(views, labels, groups, next(iter(mark_keys), None), next(iter(row_keys), None))


def _clips(shapes: Sequence[tuple[int, ...]]) -> int:
    """The number of clips that arrays of these shapes seem to be of: the length that most of them have."""
    lengths = Counter(length for shape in shapes for length in {*shape[:2]} if length > 1)
    return max(lengths, key=lambda length: (lengths[length], length), default=0)


def _marks(split: str, rest: tuple[str, ...]) -> bool:
    return bool(_MARK_WORDS & {*rest}) if not split else split == "train" and rest in _TRAIN_MARKS


def _is_rows(split: str, rest: tuple[str, ...]) -> bool:
    return bool(_ROW_WORDS & {*rest}) if split else bool({"fold", "folds"} & {*rest})


def _label(keys: Sequence[str], known: Mapping[str, tuple[str, tuple[str, ...]]], flat: Sequence[str]) -> str | None:
    """The array of the labels: the one that is called so, else the only one of one value a clip, if it is no name."""
    for word in _LABEL_WORDS:
        if exact := [key for key in keys if known[key][1] == (word,)]:
            return exact[0]
    called = [key for key in keys if {*known[key][1]} & {*_LABEL_WORDS}]
    if called:
        return min(called, key=lambda key: bool({*known[key][1]} & {"name", "names"}))
    others = [key for key in keys if key in flat and not {*known[key][1]} & _NAME_WORDS]
    return others[0] if len(others) == 1 else None


def _upright(key: str, shape: tuple[int, ...], labels: tuple[int, ...]) -> str:
    """What to call an array whose rows, or columns, are the clips of labels of a shape."""
    clips = max(labels)
    return f"{key}.T" if len(shape) == 2 and shape[0] != clips == shape[1] and 1 not in shape else key


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
