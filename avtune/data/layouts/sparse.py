"""Sparse matrices as MATLAB keeps them, by columns, as full ones."""

from __future__ import annotations

import math

import numpy as np

from avtune.core.errors import UserError
from avtune.core.system import size
from avtune.data.arrays import Array
from avtune.data.on_disk import MOST_PACKED, SMALL


def check_full(shape: tuple[int, ...], stored: int, where: str) -> None:
    """Raises:
    UserError: a matrix of which a file has so many bytes is so sparse that it would fill the memory.
    """
    needed = math.prod(shape) * np.dtype(float).itemsize
    if len(shape) != 2 or needed > MOST_PACKED * stored + SMALL:
        raise UserError(
            f"{where} is a sparse matrix of shape {shape}, which would take {size(needed)}, and the file has "
            f"{size(stored)} of it; keep the columns that are used"
        )


def full(rows: Array, starts: Array, values: Array, shape: tuple[int, ...]) -> Array:
    """The matrix [N, D], float64, with its zeros.

    Args:
        rows: of each value.
        starts: where in `rows` and `values` each column begins, and where the last one ends: D + 1.
        values: may be followed by others that do not count.

    Raises:
        ValueError: they do not go together.
    """
    height, width = shape
    rows, starts = rows.reshape(-1).astype(np.int64), starts.reshape(-1).astype(np.int64)
    values, counts = values.reshape(-1), np.diff(starts)
    held = int(starts[-1]) if len(starts) == width + 1 and starts[0] == 0 else -1
    if not 0 <= held <= min(len(rows), len(values)) or (counts < 0).any():
        raise ValueError("the places of its values are damaged")
    if held and not 0 <= rows[:held].min() <= rows[:held].max() < height:
        raise ValueError("the places of its values are damaged")
    made = np.zeros(shape, order="F")
    made[rows[:held], np.repeat(np.arange(width), counts)] = values[:held]
    return made
