"""Features [clips, time, dims], or with more axes between, as [clips, dims]: their mean, maximum or standard
deviation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from avtune.core.errors import UserError
from avtune.data.arrays import Array, Declared
from avtune.data.on_disk import filled

BLOCK_BYTES = 1 << 26
_HOW: dict[str, Callable[[Array], Array]] = {
    "mean": lambda x: x.mean(axis=1, dtype=np.float64),
    "max": lambda x: x.max(axis=1),
    "std": lambda x: x.std(axis=1, dtype=np.float64),
}


def pooled(declared: Declared, pool: Sequence[str]) -> Declared:
    """Features [N, ..., D] pooled over all axes between the first and the last: [N, D * len(pool)], in the order of
    `pool`. Where the file can be mapped or read in blocks of rows, no more than a block of it is in memory.

    Raises:
        UserError: there are no axes to pool over.
    """
    shape = declared.shape
    if len(shape) < 3:
        raise UserError(f"{declared.where} has shape {shape}, which has no axis to pool over; leave --pool out")
    made = (shape[0], shape[-1] * len(pool))
    in_parts = declared.rows is not None or declared.blocks is not None or declared.mapped() is not None
    return replace(
        declared,
        shape=made,
        dtype=np.dtype(np.float32),
        read=lambda: filled(made, _blocks(declared, pool), on_disk=False),
        rows=None,
        blocks=(lambda: _blocks(declared, pool)) if in_parts else None,
        columns=None,
        mapped=lambda: None,
    )


def _blocks(declared: Declared, pool: Sequence[str]) -> Iterator[Array]:
    """The rows of the result in order, some at a time."""
    dims = declared.shape[-1]
    for block in _parts(declared):
        block = block.reshape(len(block), -1, dims)
        made = np.empty((len(block), dims * len(pool)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is said where features are checked
            for place, name in enumerate(pool):
                made[:, place * dims : (place + 1) * dims] = _HOW[name](block)
        yield made


def _parts(declared: Declared) -> Iterator[Array]:
    """The rows of an array in order, some at a time, in the way that takes the least memory."""
    count = declared.shape[0]
    each = max(math.prod(declared.shape[1:]) * max(declared.dtype.itemsize, 8), 1)
    step = max(BLOCK_BYTES // each, 1)
    if declared.rows is not None:
        yield from (declared.rows(start, min(start + step, count)) for start in range(0, count, step))
        return
    whole = declared.mapped()
    if whole is None and declared.blocks is not None:
        yield from declared.blocks()
        return
    whole = declared.read() if whole is None else whole
    yield from (whole[start : start + step] for start in range(0, count, step))
