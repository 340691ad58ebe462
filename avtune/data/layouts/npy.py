"""A NumPy .npy file: what it declares. It holds one array, without a name."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Container, Declared, failure
from avtune.data.layouts.npz import HEADER_BYTES, NPZ_ERRORS, read_header, read_values
from avtune.data.on_disk import map_plain

MAGIC = b"\x93NUMPY"
ARRAY = "(array)"
"""What the one array is called."""


@contextmanager
def open_npy(path: Path) -> Iterator[Container]:
    """The array of an .npy file under the name `ARRAY`; it can be read while the context is open. Nothing is unpickled.

    Raises:
        UserError: the file is damaged, or holds Python objects.
    """
    with _reading(path):
        declared = _declare(path)
    yield Container(str(path), (ARRAY,), lambda _: declared)


def _declare(path: Path) -> Declared:
    with _reading(path), path.open("rb") as file:
        head = io.BytesIO(file.read(HEADER_BYTES))
        shape, dtype, fortran = read_header(head, str(path))
    declared = Declared(
        str(path),
        shape,
        dtype,
        lambda: _read(path),
        mapped=lambda: map_plain(path, head.tell(), shape, dtype, fortran=fortran),
    )
    stored = path.stat().st_size - head.tell()
    if stored != declared.size_bytes:
        raise UserError(f"{path} declares {declared.size_bytes} bytes and the file holds {stored}; it is damaged")
    return declared


def _read(path: Path) -> Array:
    with _reading(path), path.open("rb") as stream:
        return read_values(stream)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns what NumPy raises into a sentence."""
    try:
        yield
    except UserError:
        raise
    except NPZ_ERRORS as error:
        raise UserError(f"{path} {failure(error)}") from error
