"""HDF5 files: what they declare. MATLAB 7.3 files are HDF5, with every matrix transposed; it is turned back here."""

from __future__ import annotations

import fcntl
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Container, Declared, failure, printable
from avtune.data.layouts.hdf5_sparse import is_sparse, sparse_matrix
from avtune.data.layouts.hdf5_text import MAX_TEXT, NotDamaged, read_texts
from avtune.data.on_disk import MOST_PACKED, block_rows, map_plain

# What h5py raises on damaged files, unknown filters and types it does not know.
H5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError, NotImplementedError)
SMALL = 1 << 26  # bytes that are read whatever the file declares
MATLAB = b"MATLAB 7."  # .3; the first MATLABs that wrote HDF5 said 7.0
MOST_CELLS = 10_000
_MOST_INNER, _DEEPEST = 200, 4


@contextmanager
def open_hdf5(path: Path) -> Iterator[Container]:
    """The arrays at the root of an HDF5 file; they can be declared and read while the context is open.

    Links of any kind but hard, and data kept in other files, are refused: a file must not make us read another one.

    Raises:
        UserError: the file is damaged, or an array that is declared or read is of a kind refused above.
    """
    with _reading(str(path)):
        _refuse_if_written(path)
        with path.open("rb") as head:
            matlab = head.read(len(MATLAB)) == MATLAB
        file = _opened(path)
    with file:
        with _reading(str(path)):
            keys = tuple(printable(key) for key in file if not (matlab and key.startswith("#")))
        yield Container(
            str(path),
            keys,
            lambda key: _declare(file, path, key, matlab),
            lambda: _classes_attribute(file, path),
            True,
            lambda: _inner(file, path),
            (lambda key: _cells(file, path, key)) if matlab else None,
        )


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


def _declare(file: Any, path: Path, key: str, matlab: bool) -> Declared:
    where = f"{path}: {key}"
    array = _open(file, key, where, cells=matlab)
    if is_sparse(array):
        return _sparse(file, array, path, where)
    if h5py.check_ref_dtype(array.dtype) is not None:
        cells = _cells(file, path, key)
        if not cells or not all(one.dtype.kind == "O" for one in cells):
            kind = "of matrices" if cells else "without cells"
            raise UserError(f"{where} is a cell array {kind}; one matrix is expected")
        return Declared(where, (len(cells),), np.dtype(object), lambda: np.concatenate([one.read() for one in cells]))
    return _declared(array, path, where, matlab)


def _declared(array: Any, path: Path, where: str, matlab: bool) -> Declared:
    """What an array that was opened declares."""
    with _reading(where):
        text = h5py.check_string_dtype(array.dtype)
        if matlab and text is None:
            return _matrix(array, path, where)
        if text is None:
            return Declared(
                where,
                array.shape,
                array.dtype,
                lambda: _read(array, path, where),
                lambda start, end: _rows(array, path, where, start, end),
                lambda: _blocks(array, path, where),
                lambda: _mapped(array, path, where),
            )
        if text.length is None:
            name = array.name.strip("/")
            return Declared(where, array.shape, np.dtype(object), lambda: _read_free_text(array, path, name, where))
        return Declared(where, array.shape, array.dtype, lambda: _read_text(array, path, where))


def _matrix(array: Any, path: Path, where: str) -> Declared:
    """A matrix of MATLAB: transposed, and text where its class says so."""
    shape = array.shape[::-1]
    kind = array.attrs.get_id("MATLAB_class").dtype.kind if "MATLAB_class" in array.attrs else ""
    if kind == "S" and bytes(array.attrs["MATLAB_class"]) == b"char" and array.dtype == np.uint16:
        if math.prod(shape) > MAX_TEXT * MOST_CELLS:
            raise UserError(f"{where} is a text of {math.prod(shape)} letters; it is no name")
        return Declared(where, shape[:1], np.dtype(object), lambda: _letters(_read(array, path, where).T))

    def mapped() -> Array | None:
        found = _mapped(array, path, where)
        return None if found is None else found.T

    columns = (lambda: _blocks(array, path, where)) if len(shape) == 2 else None
    return Declared(where, shape, array.dtype, lambda: _read(array, path, where).T, columns=columns, mapped=mapped)


def _sparse(file: Any, group: Any, path: Path, where: str) -> Declared:
    def opened(name: str) -> Any:
        return _open(file, f"{group.name}/{name}", where)

    def read() -> Array:
        with _reading(where):
            return found.read()

    with _reading(where):
        found = sparse_matrix(group, opened, lambda array: _read(array, path, where), where)
    return replace(found, read=read)


def _letters(codes: Array) -> Array:
    """Text of each row of letters [rows, letters]."""
    texts = [row.astype("<u2").tobytes().decode("utf-16-le", "replace").rstrip(" ") for row in np.atleast_2d(codes)]
    return np.array(texts, object)


def _cells(file: Any, path: Path, key: str) -> list[Declared]:
    """What the matrices of a MATLAB cell array declare."""
    where = f"{path}: {key}"
    array = _open(file, key, where, cells=True)
    with _reading(where):
        if h5py.check_ref_dtype(array.dtype) is not h5py.Reference:
            raise UserError(f"{where} is one array; a cell array is expected")
        if math.prod(array.shape) > MOST_CELLS:
            raise UserError(
                f"{where} is a cell array of {math.prod(array.shape)} arrays; at most {MOST_CELLS} are read"
            )
        _check_stored(array, path, where)
        found = []
        for number, reference in enumerate(_values(array, where).T.reshape(-1), 1):
            inner = file[reference]
            if is_sparse(inner):
                found.append(_sparse(file, inner, path, f"{where}{{{number}}}"))
                continue
            if not isinstance(inner, h5py.Dataset):
                raise UserError(f"{where}{{{number}}} is no matrix; a full matrix is expected")
            _check_plain(inner, f"{where}{{{number}}}")
            found.append(_declared(inner, path, f"{where}{{{number}}}", True))
        return found


def _inner(file: Any, path: Path) -> tuple[str, ...]:
    """Names of the arrays in groups, the first few of them."""
    found: list[str] = []
    opened = 0

    def look(group: Any, before: str, depth: int) -> None:
        nonlocal opened
        for name in group:
            opened += 1
            if opened > _MOST_INNER or not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            what = group.get(name)
            if is_sparse(what):
                continue
            if isinstance(what, h5py.Dataset) and before and printable(name) == name:
                found.append(before + name)
            elif isinstance(what, h5py.Group) and depth < _DEEPEST and printable(name) == name and name[0] != "#":
                look(what, f"{before}{name}/", depth + 1)

    with _reading(str(path)):
        look(file, "", 1)
    return tuple(found)


def _open(file: Any, key: str, where: str, *, cells: bool = False) -> Any:
    with _reading(where):
        parts = key.strip("/").split("/")
        for depth in range(1, len(parts) + 1):  # a folder on the way may be a link, too
            link = file.get("/".join(parts[:depth]), getlink=True)
            if link is None:
                raise UserError(f"{where}: there is no such array")
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{where} is a link; store the array itself in this file")
        array = file[key]
        if cells and is_sparse(array):
            return array
        if not isinstance(array, h5py.Dataset):
            raise UserError(f"{where} is a {type(array).__name__.lower()}; an array is expected")
        _check_plain(array, where, cells=cells)
        return array


def _check_plain(array: Any, where: str, *, cells: bool = False) -> None:
    """Raises:
    UserError: an array is not stored in this file as plain values; `cells`: references will do.
    """
    if array.is_virtual or array.external:
        raise UserError(f"{where} keeps its data in another file; store the array itself in this file")
    if array.shape is None:
        raise UserError(f"{where} is empty")
    if cells and h5py.check_ref_dtype(array.dtype) is h5py.Reference:
        return
    if array.dtype.kind == "O" and not h5py.check_string_dtype(array.dtype):
        raise UserError(f"{where} holds rows of different lengths or references; store one plain array")


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


def _rows(array: Any, path: Path, where: str, start: int, end: int) -> Array:
    with _reading(where):
        _check_stored(array, path, where)
        return np.asarray(array[start:end])


def _blocks(array: Any, path: Path, where: str) -> Iterator[Array]:
    """All rows in order, so many at a time that a chunk is unpacked once."""
    chunk = array.chunks[0] if array.chunks else 1
    step = chunk * max(1, block_rows(array.dtype.itemsize * math.prod(array.shape[1:])) // chunk)
    for start in range(0, len(array), step):
        yield _rows(array, path, where, start, min(start + step, len(array)))


def _mapped(array: Any, path: Path, where: str) -> Array | None:
    """The array as a map of the file; None where it is not stored as one block of plain numbers."""
    with _reading(where):
        _check_stored(array, path, where)
        offset = array.id.get_offset()
        if offset is None or array.chunks is not None or array.dtype.metadata or not array.ndim:
            return None
        found = map_plain(path, offset, array.shape, array.dtype)
        if found is None or not all(found[at].tobytes() == array[at].tobytes() for at in (0, len(found) - 1)):
            return None  # a driver of HDF5 that keeps its values elsewhere
        return found


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
