"""Opens named arrays, in whichever of the known formats: a file of HDF5, MATLAB 5 or 7.3, .npz or .npy, or a folder of
files of one array each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py

from avtune.core.errors import UserError, choices, did_you_mean
from avtune.data.arrays import Container, Declared
from avtune.data.dataset import SIX_KEYS
from avtune.data.layouts.hdf5 import open_hdf5
from avtune.data.layouts.kinds import HEAD_BYTES, kind_of
from avtune.data.layouts.mat5 import MAGIC as MAT5
from avtune.data.layouts.mat5 import open_mat5
from avtune.data.layouts.npy import MAGIC as NPY
from avtune.data.layouts.npy import open_npy
from avtune.data.layouts.npz import open_npz

ARRAY_SUFFIXES = (".mat", ".npy", ".h5", ".hdf5")
"""Of the files that a folder of arrays is made of."""


@contextmanager
def open_arrays(path: Path, wanted: Sequence[str], *, single: bool = False) -> Iterator[Container]:
    """The named arrays of a file or folder, whichever of our formats it has; they can be declared and read while it is
    open. The arrays of a folder are called as its files, without suffix.

    Args:
        wanted: the keys that its reader needs, for messages.
        single: also an .npy file, whose one array is called `npy.ARRAY`.

    Raises:
        UserError: there is no such file, it is of another kind, or it cannot be read.
    """
    if os.path.isdir(path):
        with _open_folder(path) as container:
            yield container
        return
    head = head_of(path)
    if head[:2] == b"PK":
        opened = open_npz(path, wanted)
    elif head.startswith(MAT5):
        opened = open_mat5(path)
    elif single and head.startswith(NPY):
        opened = open_npy(path)
    elif h5py.is_hdf5(path):
        opened = open_hdf5(path)
    else:
        kind = kind_of(path, head, wanted)
        known = "HDF5, .mat, .npz nor .npy" if single else "HDF5, .mat nor .npz"
        raise UserError(f"{path} {kind or f'is neither {known}: it begins with {head[:8]!r}; it may be damaged'}")
    with opened as container:
        yield container


def head_of(path: Path) -> bytes:
    """The first `HEAD_BYTES` bytes of a file.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is no regular file")
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(_no_such_file(path)) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def is_arrays(path: Path) -> bool:
    """Whether it is a file of a format that `open_arrays` opens; an .npy file is none."""
    if not path.is_file():
        return False
    head = head_of(path)
    return head[:2] == b"PK" or head.startswith(MAT5) or bool(h5py.is_hdf5(path))


@contextmanager
def _open_folder(folder: Path) -> Iterator[Container]:
    """The arrays of a folder, one a file; a file is opened when its array is asked for."""
    files: dict[str, list[Path]] = {}
    for file in files_of(folder):
        if file.suffix in ARRAY_SUFFIXES:
            files.setdefault(file.stem, []).append(file)
    with ExitStack() as opened:

        def container_of(stem: str) -> tuple[Container, str]:
            if stem not in files:
                raise UserError(f"{folder} has no {stem}{did_you_mean(stem, files)}")
            if len(files[stem]) > 1:
                raise UserError(f"{folder} has {choices(file.name for file in files[stem])}; leave one of them there")
            inside = opened.enter_context(open_arrays(files[stem][0], (stem,), single=True))
            if stem in inside.keys:
                return inside, stem
            if len(inside.keys) != 1:
                raise UserError(
                    f"{files[stem][0]} holds {', '.join(inside.keys[:8]) or 'nothing'}; one array is expected"
                )
            return inside, inside.keys[0]

        def declare(stem: str) -> Declared:
            inside, key = container_of(stem)
            return inside.declare(key)

        yield Container(str(folder), tuple(files), declare)


def keys_of(path: Path) -> frozenset[str]:
    """Names of the arrays at the root of a file of arrays, or of the files of a folder of arrays; none where it is of
    another kind.

    Raises:
        UserError: it is damaged.
    """
    if os.path.isdir(path):
        return frozenset(file.stem for file in files_of(path) if file.suffix in ARRAY_SUFFIXES)
    if not is_arrays(path):
        return frozenset()
    with open_arrays(path, SIX_KEYS) as container:
        return frozenset(container.keys)


def files_of(folder: Path) -> list[Path]:
    """What lies in a folder, by name, but for what is hidden.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        return sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def _no_such_file(path: Path) -> str:
    if not os.path.isdir(path.parent):
        return f"{path}: there is no folder {path.parent}"
    try:
        names = os.listdir(path.parent)
    except OSError:
        names = []  # a folder that may be entered and not listed: no hint
    return f"{path}: no such file{did_you_mean(path.name, names)}"


def read_names(declared: Declared) -> list[str]:
    """Names of classes, one text each.

    Raises:
        UserError: it is something else.
    """
    array = declared.read()
    if array.ndim != 1 or array.dtype.kind not in "SUO":
        raise UserError(f"{declared.where} must be one text a class")
    try:
        return [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in array]
    except UnicodeDecodeError as error:
        raise UserError(f"{declared.where} is not UTF-8 text") from error


def class_names_of(container: Container, used: Sequence[str] = ()) -> Declared | None:
    """The array `class_names` of a file, where it has one."""
    return container.declare("class_names") if "class_names" in container.keys and "class_names" not in used else None
