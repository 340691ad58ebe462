"""Checks that turn what a file holds into features and labels."""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.system import available_memory
from avtune.core.words import plural
from avtune.data.on_disk import is_on_disk, room

Array = npt.NDArray[Any]
BLOCK_ROWS = 4096
LARGEST = 1e18
"""Magnitude of a feature: beyond, its square is no float32, and nothing can be trained on it."""
TEXT_BYTES = 64  # what one text label of undeclared length is taken to need


@dataclass(frozen=True)
class Declared:
    """An array as a file declares it, before any of it is read.

    Attributes:
        where: file and key, for messages.
        shape: the declared shape.
        dtype: the declared dtype; `object` stands for text of any length.
        read: reads it all; raises UserError when the file is damaged.
        rows: reads the rows from a first one up to another; None where only all of it can be read.
        blocks: reads all rows in order, some at a time; None where only all of it can be read.
        mapped: gives the array as a map of the file; None where that does not hold it as plain values.
        columns: reads all columns [N, D] in order, some at a time, as rows [columns, N]; None where only all of it can
            be read, or rows can.
    """

    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], Array]
    rows: Callable[[int, int], Array] | None = None
    blocks: Callable[[], Iterator[Array]] | None = None
    mapped: Callable[[], Array | None] = lambda: None
    columns: Callable[[], Iterator[Array]] | None = None

    @property
    def key(self) -> str:
        """What `where` calls the array, without its file."""
        return self.where.rpartition(": ")[2]

    @property
    def size_bytes(self) -> int:
        """Bytes of the array as declared, 0 for text of any length."""
        return math.prod(self.shape) * (0 if self.dtype.kind == "O" else self.dtype.itemsize)

    @property
    def needed_bytes(self) -> int:
        """Bytes it takes in memory: features become float32 however small they are stored."""
        return math.prod(self.shape) * max(TEXT_BYTES if self.dtype.kind == "O" else self.dtype.itemsize, 4)


@dataclass(frozen=True)
class Container:
    """An open file that holds named arrays.

    Attributes:
        source: the file, for messages.
        keys: every name at its root, as `printable` gives it.
        declare: what the file says of the array of that name; raises UserError when it must not or cannot be read.
        listed: names of the classes, if the file gives them outside its arrays.
        is_hdf5: it is HDF5, which also has arrays in groups (`a/b`).
        inner: names of the arrays that are in groups, some of them where there are many.
        cells: the arrays of a MATLAB cell array of that name; raises UserError when it is none.
    """

    source: str
    keys: tuple[str, ...]
    declare: Callable[[str], Declared]
    listed: Callable[[], list[str] | None] = lambda: None
    is_hdf5: bool = False
    inner: Callable[[], tuple[str, ...]] = lambda: ()
    cells: Callable[[str], list[Declared]] | None = None


def check_memory(declared: Iterable[Declared]) -> None:
    """Refuses arrays that do not fit this machine, from their declared shapes alone.

    A dataset is wanted twice, as read and scaled, so the bound is half of the memory that is available now.

    Raises:
        UserError: names the largest array.
    """
    arrays = list(declared)
    needed, available = 2 * sum(array.needed_bytes for array in arrays), available_memory()
    if needed > available:
        largest = max(arrays, key=lambda array: array.needed_bytes)
        raise UserError(
            f"{largest.where} declares shape {largest.shape} of {largest.dtype}, {_gib(largest.needed_bytes)}\n"
            f"this file needs {_gib(needed)} of memory and {_gib(available)} is available here"
        )


def check_feature_shape(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Raises UserError unless an array of this shape and dtype can hold features [N, D]."""
    if dtype.kind not in "biuf":
        kind = {"O": "text", "S": "text", "U": "text", "c": "complex numbers"}.get(dtype.kind, f"{dtype}")
        raise UserError(f"{where} holds {kind}; features are real numbers")
    if len(shape) != 2:
        how = "with --pool mean (or max, std, mean,std); an array in Python: x.mean(axis=1)"
        hint = f"; pool over its other axes {how}" if len(shape) > 2 else ""
        raise UserError(f"{where} has shape {shape}; features are [clips, dims]{hint}")
    if 0 in shape:
        raise UserError(f"{where} has shape {shape}, so it is empty")


def to_features(array: Array, where: str) -> npt.NDArray[np.float32]:
    """Features as float32 [N, D] in C order; the same object when it already is that. On disk where the array is.

    Raises:
        UserError: not real numbers in two axes, empty, or not finite and of at most `LARGEST` as float32.
    """
    check_feature_shape(array.shape, array.dtype, where)
    ready = array.dtype == np.float32 and array.dtype.isnative and array.flags.c_contiguous
    features = array if ready else room(array.shape, on_disk=is_on_disk(array))
    for start in range(0, len(array), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        if not ready:
            with np.errstate(over="ignore", invalid="ignore"):
                features[rows] = array[rows]
        if not np.abs(features[rows]).max() <= LARGEST:  # nor if it is NaN
            raise UserError(_not_finite(array, where))
    return features


def turned_hint(shape: tuple[int, ...], num_labels: int) -> str:
    """What to add where features of a shape, which a program gives, do not fit the labels: maybe their columns are the
    clips."""
    return f"\nif its {num_labels} columns are the clips, give it transposed: x.T" if num_labels in shape[1:] else ""


def _not_finite(array: Array, where: str) -> str:
    """What is wrong in features that are not finite, or too large as float32."""
    kinds = {"NaN or infinite": 0, f"too large for float32 arithmetic (at most {LARGEST:g})": 0}
    first: dict[str, tuple[int, int]] = {}
    for start in range(0, len(array), BLOCK_ROWS):
        given = array[start : start + BLOCK_ROWS]
        with np.errstate(over="ignore", invalid="ignore"):
            infinite = ~np.isfinite(given) if given.dtype.kind == "f" else np.zeros(given.shape, bool)
            bad = infinite, ~(np.abs(given.astype(np.float32)) <= LARGEST)
        for what, which in zip(kinds, bad, strict=True):
            kinds[what] += int(which.sum())
            if what not in first and which.any():
                place = divmod(int(which.argmax()), which.shape[1])
                first[what] = start + place[0], place[1]
    what, count = next((what, count) for what, count in kinds.items() if count)
    row, column = first[what]
    verb = "is" if count == 1 else "are"
    return f"{where}: {plural(count, 'value')} {verb} {what}, the first in row {row}, column {column} (counted from 0)"


def check_label_shape(shape: tuple[int, ...], where: str) -> None:
    """Raises UserError unless an array of this shape can hold labels: [N], [N, 1], [1, N] as MATLAB leaves them, or one
    column a class [N, C]."""
    if len(shape) not in (1, 2):
        raise UserError(f"{where} has shape {shape}; labels are [clips], or one column a class")
    if 0 in shape:
        raise UserError(f"{where} is empty")


def to_labels(array: Array, where: str) -> npt.NDArray[np.int64]:
    """Original labels as int64 [N], from [N], [N, 1] or [1, N] integers, floats of whole value, or these as text.

    Raises:
        UserError: another shape, empty, or a label that is no whole number.
    """
    check_label_shape(array.shape, where)
    if len(array.shape) == 2 and 1 not in array.shape:
        key = where.rpartition(": ")[2]
        raise UserError(
            f"{where} has shape {array.shape}; labels are [clips] or [clips, 1]; store the number of the class, not "
            f"one column a class: {key}.argmax(axis=1)"
        )
    flat = array.reshape(-1)
    if flat.dtype.kind in "bi":
        return flat.astype(np.int64)
    if flat.dtype == np.float16:
        flat = flat.astype(np.float64)  # which holds 2^53, below
    if flat.dtype.kind in "uf":
        # float64 holds every integer below 2^53; nobody numbers classes beyond.
        good = np.isfinite(flat) & (np.abs(flat) < 2**53)
        good[good] &= flat[good] == np.floor(flat[good])
        if good.all():
            return flat.astype(np.int64)
        raise UserError(_not_whole(flat, good, where))
    if flat.dtype.kind in "SUO":
        texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item) for item in flat]
        good = np.array([re.fullmatch(r"\s*[+-]?[0-9]{1,15}(\.0*)?\s*", text) is not None for text in texts], bool)
        if good.all():
            return np.array([int(text.partition(".")[0]) for text in texts], np.int64)
        raise UserError(_not_whole(texts, good, where))
    raise UserError(f"{where} holds {flat.dtype}; labels are whole numbers")


def _not_whole(values: Any, good: npt.NDArray[np.bool_], where: str) -> str:
    row, count = int(np.argmin(good)), int((~good).sum())
    given = repr(values[row] if isinstance(values[row], str) else values[row].item())
    given = given if len(given) <= 40 else f"{given[:40]}..."
    verb = "is" if count == 1 else "are"
    return (
        f"{where}: {plural(count, 'label')} {verb} not whole, the first in row {row}: {given}\n"
        f"labels are whole numbers; names of the classes go into class_names"
    )


def printable(key: str | bytes) -> str:
    """A name found in a file, as a message may show it: escaped if it holds anything that does not print."""
    return key if isinstance(key, str) and key.isprintable() else repr(key)


def cause(error: Exception) -> str:
    """What a library's exception says, on one short line."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return printable(text.splitlines()[0][:160]) if text.strip() else type(error).__name__


def failure(error: Exception) -> str:
    """What follows `FILE ` in the message on an exception of a library that reads it. The system's own reasons (a
    permission, a lock, a disk that fails) are no damage; EINVAL is: it comes from a place that no file has."""
    if isinstance(error, UnicodeDecodeError):
        return "holds text that is not UTF-8; write it again as UTF-8"
    if isinstance(error, OSError) and error.errno not in (None, 0, errno.EINVAL, errno.EOVERFLOW):
        return f"cannot be read: {os.strerror(error.errno)}"
    return f"cannot be read; the file may be truncated or damaged ({cause(error)})"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"
