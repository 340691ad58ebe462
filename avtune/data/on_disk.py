"""Arrays that stay on disk and are mapped: the system holds in memory what is read of them, and gives it up when memory
is wanted. So features may be larger than the memory.

They are the user's own file, where that holds plain values, or scratch files without a name in the folder that TMPDIR
names, else in /var/tmp (/tmp is often memory). The system removes such a file when the last process that has it open
ends, however it ends. Other processes of this machine open it through /proc.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from avtune.core.errors import StorageError
from avtune.core.system import available_memory, size

Array = npt.NDArray[Any]
SHARE = 8
"""Features of more than this part of the memory that is available stay on disk. A search holds them up to five times:
as read, scaled for the trials and for the retraining, and both once more where engines read them."""
SMALL = 1 << 26
"""Bytes that are always read into memory."""
MOST_PACKED = 1100
"""Bytes that one byte of a file can become: deflate, the strongest filter in use, gives 1032."""
BLOCK_ROWS = 4096
BLOCK_BYTES = 1 << 26
_MOST_FREE = 0.9
"""Part of what a disk has free that an array may take: others need space, too."""


def is_large(nbytes: int) -> bool:
    """Whether features of so many bytes, all arrays of a file together, stay on disk."""
    return nbytes > SMALL and SHARE * nbytes > available_memory()


def block_rows(row_bytes: int) -> int:
    """How many rows to read at a time."""
    return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(row_bytes, 1)))


class Place(NamedTuple):
    """Where a file that can be mapped holds an array in C order: its path, the first byte, shape and dtype."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: str


class _Mapped(np.memmap):
    """A whole array that is mapped.

    Attributes:
        place: by which other processes map it; None where they cannot.
    """

    place: Place | None


def mapped(place: Place) -> Array:
    """The array at a place, read-only."""
    found = _Mapped(place.path, mode="r", offset=place.offset, shape=place.shape, dtype=place.dtype)
    found.place = place
    return np.asarray(found)


def map_plain(
    path: str | Path, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, fortran: bool = False
) -> Array | None:
    """The numbers that a file holds from a byte on; None where they are no plain numbers.

    Raises:
        OSError, ValueError: the file is too short, or cannot be mapped.
    """
    if dtype.kind not in "biuf" or not all(shape):
        return None
    order = shape[::-1] if fortran else shape
    found = mapped(Place(os.path.abspath(path), offset, order, dtype.str))
    return found.T if fortran else found


def is_on_disk(array: Array) -> bool:
    """Whether an array is mapped, whole or in part."""
    return _file_of(array) is not None


def place_of(array: Array) -> Place | None:
    """Where an array lies, for other processes of this machine; None where it is in memory."""
    whole = _file_of(array)
    same = whole is not None and whole.shape == array.shape and whole.strides == array.strides
    return whole.place if whole is not None and same and _address(whole) == _address(array) else None


def room(shape: Sequence[int], *, on_disk: bool) -> npt.NDArray[np.float32]:
    """A float32 array to be filled, in memory or in a scratch file.

    Raises:
        StorageError: there is no space on the disk.
    """
    if not on_disk or not np.prod(shape):
        return np.empty(shape, np.float32)
    nbytes = 4 * int(np.prod([int(one) for one in shape]))
    folder = _folder()
    try:
        if nbytes > _MOST_FREE * shutil.disk_usage(folder).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it is open as long as the array is there
        if hasattr(os, "posix_fallocate"):  # writing to a map of a full disk would end the process
            os.posix_fallocate(file.fileno(), 0, nbytes)
        else:
            file.truncate(nbytes)
    except OSError as error:
        raise _no_space(nbytes, error) from None
    return _scratch(file, tuple(shape))


def _scratch(file: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """The float32 array that a scratch file holds."""
    made = _Mapped(file, mode="r+", shape=shape, dtype=np.float32)
    path = f"/proc/{os.getpid()}/fd/{file.fileno()}"
    made.place = Place(path, 0, shape, np.dtype(np.float32).str) if os.path.exists(path) else None
    weakref.finalize(made, file.close)  # other processes open it by its number, until then
    return np.asarray(made)


def _no_space(nbytes: int, error: OSError) -> StorageError:
    return StorageError(
        f"{_folder()} cannot take {size(nbytes)} of features, which are too large for the memory: "
        f"{error.strerror or error}\nset TMPDIR to a folder on another disk"
    )


def filled(shape: Sequence[int], blocks: Iterable[Array], *, on_disk: bool = True) -> npt.NDArray[np.float32]:
    """An array, on disk or in memory, of blocks of its rows, one after the other, as float32."""
    made, start = room(shape, on_disk=on_disk), 0
    for block in blocks:
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is said where features are checked
            made[start : start + len(block)] = block
        start += len(block)
    assert start == len(made)
    return made


class Rows:
    """Rows of float32 features that come one by one, and nobody knows how many: in memory, and in a scratch file as
    soon as they are large.

    Attributes:
        dims: values of a row; 0 before the first.
    """

    _EVERY = 1024
    """Rows between two looks at the memory."""

    def __init__(self) -> None:
        self.dims, self._count = 0, 0
        self._file: IO[bytes] = io.BytesIO()

    def __len__(self) -> int:
        return self._count

    def add(self, row: npt.NDArray[np.float32]) -> None:
        """One more row [D], of as many values as those before.

        Raises:
            StorageError: there is no space on the disk.
        """
        self.dims = self.dims or len(row)
        assert len(row) == self.dims
        if self._count % self._EVERY == 0 and self.in_memory and is_large(4 * self.dims * self._count):
            self._move()
        try:
            self._file.write(row.tobytes())
        except OSError as error:
            raise _no_space(4 * self.dims * self._count, error) from None
        self._count += 1

    @property
    def in_memory(self) -> bool:
        return isinstance(self._file, io.BytesIO)

    def array(self) -> npt.NDArray[np.float32]:
        """All of them [N, D], once they are all there."""
        shape = (self._count, self.dims)
        if isinstance(self._file, io.BytesIO):
            return np.frombuffer(self._file.getbuffer(), np.float32).reshape(shape)
        self._file.flush()
        return _scratch(self._file, shape)

    def _move(self) -> None:
        assert isinstance(self._file, io.BytesIO)
        held = self._file
        try:
            self._file = tempfile.TemporaryFile(dir=_folder())  # noqa: SIM115 - it is open as long as the array is there
            self._file.write(held.getbuffer())
        except OSError as error:
            raise _no_space(held.tell(), error) from None


def taken(array: Array, rows: npt.NDArray[np.int64]) -> Array:
    """`array[rows]`; of float32 features on disk, on disk."""
    if not is_on_disk(array) or array.dtype != np.float32:
        return np.asarray(array[rows])
    starts = range(0, len(rows), BLOCK_ROWS)
    return filled((len(rows), *array.shape[1:]), (array[rows[at : at + BLOCK_ROWS]] for at in starts))


def copied(array: Array) -> Array:
    """A copy in C order; of features that are mapped and large, a float32 array on disk."""
    if array.ndim != 2 or array.dtype.kind not in "iuf" or not is_large(4 * array.size):
        return np.array(array, order="C", subok=False)
    starts = range(0, len(array), BLOCK_ROWS)
    return filled(array.shape, (array[at : at + BLOCK_ROWS] for at in starts))


def joined(first: Array, second: Array) -> Array:
    """Rows of two arrays, one after the other; of features on disk, on disk."""
    if not (is_on_disk(first) or is_on_disk(second)):
        return np.concatenate([first, second])
    starts = [(one, at) for one in (first, second) for at in range(0, len(one), BLOCK_ROWS)]
    shape = (len(first) + len(second), *first.shape[1:])
    return filled(shape, (one[at : at + BLOCK_ROWS] for one, at in starts))


def _file_of(array: Array) -> _Mapped | None:
    base: Any = array
    while isinstance(base, np.ndarray):
        if isinstance(base, _Mapped) and hasattr(base, "place"):
            return base
        base = base.base
    return None


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _folder() -> Path:
    given = os.environ.get("TMPDIR")
    if given:
        return Path(given).absolute()
    return Path("/var/tmp") if os.access("/var/tmp", os.W_OK) else Path(tempfile.gettempdir())
