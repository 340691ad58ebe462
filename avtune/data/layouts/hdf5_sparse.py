"""Sparse matrices of MATLAB 7.3 files, as full ones: a group of `data`, `ir` and `jc` with the number of rows as its
attribute `MATLAB_sparse`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Declared
from avtune.data.layouts.sparse import check_full, full

_ROWS = "MATLAB_sparse"


def is_sparse(found: Any) -> bool:
    """Whether something in a MATLAB file is a sparse matrix."""
    return isinstance(found, h5py.Group) and _ROWS in found.attrs


def sparse_matrix(group: Any, opened: Callable[[str], Any], read: Callable[[Any], Array], where: str) -> Declared:
    """What a sparse matrix declares.

    Args:
        opened: opens one of its arrays by name, or raises UserError where it is no plain array.
        read: reads one.

    Raises:
        UserError: it holds no numbers, or is so sparse that it would fill the memory.
    """
    starts = opened("jc")
    held = [opened(name) for name in ("ir", "data")] if "data" in group else []  # both are left out where all is zero
    if any(one.dtype.kind not in "biuf" for one in (starts, *held)):
        raise UserError(f"{where} holds complex numbers or none; features are real numbers")
    shape = int(group.attrs[_ROWS]), starts.size - 1
    if min(shape) < 0:
        raise ValueError(f"it declares the shape {shape}")
    check_full(shape, sum(one.id.get_storage_size() for one in (starts, *held)), where)

    def values() -> Array:
        rows, numbers = (read(one) for one in held) if held else (np.zeros(0), np.zeros(0))
        return full(rows, read(starts), numbers, shape)

    return Declared(where, shape, np.dtype(float), values)
