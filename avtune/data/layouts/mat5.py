"""MATLAB 5 files (`save -v6`, `-v7`, scipy.io.savemat): what they declare, and their matrices.

`scipy.io.loadmat` is not used: it allocates what a header claims before it looks at the file (a cell array of a few
bytes takes all memory), follows cells in cells until the stack is full, and leaves checksums unread. What is read here
are full real matrices, text, and cell arrays of these. Source: MAT-File Format, The MathWorks, 2019.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Container, Declared, failure, printable

MAGIC = b"MATLAB 5.0 MAT-file"
MOST_PACKED = 1100  # bytes that one compressed byte can become: deflate gives 1032
MOST_CELLS = 100_000
_HEADER = 128
_CHUNK = 1 << 16
_MATRIX, _PACKED = 14, 15
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
    16: "u1",
    17: "u2",
}
_CLASSES = {2: "a struct", 3: "an object", 5: "a sparse matrix", 16: "a function", 17: "an object"}
_CELL, _TEXT, _SPARSE = 1, 4, 5
_ERRORS = (OSError, ValueError, struct.error, zlib.error, OverflowError, MemoryError)


@contextmanager
def open_mat5(path: Path) -> Iterator[Container]:
    """The matrices of a MATLAB 5 file; they can be declared and read while the context is open.

    Raises:
        UserError: the file is damaged, or an array that is declared or read is of a kind that is not read.
    """
    with _reading(str(path)), path.open("rb") as file:
        found = _File(path, file)
    yield Container(str(path), tuple(found.places), found.declare, cells=found.cells)


@dataclass(frozen=True)
class _Matrix:
    """The header of a matrix: class, shape, and whether it is complex."""

    kind: int
    shape: tuple[int, ...]
    name: str
    is_complex: bool


class _Bytes:
    """The bytes of one element of a file, unpacked as they are read."""

    def __init__(self, file: BinaryIO, size: int, *, packed: bool, swap: str) -> None:
        self._file, self._left = file, size
        self._unpack, self._rest = (zlib.decompressobj() if packed else None), b""
        self.swap, self.position = swap, 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes, all of them."""
        parts = []
        while count:
            part = self._next(min(count, _CHUNK))
            if not part:
                raise ValueError("it ends too early")
            parts.append(part)
            count -= len(part)
            self.position += len(part)
        return b"".join(parts)

    def _next(self, most: int) -> bytes:
        if self._unpack is None:
            part = self._file.read(min(most, self._left))
            self._left -= len(part)
            return part
        while not self._unpack.eof:
            if not self._rest:
                self._rest = self._file.read(min(_CHUNK, self._left))
                self._left -= len(self._rest)
            given, part = bool(self._rest), self._unpack.decompress(self._rest, most)
            self._rest = self._unpack.unconsumed_tail
            if part or not given:
                return part
        return b""

    def skip(self, count: int) -> None:
        """Leaves out the next `count` bytes."""
        while count:
            count -= len(self.read(min(count, _CHUNK)))

    def end(self) -> None:
        """Reads the checksum of what was packed, which must end here."""
        if self._unpack is not None and (self._next(64) or not self._unpack.eof):
            raise ValueError("it is longer than it declares")

    def tag(self) -> tuple[int, int, bytes | None]:
        """Type and size of the next part, and its bytes where they are in the tag itself."""
        first, size = struct.unpack(f"{self.swap}II", head := self.read(8))
        if not first >> 16:
            return first, size, None
        return first & 0xFFFF, first >> 16, head[4 : 4 + (first >> 16)]

    def part(self, most: int) -> tuple[int, bytes]:
        """Type and bytes of the next part, which has `most` bytes at most."""
        kind, size, inside = self.tag()
        if inside is not None:
            return kind, inside
        if size > most:
            raise ValueError(f"a part of its header has {size} bytes")
        found = self.read(size)
        self.skip(-size % 8)
        return kind, found

    def matrix(self) -> _Matrix:
        """The header of a matrix whose tag has been read."""
        flags = struct.unpack(f"{self.swap}I", self.part(8)[1][:4])[0]
        dims = self.part(4 * 32)[1]
        shape = struct.unpack(f"{self.swap}{len(dims) // 4}i", dims[: len(dims) // 4 * 4])
        name = self.part(4096)[1].decode("utf-8", "backslashreplace")
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError(f"it declares the shape {shape}")
        return _Matrix(flags & 0xFF, shape, name, bool(flags & 0x800))


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
        source = _Bytes(file, size, packed=packed, swap=self.swap)
        if packed and source.tag()[0] != _MATRIX:
            return
        name = printable(source.matrix().name)
        if name in self.places:
            raise ValueError(f"it holds {name} twice")
        if name:  # what objects leave has none
            self.places[name] = (at, size, packed)

    @contextmanager
    def _at(self, key: str) -> Iterator[tuple[_Bytes, _Matrix, int]]:
        """The array of a name, behind its header, and how many bytes it can have at most."""
        if key not in self.places:
            raise UserError(f"{self.path}: {key}: there is no such array")
        at, size, packed = self.places[key]
        with _reading(f"{self.path}: {key}"), self.path.open("rb") as file:
            file.seek(at + 8)
            source = _Bytes(file, size, packed=packed, swap=self.swap)
            if packed:
                source.tag()
            yield source, source.matrix(), size * (MOST_PACKED if packed else 1)

    def declare(self, key: str) -> Declared:
        """What an array declares; a cell array of texts counts as an array of texts."""
        where = f"{self.path}: {key}"
        with self._at(key) as (source, matrix, most):
            if matrix.kind != _CELL:
                return _declared(source, matrix, most, where, lambda: self._read(key))
        inner = self.cells(key)
        if not inner or not all(one.dtype.kind == "O" for one in inner):
            kind = "of matrices" if inner else "without cells"
            raise UserError(f"{where} is a cell array {kind}; one matrix is expected")
        return Declared(where, (len(inner),), np.dtype(object), lambda: np.concatenate([one.read() for one in inner]))

    def cells(self, key: str) -> list[Declared]:
        """What the matrices of a cell array declare."""
        with _reading(f"{self.path}: {key}"):
            return [
                _declared(source, matrix, most, where, partial(self._read_cell, key, number))
                for number, source, matrix, most, where in self._walk(key)
            ]

    def _walk(self, key: str) -> Iterator[tuple[int, _Bytes, _Matrix, int, str]]:
        """The matrices of a cell array in their order: place, bytes behind the header, header, most bytes, name."""
        with self._at(key) as (source, matrix, most):
            count = math.prod(matrix.shape)
            if matrix.kind != _CELL:
                raise UserError(f"{self.path}: {key} is one array; a cell array is expected")
            if count > min(MOST_CELLS, most // 8):
                raise UserError(f"{self.path}: {key} is a cell array of {count} arrays; at most {MOST_CELLS} are read")
            for number in range(count):
                kind, size, _ = source.tag()
                end = source.position + size
                if kind != _MATRIX or not size:
                    raise ValueError(f"its cell {number + 1} is empty or damaged")
                yield number, source, source.matrix(), most, f"{self.path}: {key}{{{number + 1}}}"
                source.skip(end - source.position)

    def _read(self, key: str) -> Array:
        with self._at(key) as (source, matrix, most):
            array = _values(source, matrix, most, f"{self.path}: {key}")
            source.end()
            return array

    def _read_cell(self, key: str, wanted: int) -> Array:
        with _reading(f"{self.path}: {key}{{{wanted + 1}}}"):
            for number, source, matrix, most, where in self._walk(key):
                if number == wanted:
                    array = _values(source, matrix, most, where)
            return array


def _declared(source: _Bytes, matrix: _Matrix, most: int, where: str, read: Callable[[], Array]) -> Declared:
    """What a matrix declares, whose header has been read."""
    dtype = _storage(source, matrix, most, where)[0]
    if matrix.kind == _TEXT:
        return Declared(where, matrix.shape[:1], np.dtype(object), read)
    return Declared(where, matrix.shape, dtype, read)


def _storage(source: _Bytes, matrix: _Matrix, most: int, where: str) -> tuple[np.dtype[Any], int, bytes | None]:
    """The dtype and size of a matrix's values, and the values where they are in their tag.

    Raises:
        UserError: the matrix is of a kind that is not read.
        ValueError: it declares more than there can be.
    """
    if matrix.kind in _CLASSES or matrix.kind == _CELL:
        called = _CLASSES.get(matrix.kind, "a cell array")
        hint = f"; write it full in MATLAB: {matrix.name} = full({matrix.name})" if matrix.kind == _SPARSE else ""
        raise UserError(f"{where} is {called}; a full matrix is expected{hint}")
    if matrix.is_complex:
        raise UserError(f"{where} holds complex numbers; features are real numbers")
    kind, size, inside = source.tag()
    if kind not in _TYPES or size > most:
        raise ValueError(f"it declares {size} bytes of the type {kind}")
    dtype = np.dtype(source.swap + _TYPES[kind])
    if matrix.kind != _TEXT and size != math.prod(matrix.shape) * dtype.itemsize:
        raise ValueError(f"it declares the shape {matrix.shape} and holds {size} bytes")
    return dtype, size, inside


def _values(source: _Bytes, matrix: _Matrix, most: int, where: str) -> Array:
    """The values of a matrix whose header has been read; of text an object array of one `str` a row."""
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


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns what a damaged file raises into a sentence."""
    try:
        yield
    except UserError:
        raise
    except _ERRORS as error:
        raise UserError(f"{where} {failure(error)}") from error
