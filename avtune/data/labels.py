"""Labels in every form in which files keep them: numbers, one column a class, words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.relevance import is_multi_label
from avtune.core.system import available_memory
from avtune.core.words import plural
from avtune.data.arrays import Array, check_label_shape, to_labels

_LISTS = (list, tuple, set, frozenset, np.ndarray)
Labels = npt.NDArray[Any]
"""Of clips: int64 [N]; or, where clips have several labels, bool [N, C] with a column a class. `core.relevance` says
which clips are relevant to each other."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Labels of all splits in one numbering.

    Attributes:
        labels: by what they were given as: int64 [N] each; or bool [N, C] each, where a clip of any split has several.
        words: the name of label v at v, where the labels are words or lists; else None.
    """

    labels: dict[str, Labels]
    words: list[str] | None = None


def encode(arrays: Mapping[str, Array], where: Mapping[str, str]) -> Encoded:
    """Labels of the splits of one dataset: whole numbers of any start as they are, columns of 0 and 1 as the number of
    the column where every clip has one label, and as they are where a clip has several; words as places in their
    alphabetical order. Words that are digits are numbers. Lists of numbers or words, one a clip, are columns, one for
    each number or word that is there.

    Args:
        arrays: [N], [N, 1], [1, N] or [N, C] by split; or [N] of tuples, lists, sets or arrays.
        where: file and key of each, for messages.

    Raises:
        UserError: labels of another shape or value, a clip without a label, splits of different forms.
    """
    arrays = {key: _of_tuples(array) for key, array in arrays.items()}
    for key, array in arrays.items():
        check_label_shape(array.shape, where[key])
    if any(is_lists(array) for array in arrays.values()):
        return _of_lists(arrays, where)
    columns = {key: array.shape[1] for key, array in arrays.items() if is_columns(array.shape)}
    if columns and (len(columns) < len(arrays) or len(set(columns.values())) > 1):
        said = ", ".join(f"{where[key]} has shape {array.shape}" for key, array in arrays.items())
        raise UserError(f"{said}; the labels of all splits have the same form")
    if columns:
        hot = {key: to_hot(array, where[key]) for key, array in arrays.items()}
        return Encoded(hot if any(is_several(one) for one in hot.values()) else numbered(hot))
    texts = {key: _texts(array, where[key]) for key, array in arrays.items() if array.dtype.kind in "SUO"}
    if not any(_is_word(text) for given in texts.values() for text in given):
        return Encoded({key: to_labels(array, where[key]) for key, array in arrays.items()})
    for key in arrays:
        if key not in texts:
            raise UserError(f"{where[next(iter(texts))]} holds words and {where[key]} numbers; write both in one form")
        _check_words(texts[key], where[key])
    words = sorted({text for given in texts.values() for text in given})
    return Encoded({key: np.searchsorted(words, given).astype(np.int64) for key, given in texts.items()}, words)


def is_columns(shape: Sequence[int]) -> bool:
    """Whether labels of a shape have one column a class."""
    return len(shape) == 2 and 1 not in shape


def is_lists(array: Array) -> bool:
    """Whether labels are a list (a tuple) of any length for each clip."""
    return array.dtype.kind == "O" and array.ndim == 1 and any(isinstance(one, tuple) for one in array)


def _of_tuples(array: Array) -> Array:
    """The labels, with a tuple in place of each list, set or array, which a column of a table holds."""
    if array.dtype.kind != "O" or array.ndim != 1 or not any(isinstance(one, _LISTS) for one in array):
        return array
    made = np.empty(len(array), object)
    for row, one in enumerate(array):
        made[row] = one
        if isinstance(one, _LISTS):
            made[row] = tuple(label.item() if isinstance(label, np.generic) else label for label in one)
    return made


def _of_lists(arrays: Mapping[str, Array], where: Mapping[str, str]) -> Encoded:
    """Labels of one list a clip, by the columns of all numbers, or of all words in their alphabetical order.

    Raises:
        UserError: splits of different forms, a label that is none, a clip without a label.
    """
    for key, array in arrays.items():
        if not is_lists(array):
            raise UserError(f"{where[key]} has one label a clip, where others have lists; write all in one form")
        for row, labels in enumerate(array):
            if not isinstance(labels, tuple):
                raise UserError(
                    f"{where[key]} has no list of labels in row {row}, where other rows have one: {labels!r}"
                )
            wrong = [one for one in labels if not isinstance(one, int | str)]
            if wrong:
                raise UserError(
                    f"{where[key]} has the label {wrong[0]!r} in row {row}; labels are whole numbers or words"
                )
            _check_words([str(one) for one in labels], where[key], row)
    known = sorted({one for array in arrays.values() for labels in array for one in labels}, key=_by_number)
    if len(known) * sum(map(len, arrays.values())) > available_memory() // 2:
        first = where[next(iter(arrays))]
        raise UserError(f"{first} has {len(known)} different labels: a column for each does not fit the memory")
    places = {one: place for place, one in enumerate(known)}
    hot = {key: np.zeros((len(array), len(known)), bool) for key, array in arrays.items()}
    for key, array in arrays.items():
        for row, labels in enumerate(array):
            hot[key][row, [places[one] for one in labels]] = True
        to_hot(hot[key], where[key])  # says where a clip has none
    words = [str(one) for one in known]
    return Encoded(hot if any(is_several(one) for one in hot.values()) else numbered(hot), words)


def _by_number(label: int | str) -> tuple[bool, int, str]:
    return isinstance(label, str), 0 if isinstance(label, str) else label, str(label)


def label_rows(shape: Sequence[int]) -> int:
    """How many clips labels of a shape are of."""
    return shape[0] if is_columns(shape) else math.prod(shape)


def to_hot(array: Array, where: str) -> npt.NDArray[np.bool_]:
    """Labels of one column a class, as bool [N, C].

    Raises:
        UserError: a value is no 0 or 1 (or -1 in place of 0), or a row has no 1.
    """
    if array.dtype.kind not in "biuf":
        raise UserError(f"{where} has one column a class and holds {array.dtype}; such columns hold 0 and 1")
    ones = np.asarray(array == 1)
    if not (ones | (array == 0) | (array == -1)).all():
        row, column = np.argwhere(~(ones | (array == 0) | (array == -1)))[0]
        raise UserError(
            f"{where} has one column a class and holds {array[row, column].item()!r} in row {row}; such columns hold 0 "
            "and 1\nwhere the columns are probabilities, store the number of the class: y.argmax(axis=1)"
        )
    lacks = np.flatnonzero(~ones.any(axis=1))
    if len(lacks):
        verb = "has" if len(lacks) == 1 else "have"
        raise UserError(
            f"{where}: {len(lacks)} of {plural(len(array), 'clip')} {verb} no label, the first in row {lacks[0]}\n"
            "nothing is relevant to a clip without a label: keep the others, y.any(axis=1)"
        )
    return ones


def is_several(hot: npt.NDArray[np.bool_]) -> bool:
    """Whether a clip has several labels [N, C]."""
    return bool((np.count_nonzero(hot, axis=1) > 1).any())


def numbered(hot: Mapping[str, npt.NDArray[np.bool_]]) -> dict[str, Labels]:
    """The column of the one label of each clip: int64 [N] each."""
    return {key: np.asarray(one.argmax(axis=1), np.int64) for key, one in hot.items()}


def held_by(labels: Labels) -> npt.NDArray[np.int64]:
    """The label values that clips have, sorted: of bool [N, C] the columns."""
    return np.flatnonzero(labels.any(axis=0)) if is_multi_label(labels) else np.unique(labels)


def off_by_one(train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> str:
    """What to say where the labels of two splits (their values, sorted) seem to start at 0 in one and at 1 in the
    other; empty where they do not.

    >>> off_by_one(np.arange(1, 6), np.arange(5)).partition(":")[0]
    'they are 0 to 4 there, and 1 to 5 in the training split'
    """
    whole = train[-1] - train[0] + 1 == len(train) > 1
    down = test[0] == train[0] - 1 and test[-1] < train[-1]
    up = test[-1] == train[-1] + 1 and test[0] > train[0]
    if not whole or not (down or up):
        return ""
    return (
        f"they are {test[0]} to {test[-1]} there, and {train[0]} to {train[-1]} in the training split: if one of them "
        f"starts at 0 and the other at 1 (NumPy, MATLAB), {'add 1 to' if down else 'subtract 1 from'} the test labels; "
        "else remove the test clips of such a class"
    )


def renumbered(labels: Labels, values: npt.NDArray[np.int64]) -> Labels:
    """The labels by places in `values`; of several labels a clip, these columns."""
    return np.ascontiguousarray(labels[:, values]) if is_multi_label(labels) else np.searchsorted(values, labels)


def label_numbers(labels: Labels) -> list[Any]:
    """The number of each clip's label; of several labels a clip, a list of them each."""
    if is_multi_label(labels):
        return [np.flatnonzero(row).tolist() for row in labels]
    numbers: list[Any] = labels.tolist()
    return numbers


def label_text(labels: Labels, clip: int, names: Mapping[int, str] | Sequence[str]) -> str:
    """The name of a clip's label, or of its labels with commas between."""
    if is_multi_label(labels):
        return ", ".join(names[int(one)] for one in np.flatnonzero(labels[clip]))
    return names[int(labels[clip])]


def counts_by_class(labels: Labels, num_classes: int) -> npt.NDArray[np.int64]:
    """How many clips have each label [C]; a clip of several counts for each of them."""
    if is_multi_label(labels):
        return np.asarray(labels.sum(axis=0), np.int64)
    return np.bincount(labels, minlength=num_classes)


def _texts(array: Array, where: str) -> list[str]:
    """The labels as text.

    Raises:
        UserError: some are missing, or neither text nor a number.
    """
    if array.dtype.kind == "O":
        _check_objects(array.reshape(-1), where)
    found = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.reshape(-1)]
    return [text.strip() for text in found]


def _check_objects(array: Array, where: str) -> None:
    """Raises:
    UserError: labels of a table are missing, or neither text nor a number.
    """
    missing = [row for row, one in enumerate(array) if _is_missing(one)]
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        raise UserError(
            f"{where}: {len(missing)} of {plural(len(array), 'clip')} {verb} no label, the first in row {missing[0]}\n"
            "nothing is relevant to a clip without a label: keep the others"
        )
    for row, one in enumerate(array):
        if not isinstance(one, str | bytes | int | float | np.integer | np.floating | np.bool_):
            raise UserError(
                f"{where} has a {type(one).__name__} in row {row}; labels are whole numbers or words, or a list of "
                "these for each clip"
            )


def _is_missing(one: object) -> bool:
    """Whether a cell of a table says that it holds nothing: None, NaN, or what pandas has for it."""
    if one is None or type(one).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(one, float | np.floating) and math.isnan(one)


def _is_word(text: str) -> bool:
    """Whether a label is no number, not even a wrong one."""
    try:
        float(text)
    except ValueError:
        return bool(text)
    return False


def _check_words(texts: Sequence[str], where: str, of_row: int | None = None) -> None:
    """Raises:
    UserError: a word cannot be the name of a class. The words are of one row each, or all of the row `of_row`.
    """
    for place, text in enumerate(texts):
        if not text or not text.isprintable() or "\ufffd" in text:
            row = place if of_row is None else of_row
            raise UserError(f"{where}: the label in row {row} is {text[:40]!r}; a label is a number or printable text")
        if text.lower() == "nan":  # as tables write it
            row = place if of_row is None else of_row
            raise UserError(
                f"{where}: the label in row {row} is {text!r}, a missing one; leave clips without a label out"
            )


def read_whole(array: Array, where: str) -> npt.NDArray[np.int64]:
    """Numbers of groups [N]: whole numbers, or words numbered in alphabetical order; int64 [N]."""
    return encode({"": array.reshape(-1)}, {"": where}).labels[""].astype(np.int64, copy=False)
