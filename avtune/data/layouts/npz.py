"""NumPy .npz files: what they declare."""

from __future__ import annotations

import io
import math
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Container, Declared, failure, printable
from avtune.data.layouts.kinds import kind_of_zip
from avtune.data.on_disk import MOST_PACKED, block_rows, map_plain

# What zipfile, zlib and NumPy raise on damaged, encrypted or unknown members.
NPZ_ERRORS = (
    OSError,
    KeyError,
    RuntimeError,
    ValueError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
_CHUNK = 1 << 20
HEADER_BYTES = 16384  # NumPy itself reads headers of up to 10,000 characters


@contextmanager
def open_npz(path: Path, wanted: Sequence[str]) -> Iterator[Container]:
    """The arrays of an .npz file; they can be declared and read while the context is open. Nothing is unpickled.

    Args:
        wanted: the keys that its reader needs, for messages.

    Raises:
        UserError: the file is damaged or another kind of zip archive, or an array that is declared or read holds Python
            objects.
    """
    with _reading(str(path)):
        file = zipfile.ZipFile(path)
    with file:
        keys = tuple(printable(name.removesuffix(".npy")) for name in file.namelist() if name.endswith(".npy"))
        if not keys:
            raise UserError(f"{path} {kind_of_zip(path, file.namelist(), wanted)}")
        size = path.stat().st_size
        yield Container(str(path), keys, lambda key: _declare(file, size, f"{key}.npy", f"{path}: {key}"))


def _declare(file: zipfile.ZipFile, size: int, member: str, where: str) -> Declared:
    with _reading(where):
        about = file.getinfo(member)
        if about.flag_bits & 1:
            raise UserError(f"{where} is encrypted; unpack the file with its password and write the arrays again")
        if about.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"{where} is compressed in an unusual way; save it again with numpy.savez")
        if about.file_size > MOST_PACKED * (min(about.compress_size, size) + 1):
            raise UserError(f"{where} declares {about.file_size} bytes and the file cannot hold so many; it is damaged")
        with file.open(member) as stream:
            head = io.BytesIO(stream.read(HEADER_BYTES))
        shape, dtype, fortran = read_header(head, where)
        start, turned = head.tell(), fortran and len(shape) == 2

        def mapped() -> Array | None:
            if about.compress_type != zipfile.ZIP_STORED or not file.filename:
                return None
            with _reading(where):
                _check_sum(file, member)
                return map_plain(file.filename, _data_start(file, about) + start, shape, dtype, fortran=fortran)

        declared = Declared(
            where,
            shape,
            dtype,
            lambda: _read(file, member, where),
            blocks=None if fortran else lambda: _blocks(file, member, start, shape, dtype, where),
            columns=(lambda: _blocks(file, member, start, shape[::-1], dtype, where)) if turned else None,
            mapped=mapped,
        )
        stored = about.file_size - start
        if stored != declared.size_bytes:
            raise UserError(f"{where} declares {declared.size_bytes} bytes and the file holds {stored}; it is damaged")
        return declared


def _check_sum(file: zipfile.ZipFile, member: str) -> None:
    """Reads a member to its end, where zipfile compares the checksum: what is mapped is never read through it. About a
    second a gigabyte, beside all else that is done with features.

    Raises:
        zipfile.BadZipFile: they differ.
    """
    with file.open(member) as stream:
        while stream.read(_CHUNK):
            pass


def _data_start(file: zipfile.ZipFile, about: zipfile.ZipInfo) -> int:
    """Where the bytes of a member begin: after its local header, which is 30 bytes, a name and an extra field."""
    assert file.fp is not None
    before = file.fp.tell()
    file.fp.seek(about.header_offset + 26)
    name, extra = struct.unpack("<HH", file.fp.read(4))
    file.fp.seek(before)
    return int(about.header_offset + 30 + name + extra)


def _blocks(
    file: zipfile.ZipFile, member: str, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], where: str
) -> Iterator[Array]:
    """The rows of an array in C order, or the columns of one in Fortran order, unpacked some at a time."""
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    step = block_rows(row_bytes)
    with _reading(where), file.open(member) as stream:
        stream.read(start)
        for first in range(0, shape[0], step):
            rows = min(step, shape[0] - first)
            yield np.frombuffer(stream.read(rows * row_bytes), dtype).reshape(rows, *shape[1:])


def read_header(head: io.BytesIO, where: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape and dtype of an array in .npy format, and whether it is in Fortran order, from its first bytes; `head` then
    stands where its values begin.

    Raises:
        UserError: it is of a format of later NumPy, or of an array of Python objects.
        Exception: one of `NPZ_ERRORS`, where it is damaged.
    """
    version = np.lib.format.read_magic(head)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(head)
    else:
        raise UserError(f"{where} is in .npy format {version[0]}.{version[1]}; save it again with numpy.savez")
    if dtype.hasobject:
        raise UserError(f"{where} holds Python objects, which are never read; save it as numbers or text")
    return shape, dtype, fortran


def _read(file: zipfile.ZipFile, member: str, where: str) -> Array:
    with _reading(where), file.open(member) as stream:
        return read_values(stream)


def read_values(stream: IO[bytes]) -> Array:
    """The array of an .npy stream.

    Raises:
        ValueError: it is damaged, or holds letters that there are not: Python ends in an error of its own on them.
    """
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    if array.dtype.kind == "U" and array.size:
        letters = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if letters.size and letters.max() > sys.maxunicode:
            raise ValueError("it holds letters that there are not")
    return array


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns what zipfile and NumPy raise into a sentence."""
    try:
        yield
    except UserError:
        raise
    except NPZ_ERRORS as error:
        raise UserError(f"{where} {failure(error)}") from error
