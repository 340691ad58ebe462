"""Labels in every form in which files keep them: numbers, one column a class, words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.data.arrays import Array, check_label_shape, plural, to_labels

Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Encoded:
    """Labels of all splits as numbers of one numbering.

    Attributes:
        labels: int64 [N] each, by what they were given as.
        words: the name of label v at v, where the labels are words; else None.
    """

    labels: dict[str, Labels]
    words: list[str] | None = None


def encode(arrays: Mapping[str, Array], where: Mapping[str, str]) -> Encoded:
    """Labels of the splits of one dataset: whole numbers of any start as they are, columns of 0 and 1 as the number of
    the column, words as places in their alphabetical order. Words that are digits are numbers.

    Args:
        arrays: [N], [N, 1], [1, N] or [N, C] by split.
        where: file and key of each, for messages.

    Raises:
        UserError: labels of another shape or value, a clip of several labels or of none, splits of different forms.
    """
    for key, array in arrays.items():
        check_label_shape(array.shape, where[key])
    columns = {key: array.shape[1] for key, array in arrays.items() if is_columns(array.shape)}
    if columns and (len(columns) < len(arrays) or len(set(columns.values())) > 1):
        said = ", ".join(f"{where[key]} has shape {array.shape}" for key, array in arrays.items())
        raise UserError(f"{said}; the labels of all splits have the same form")
    if columns:
        return Encoded({key: _hot(array, where[key]) for key, array in arrays.items()})
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


def _hot(array: Array, where: str) -> Labels:
    """The column of each row's one.

    Raises:
        UserError: a row has several or none.
    """
    if array.dtype.kind not in "biuf":
        raise UserError(f"{where} has one column a class and holds {array.dtype}; such columns hold 0 and 1")
    ones = array == 1
    if not (ones | (array == 0) | (array == -1)).all():
        row, column = np.argwhere(~(ones | (array == 0) | (array == -1)))[0]
        raise UserError(
            f"{where} has one column a class and holds {array[row, column].item()!r} in row {row}; such columns hold 0 "
            "and 1\nwhere the columns are probabilities, store the number of the class: y.argmax(axis=1)"
        )
    counts = ones.sum(axis=1)
    if (counts > 1).any():
        row, many = int((counts > 1).argmax()), int((counts > 1).sum())
        verb = "has" if many == 1 else "have"
        raise UserError(
            f"{where}: {many} of {plural(len(array), 'clip')} {verb} several labels, the first in row {row} "
            f"({counts[row]} labels); avtune learns from one label a clip\n"
            "keep the clips of one label, y.sum(axis=1) == 1, or choose one for each, e.g. the first: y.argmax(axis=1)"
        )
    if not counts.all():
        row, none = int((counts == 0).argmax()), int((counts == 0).sum())
        verb = "has" if none == 1 else "have"
        raise UserError(f"{where}: {none} of {plural(len(array), 'clip')} {verb} no label, the first in row {row}")
    return np.asarray(ones.argmax(axis=1), np.int64)


def _texts(array: Array, where: str) -> list[str]:
    found = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in array.reshape(-1)]
    return [text.strip() for text in found]


def _is_word(text: str) -> bool:
    """Whether a label is no number, not even a wrong one."""
    try:
        float(text)
    except ValueError:
        return bool(text)
    return False


def _check_words(texts: Sequence[str], where: str) -> None:
    """Raises:
    UserError: a word cannot be the name of a class.
    """
    for row, text in enumerate(texts):
        if not text or not text.isprintable() or "\ufffd" in text:
            raise UserError(f"{where}: the label in row {row} is {text[:40]!r}; a label is a number or printable text")


def read_whole(array: Array, where: str) -> Labels:
    """Numbers of groups: whole numbers, or words numbered in alphabetical order; int64 [N]."""
    return encode({"": array}, {"": where}).labels[""]
