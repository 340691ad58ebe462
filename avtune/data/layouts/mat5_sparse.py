"""Sparse matrices of MATLAB 5 files, as full ones."""

from __future__ import annotations

import math

import numpy as np

from avtune.core.errors import UserError
from avtune.core.system import size
from avtune.data.arrays import Array
from avtune.data.layouts.mat5_bytes import Bytes, Matrix
from avtune.data.on_disk import MOST_PACKED, SMALL


def complex_numbers(where: str) -> str:
    """What is wrong with an array of them."""
    return f"{where} holds complex numbers; features are real numbers"


def check_sparse(source: Bytes, matrix: Matrix, where: str) -> None:
    """Raises:
    UserError: a sparse matrix is complex, or so sparse that a small file would fill the memory.
    """
    if matrix.is_complex:
        raise UserError(complex_numbers(where))
    needed = math.prod(matrix.shape) * np.dtype(float).itemsize
    if len(matrix.shape) != 2 or needed > MOST_PACKED * source.stored + SMALL:
        raise UserError(
            f"{where} is a sparse matrix of shape {matrix.shape}, which would take {size(needed)}, and the file has "
            f"{size(source.stored)} of it; keep the columns that are used"
        )


def full_values(source: Bytes, matrix: Matrix, most: int, where: str) -> Array:
    """The values of a sparse matrix whose header has been read, with its zeros.

    Raises:
        UserError, ValueError: see `check_sparse`; the places of its values are damaged.
    """
    check_sparse(source, matrix, where)
    rows, starts = (source.numbers(most).astype(np.int64) for _ in range(2))
    height, width = matrix.shape
    counts, held = np.diff(starts), int(starts[-1]) if len(starts) == width + 1 and starts[0] == 0 else -1
    values = source.numbers(most, flags=max(held, 0) if matrix.is_logical else 0)
    if not 0 <= held <= min(len(rows), len(values)) or (counts < 0).any():
        raise ValueError("the places of its values are damaged")
    if held and not 0 <= rows[:held].min() <= rows[:held].max() < height:
        raise ValueError("the places of its values are damaged")
    full = np.zeros(matrix.shape, order="F")
    full[rows[:held], np.repeat(np.arange(width), counts)] = values[:held]
    return full
