"""Sorting the rows of a key matrix, fast.

NumPy's vectorised sort is a register-resident network up to 512 32-bit values and a quicksort above. On some AVX-512
machines (AMD Zen 4, where compress-stores are slow) the quicksort costs ten times the network per value. There,
columnsort (Leighton, "Tight bounds on the complexity of parallel sorting", IEEE Trans. Computers 34(4), 1985), four
rounds of short sorts with a transposition between them, is three times faster; elsewhere the plain sort wins. Both give
the same result, so the choice is measured once per process.
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
import numpy.typing as npt

LONGEST_NETWORK = 512
"""Rows of at most this many 32-bit values are sorted without partitioning (x86-simd-sort, as NumPy ships it)."""


def sorted_width(num_columns: int) -> int:
    """The row width, at least `num_columns`, that `sort_rows` wants 32-bit keys padded to; pad with the largest key."""
    num_runs, run = _runs(num_columns)
    return num_runs * run if num_runs > 1 and columnsort_pays() else num_columns


def sort_rows(keys_QG: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Sorts every row in ascending order. `keys_QG` [Q, G] is C-contiguous and is overwritten; the result may be it.

    Columnsort when it is faster here and G is a `sorted_width`, else the plain sort."""
    num_runs, run = _runs(keys_QG.shape[1])
    if num_runs > 1 and num_runs * run == keys_QG.shape[1] and columnsort_pays():
        return columnsort(keys_QG, num_runs)
    keys_QG.sort(axis=-1)
    return keys_QG


def columnsort(keys_QG: npt.NDArray[Any], num_runs: int) -> npt.NDArray[Any]:
    """Sorts every row by columnsort with `num_runs` runs of r = G / num_runs keys, r even and at least 2 num_runs^2.

    Why it is right: dealing a sorted run round-robin gives every new run the same number of its small keys, give or
    take one. So the numbers of keys below any value differ by at most num_runs between the new runs, and once these are
    sorted and read across, every key is within num_runs^2 <= r / 2 of its place.

    Overwrites `keys_QG` [Q, G], returns a new array."""
    num_rows, width = keys_QG.shape
    run = width // num_runs
    assert run * num_runs == width
    assert run % 2 == 0
    assert run >= 2 * num_runs**2
    keys_QG.reshape(num_rows, num_runs, run).sort(axis=-1)
    dealt = np.ascontiguousarray(keys_QG.reshape(num_rows, run, num_runs).swapaxes(1, 2))
    dealt.sort(axis=-1)
    # No key is more than half a run from its place now: sort the runs, then runs shifted by half.
    nearly = np.ascontiguousarray(dealt.swapaxes(1, 2)).reshape(num_rows, num_runs, run)
    nearly.sort(axis=-1)
    flat = nearly.reshape(num_rows, width)
    flat[:, run // 2 : width - run // 2].reshape(num_rows, num_runs - 1, run).sort(axis=-1)
    return flat


@functools.cache
def columnsort_pays() -> bool:
    """Whether columnsort beats the plain sort of 4,096 32-bit keys on this machine (measured, about 2 ms)."""
    keys = np.random.default_rng(0).integers(0, 2**31, (8, 4096), dtype=np.int32)

    def seconds(sort: Any) -> float:
        best = float("inf")
        for _ in range(4):
            copy = keys.copy()
            start = time.perf_counter()
            sort(copy)
            best = min(best, time.perf_counter() - start)
        return best

    return seconds(lambda rows: columnsort(rows, 8)) < seconds(lambda rows: rows.sort(axis=-1))


def _runs(num_columns: int) -> tuple[int, int]:
    """(number of runs, run length) for columnsort of at least `num_columns` keys; (1, num_columns) when one network
    sorts them, or when there are too many."""
    num_runs = -(-num_columns // LONGEST_NETWORK)
    if num_runs == 1 or 2 * num_runs**2 > LONGEST_NETWORK:
        return 1, num_columns
    return num_runs, max(-(-num_columns // (2 * num_runs)) * 2, 2 * num_runs**2)
