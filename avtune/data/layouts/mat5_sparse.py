"""Sparse matrices of MATLAB 5 files, as full ones."""

from __future__ import annotations

from avtune.core.errors import UserError
from avtune.data.arrays import Array
from avtune.data.layouts.mat5_bytes import Bytes, Matrix
from avtune.data.layouts.sparse import check_full, full


def complex_numbers(where: str) -> str:
    """What is wrong with an array of them."""
    return f"{where} holds complex numbers; features are real numbers"


def check_sparse(source: Bytes, matrix: Matrix, where: str) -> None:
    """Raises:
    UserError: a sparse matrix is complex, or see `check_full`.
    """
    if matrix.is_complex:
        raise UserError(complex_numbers(where))
    check_full(matrix.shape, source.stored, where)


def full_values(source: Bytes, matrix: Matrix, most: int, where: str) -> Array:
    """The values of a sparse matrix whose header has been read, with its zeros.

    Raises:
        UserError, ValueError: see `check_sparse`; the places of its values are damaged.
    """
    check_sparse(source, matrix, where)
    rows, starts = (source.numbers(most) for _ in range(2))
    held = int(starts[-1]) if len(starts) else 0
    values = source.numbers(most, flags=max(held, 0) if matrix.is_logical else 0)
    return full(rows, starts, values, matrix.shape)
