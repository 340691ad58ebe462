"""HDF5 files: what they declare, and the six-key file that avtune writes."""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from avtune.core.errors import UserError
from avtune.core.files import sync_folder
from avtune.data.arrays import Array, Container, Declared, failure, printable
from avtune.data.dataset import Dataset
from avtune.data.layouts.hdf5_text import MAX_TEXT, NotDamaged, read_texts

# What h5py raises on damaged files, unknown filters and types it does not know.
H5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError, NotImplementedError)
MOST_PACKED = 1100  # bytes that one stored byte can become: deflate, the strongest filter in use, gives 1032
SMALL = 1 << 26  # bytes that are read whatever the file declares


@contextmanager
def open_hdf5(path: Path) -> Iterator[Container]:
    """The arrays at the root of an HDF5 file; they can be declared and read while the context is open.

    Links of any kind but hard, and data kept in other files, are refused: a file must not make us read another one.

    Raises:
        UserError: the file is damaged, or an array that is declared or read is of a kind refused above.
    """
    with _reading(str(path)):
        _refuse_if_written(path)
        file = _opened(path)
    with file:
        with _reading(str(path)):
            keys = tuple(printable(key) for key in file)
        yield Container(str(path), keys, lambda key: _declare(file, path, key), _classes_attribute(file, path), True)


def _opened(path: Path) -> Any:
    """The file without a lock on it: some network file systems have none."""
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")  # this process has it open already, with a lock that h5py shares


def _refuse_if_written(path: Path) -> None:
    """HDF5 locks a file while it is open for writing; what it holds then may be half of what it will.

    Raises:
        UserError: another program has the file open for writing.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{path} is open for writing in another program (a notebook?)\n"
                "close it there, e.g. by leaving the `with h5py.File(...)` block or by `file.close()`, and try again"
            ) from None
        except OSError:
            pass  # a file system without locks


def _classes_attribute(file: Any, path: Path) -> list[str] | None:
    """Names from the root attribute `classes`, a JSON list of texts; None when there is no such list."""
    try:
        if "classes" not in file.attrs:
            return None
        text = h5py.check_string_dtype(file.attrs.get_id("classes").dtype)
        if text is not None and text.length is None:
            names = json.loads(read_texts(str(path), "attribute", "classes")[0])
        else:
            names = json.loads(file.attrs["classes"])
    except (*H5_ERRORS, RecursionError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _declare(file: Any, path: Path, key: str) -> Declared:
    where = f"{path}: {key}"
    array = _open(file, key, where)
    with _reading(where):
        text = h5py.check_string_dtype(array.dtype)
        if text is None:
            return Declared(where, array.shape, array.dtype, lambda: _read(array, path, where))
        if text.length is None:
            return Declared(where, array.shape, np.dtype(object), lambda: _read_free_text(array, path, key, where))
        return Declared(where, array.shape, array.dtype, lambda: _read_text(array, path, where))


def _open(file: Any, key: str, where: str) -> Any:
    with _reading(where):
        parts = key.strip("/").split("/")
        for depth in range(1, len(parts) + 1):  # a folder on the way may be a link, too
            link = file.get("/".join(parts[:depth]), getlink=True)
            if link is None:
                raise UserError(f"{where}: there is no such array")
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{where} is a link; store the array itself in this file")
        array = file[key]
        if not isinstance(array, h5py.Dataset):
            raise UserError(f"{where} is a {type(array).__name__.lower()}; an array is expected")
        if array.is_virtual or array.external:
            raise UserError(f"{where} keeps its data in another file; store the array itself in this file")
        if array.shape is None:
            raise UserError(f"{where} is empty")
        if array.dtype.kind == "O" and not h5py.check_string_dtype(array.dtype):
            raise UserError(f"{where} holds rows of different lengths or references; store one plain array")
        return array


def _values(array: Any, where: str) -> Array:
    """All of it.

    Raises:
        UserError: it is compressed in a way that this h5py cannot read.
    """
    try:
        return np.asarray(array[()])
    except H5_ERRORS as error:
        how = array.id.get_create_plist()
        filters = [how.get_filter(place) for place in range(how.get_nfilters())]
        for number, _, _, name in filters:
            if not h5py.h5z.filter_avail(number):
                called = printable(name.decode(errors="replace"))[:40]
                raise UserError(
                    f"{where} is compressed by the filter {number} ({called or 'unnamed'}), which this h5py lacks\n"
                    "write the array again with compression='gzip', or without"
                ) from error
        raise


def _check_stored(array: Any, path: Path, where: str) -> None:
    """Refuses an array that needs far more memory than its file can fill.

    Raises:
        UserError: its shape or the shape of its chunks is out of proportion to what is stored.
    """
    stored = min(array.id.get_storage_size(), path.stat().st_size)
    size = array.id.get_type().get_size()
    declared, chunk = size * math.prod(array.shape), size * math.prod(array.chunks or (0,))
    if declared > MOST_PACKED * stored + SMALL:
        raise UserError(f"{where} declares {declared} bytes and the file holds {stored} for it; it is damaged")
    if chunk > 4 * declared + SMALL:  # one is unpacked as a whole
        raise UserError(f"{where} has chunks of {chunk} bytes for {declared} in all; store it with smaller chunks")


def _read(array: Any, path: Path, where: str) -> Array:
    with _reading(where):
        _check_stored(array, path, where)
        return _values(array, where)


def _read_text(array: Any, path: Path, where: str) -> Array:
    """Text of one length as an object array of `str`, same shape."""
    with _reading(where):
        _check_stored(array, path, where)
        if array.ndim == 0:
            raise UserError(f"{where} is a single text; a list is expected")
        if array.dtype.itemsize > 4 * MAX_TEXT:
            raise UserError(f"{where} holds texts of {array.dtype.itemsize} bytes; at most {4 * MAX_TEXT} are read")
        texts = [item.decode("utf-8") for item in _values(array, where).reshape(-1)]
        return np.array(texts, object).reshape(array.shape)


def _read_free_text(array: Any, path: Path, key: str, where: str) -> Array:
    """Text of any length as an object array of `str`, same shape."""
    with _reading(where):
        _check_stored(array, path, where)
        if array.ndim == 0:
            raise UserError(f"{where} is a single text; a list is expected")
        return np.array(read_texts(str(path), "array", key), object).reshape(array.shape)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns what h5py raises into a sentence."""
    try:
        yield
    except UserError:
        raise
    except NotDamaged as error:
        raise UserError(f"{where}: {error}") from error
    except H5_ERRORS as error:
        if "already open for write" in str(error):  # the mark that a writer sets in the file itself
            raise UserError(
                f"{where} is marked as open for writing: another program writes it, or was killed while it did\n"
                f"close it there; if there is none, h5clear -s FILE takes the mark away"
            ) from error
        raise UserError(f"{where} {failure(error)}") from error


def write_hdf5(dataset: Dataset, path: str | Path, *, overwrite: bool = False) -> None:
    """Writes the six-key layout and `class_names`. The file appears whole or not at all.

    Raises:
        UserError: the file exists and `overwrite` is False, or it cannot be written there.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; remove it, or say that it may be overwritten (--overwrite)")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w", locking=False) as file:
            for name, split in (("train", dataset.train), ("test", dataset.test)):
                file[f"audio_{name}"] = split.audio
                file[f"visual_{name}"] = split.visual
                file[f"lab_{name}"] = split.labels
            # Of fixed length: the HDF5 library can hang on a damaged file that holds text of any length.
            names = [name.encode() for name in dataset.class_names]
            text = h5py.string_dtype("utf-8", max(len(name) for name in names))
            file.create_dataset("class_names", data=names, dtype=text)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError, NotADirectoryError):
            temporary.unlink()
