"""NumPy .npz files: what they declare."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Container, Declared, failure, printable
from avtune.data.layouts.kinds import kind_of_zip

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
HEADER_BYTES = 16384  # NumPy itself reads headers of up to 10,000 characters
MOST_PACKED = 1100  # bytes that one compressed byte can become: deflate gives 1032


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
        shape, dtype = read_header(head, where)
        declared = Declared(where, shape, dtype, lambda: _read(file, member, where))
        stored = about.file_size - head.tell()
        if stored != declared.size_bytes:
            raise UserError(f"{where} declares {declared.size_bytes} bytes and the file holds {stored}; it is damaged")
        return declared


def read_header(head: io.BytesIO, where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array in .npy format, from its first bytes; `head` then stands where its values begin.

    Raises:
        UserError: it is of a format of later NumPy, or of an array of Python objects.
        Exception: one of `NPZ_ERRORS`, where it is damaged.
    """
    version = np.lib.format.read_magic(head)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(head)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(head)
    else:
        raise UserError(f"{where} is in .npy format {version[0]}.{version[1]}; save it again with numpy.savez")
    if dtype.hasobject:
        raise UserError(f"{where} holds Python objects, which are never read; save it as numbers or text")
    return shape, dtype


def _read(file: zipfile.ZipFile, member: str, where: str) -> Array:
    with _reading(where), file.open(member) as stream:
        array: Array = np.lib.format.read_array(stream, allow_pickle=False)
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
