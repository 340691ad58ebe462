"""The elements of MATLAB 5 files, unpacked as they are read; `mat5` reads arrays from them. Source: MAT-File Format,
The MathWorks, 2019."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from avtune.data.arrays import Array

CHUNK = 1 << 16
TYPES = {
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
"""Dtypes of numbers and letters, by the type of an element."""


@dataclass(frozen=True)
class Matrix:
    """The header of a matrix: class, shape, name, and what its values are."""

    kind: int
    shape: tuple[int, ...]
    name: str
    is_complex: bool
    is_logical: bool = False


class Bytes:
    """The bytes of one element of a file, unpacked as they are read."""

    def __init__(self, file: BinaryIO, size: int, *, packed: bool, swap: str) -> None:
        self._file, self._left, self.stored = file, size, size
        self._unpack, self._rest = (zlib.decompressobj() if packed else None), b""
        self.swap, self.position = swap, 0

    def read(self, count: int) -> bytes:
        """The next `count` bytes, all of them."""
        parts = []
        while count:
            part = self._next(min(count, CHUNK))
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
                self._rest = self._file.read(min(CHUNK, self._left))
                self._left -= len(self._rest)
            given, part = bool(self._rest), self._unpack.decompress(self._rest, most)
            self._rest = self._unpack.unconsumed_tail
            if part or not given:
                return part
        return b""

    def place(self) -> int | None:
        """Where in the file the next byte is; None where it is packed."""
        return None if self._unpack is not None else self._file.tell()

    def skip(self, count: int) -> None:
        """Leaves out the next `count` bytes."""
        while count:
            count -= len(self.read(min(count, CHUNK)))

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

    def numbers(self, most: int, *, flags: int = 0) -> Array:
        """The numbers of the next part, which has `most` bytes at most.

        Args:
            flags: there are so many values of true and false: MATLAB writes those of a sparse matrix as bytes, and
                calls them doubles.
        """
        kind, size, inside = self.tag()
        if kind not in TYPES or size > most:
            raise ValueError(f"it declares {size} bytes of the type {kind}")
        data = self.read(size) if inside is None else inside
        if inside is None:
            self.skip(-size % 8)
        dtype = np.dtype(self.swap + TYPES[kind])
        return np.frombuffer(data, "u1" if flags and len(data) < flags * dtype.itemsize else dtype)

    def matrix(self) -> Matrix:
        """The header of a matrix whose tag has been read."""
        flags = struct.unpack(f"{self.swap}I", self.part(8)[1][:4])[0]
        dims = self.part(4 * 32)[1]
        shape = struct.unpack(f"{self.swap}{len(dims) // 4}i", dims[: len(dims) // 4 * 4])
        name = self.part(4096)[1].decode("utf-8", "backslashreplace")
        if len(shape) < 2 or min(shape) < 0:
            raise ValueError(f"it declares the shape {shape}")
        return Matrix(flags & 0xFF, shape, name, bool(flags & 0x800), bool(flags & 0x200))
