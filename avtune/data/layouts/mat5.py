"""MATLAB 5 files (`save -v6`, `-v7`, scipy.io.savemat): what they declare, and their matrices.

`scipy.io.loadmat` is not used: it allocates what a header claims before it looks at the file (a cell array of a few
bytes takes all memory), follows cells in cells until the stack is full, and leaves checksums unread. What is read here
are real matrices, full or sparse, text, cell arrays of these, and the matrices in a struct. Source: MAT-File Format,
The MathWorks, 2019.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Container, Declared, failure, printable
from avtune.data.layouts.mat5_bytes import TYPES, Bytes, Matrix
from avtune.data.layouts.mat5_sparse import check_sparse, complex_numbers, full_values
from avtune.data.on_disk import MOST_PACKED, block_rows, map_plain

MAGIC = b"MATLAB 5.0 MAT-file"
MOST_CELLS = 100_000
_HEADER = 128
_MATRIX, _PACKED = 14, 15
_CLASSES = {1: "a cell array", 2: "a struct", 3: "an object", 16: "a function", 17: "an object"}
_CELL, _STRUCT, _TEXT, _SPARSE = 1, 2, 4, 5
_LONGEST_FIELD = 64  # of a struct: 63 letters and a zero
_ERRORS = (OSError, ValueError, struct.error, zlib.error, OverflowError, MemoryError)

_Found = tuple[Bytes, Matrix, int]
"""The bytes behind the header of a matrix, the header, and how many bytes it can have at most."""


@contextmanager
def open_mat5(path: Path) -> Iterator[Container]:
    """The matrices of a MATLAB 5 file; they can be declared and read while the context is open.

    Raises:
        UserError: the file is damaged, or an array that is declared or read is of a kind that is not read.
    """
    with _reading(str(path)), path.open("rb") as file:
        found = _File(path, file)
    yield Container(str(path), tuple(found.places), found.declare, inner=found.inner, cells=found.cells)


class _File:
    """A MATLAB 5 file: where each of its arrays begins."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.size = path, path.stat().st_size
        head = file.read(_HEADER)
        self.swap = {b"IM": "<", b"MI": ">"}.get(head[126:128], "")
        if not self.swap:
            raise ValueError("its header has no mark of the byte order")
        self.places: dict[str, tuple[int, int, bool]] = {}
        at = _HEADER
        while at + 8 <= self.size:
            file.seek(at)
            kind, size = struct.unpack(f"{self.swap}II", file.read(8))
            if at + 8 + size > self.size:
                raise ValueError("it ends in the middle of an array")
            if kind in (_MATRIX, _PACKED):
                self._add(file, at, size, kind == _PACKED)
            at += 8 + size + (0 if kind == _PACKED else -size % 8)

    def _add(self, file: BinaryIO, at: int, size: int, packed: bool) -> None:
        source = Bytes(file, size, packed=packed, swap=self.swap)
        if packed and source.tag()[0] != _MATRIX:
            return
        name = printable(source.matrix().name)
        if name in self.places:
            raise ValueError(f"it holds {name} twice")
        if name:  # what objects leave has none
            self.places[name] = (at, size, packed)

    @contextmanager
    def _at(self, key: str) -> Iterator[_Found]:
        """The array of a name."""
        if key not in self.places:
            raise UserError(f"{self.path}: {key}: there is no such array")
        at, size, packed = self.places[key]
        with _reading(f"{self.path}: {key}"), self.path.open("rb") as file:
            file.seek(at + 8)
            source = Bytes(file, size, packed=packed, swap=self.swap)
            if packed:
                source.tag()
            yield source, source.matrix(), size * (MOST_PACKED if packed else 1)

    def inner(self) -> tuple[str, ...]:
        """Names of the matrices in structs, `STRUCT/FIELD`."""
        found: list[str] = []
        for key in self.places:
            with self._at(key) as (_, matrix, _most):
                is_struct = matrix.kind == _STRUCT and math.prod(matrix.shape) == 1
            if is_struct:
                with suppress(UserError):  # said where one of its arrays is declared
                    found += [name for name, _ in self._fields(key)]
        return tuple(found)

    def declare(self, key: str) -> Declared:
        """What an array declares; a cell array of texts counts as an array of texts."""
        outer = key.partition("/")[0]
        if key not in self.places and outer in self.places:
            with _reading(f"{self.path}: {key}"):
                for name, found in self._fields(outer):
                    if name == key:
                        return self._declared(found, outer, key)
        with self._at(key) as found:
            if found[1].kind != _CELL:
                return self._declared(found, key, None)
        inner, where = self.cells(key), f"{self.path}: {key}"
        if not inner or not all(one.dtype.kind == "O" for one in inner):
            kind = "of matrices" if inner else "without cells"
            raise UserError(f"{where} is a cell array {kind}; one matrix is expected")
        return Declared(where, (len(inner),), np.dtype(object), lambda: np.concatenate([one.read() for one in inner]))

    def cells(self, key: str) -> list[Declared]:
        """What the matrices of a cell array declare."""
        with _reading(f"{self.path}: {key}"):
            return [self._declared(found, key, name) for name, found in self._cells(key)]

    def _declared(self, found: _Found, key: str, part: str | None) -> Declared:
        """What a matrix declares, whose header has been read; see `_part`."""
        where = f"{self.path}: {part or key}"
        source, matrix, most = found

        def read() -> Array:
            with self._part(key, part) as again:
                return _values(*again, where)

        def columns() -> Iterator[Array]:
            with self._part(key, part) as again:
                yield from _columns(*again, where)

        if matrix.kind == _SPARSE:
            check_sparse(source, matrix, where)
            return Declared(where, matrix.shape, np.dtype(float), read)
        dtype, _, inside = _storage(source, matrix, most, where)
        if matrix.kind == _TEXT:
            return Declared(where, matrix.shape[:1], np.dtype(object), read)
        place = None if inside is not None else source.place()

        def mapped() -> Array | None:
            return None if place is None else map_plain(self.path, place, matrix.shape, dtype, fortran=True)

        flat = len(matrix.shape) == 2
        return Declared(where, matrix.shape, dtype, read, columns=columns if flat else None, mapped=mapped)

    @contextmanager
    def _part(self, key: str, part: str | None) -> Iterator[_Found]:
        """The array of a name, or the part of it that is called `part`, behind its header. What follows is read too, so
        that the checksum is seen."""
        with _reading(f"{self.path}: {part or key}"):
            if part is None:
                with self._at(key) as found:
                    yield found
            else:
                for name, found in self._fields(key) if "/" in part else self._cells(key):
                    if name == part:
                        yield found
            found[0].end()

    def _fields(self, key: str) -> Iterator[tuple[str, _Found]]:
        """The matrices of a struct, by name."""
        with self._at(key) as (source, matrix, most):
            if matrix.kind != _STRUCT or math.prod(matrix.shape) != 1:
                raise UserError(f"{self.path}: {key} is no single struct")
            length = int.from_bytes(source.part(4)[1][:4], "little" if self.swap == "<" else "big")
            if not 0 < length <= _LONGEST_FIELD:
                raise ValueError(f"the names of its fields have {length} letters")
            letters = source.part(_LONGEST_FIELD * 4096)[1]
            names = [letters[at : at + length].split(b"\0")[0] for at in range(0, len(letters), length)]
            yield from self._each(source, most, [f"{key}/{printable(one.decode('utf-8', 'replace'))}" for one in names])

    def _cells(self, key: str) -> Iterator[tuple[str, _Found]]:
        """The matrices of a cell array in their order, by name."""
        with self._at(key) as (source, matrix, most):
            count = math.prod(matrix.shape)
            if matrix.kind != _CELL:
                raise UserError(f"{self.path}: {key} is one array; a cell array is expected")
            if count > min(MOST_CELLS, most // 8):
                raise UserError(f"{self.path}: {key} is a cell array of {count} arrays; at most {MOST_CELLS} are read")
            yield from self._each(source, most, [f"{key}{{{number}}}" for number in range(1, count + 1)])

    def _each(self, source: Bytes, most: int, names: Sequence[str]) -> Iterator[tuple[str, _Found]]:
        """The matrices that follow one another in a cell array or struct."""
        for name in names:
            kind, size, _ = source.tag()
            end = source.position + size
            if kind != _MATRIX or not size:
                raise ValueError(f"{name} is empty or damaged")
            yield name, (source, source.matrix(), most)
            source.skip(end - source.position)


def _storage(source: Bytes, matrix: Matrix, most: int, where: str) -> tuple[np.dtype[Any], int, bytes | None]:
    """The dtype and size of a matrix's values, and the values where they are in their tag.

    Raises:
        UserError: the matrix is of a kind that is not read.
        ValueError: it declares more than there can be.
    """
    if matrix.kind in _CLASSES:
        raise UserError(f"{where} is {_CLASSES[matrix.kind]}; a matrix is expected")
    if matrix.is_complex:
        raise UserError(complex_numbers(where))
    kind, size, inside = source.tag()
    if kind not in TYPES or size > most:
        raise ValueError(f"it declares {size} bytes of the type {kind}")
    dtype = np.dtype(source.swap + TYPES[kind])
    if matrix.kind != _TEXT and size != math.prod(matrix.shape) * dtype.itemsize:
        raise ValueError(f"it declares the shape {matrix.shape} and holds {size} bytes")
    return dtype, size, inside


def _values(source: Bytes, matrix: Matrix, most: int, where: str) -> Array:
    """The values of a matrix whose header has been read; of text an object array of one `str` a row."""
    if matrix.kind == _SPARSE:
        return full_values(source, matrix, most, where)
    dtype, size, inside = _storage(source, matrix, most, where)
    data = source.read(size) if inside is None else inside
    if inside is None:
        source.skip(-size % 8)
    if matrix.kind != _TEXT:
        return np.frombuffer(data, dtype).reshape(matrix.shape, order="F")
    code = "utf-8" if dtype.itemsize == 1 else {"<": "utf-16-le", ">": "utf-16-be"}[source.swap]
    letters = np.array(list(data.decode(code)), object)
    rows = letters.reshape(matrix.shape[0], -1, order="F") if matrix.shape[0] else letters.reshape(0, 0)
    return np.array(["".join(row).rstrip(" ") for row in rows], object)


def _columns(source: Bytes, matrix: Matrix, most: int, where: str) -> Iterator[Array]:
    """The columns of a matrix [N, D] whose header has been read, some at a time, as rows [columns, N]."""
    dtype, size, inside = _storage(source, matrix, most, where)
    height, width = matrix.shape
    step = block_rows(height * dtype.itemsize)
    for start in range(0, width, step):
        many = min(step, width - start)
        data = source.read(many * height * dtype.itemsize) if inside is None else inside
        yield np.frombuffer(data, dtype).reshape(many, height)
    if inside is None:
        source.skip(-size % 8)


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns what a damaged file raises into a sentence."""
    try:
        yield
    except UserError:
        raise
    except _ERRORS as error:
        raise UserError(f"{where} {failure(error)}") from error
