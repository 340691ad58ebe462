"""Columnsort against NumPy's own sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.metrics import row_sort


@pytest.mark.parametrize(("num_runs", "run"), [(2, 8), (3, 18), (4, 34), (11, 512), (12, 480), (16, 512)])
def test_columnsort_sorts(num_runs: int, run: int) -> None:
    rng = np.random.default_rng(num_runs)
    width = num_runs * run
    rows = [
        rng.integers(-(2**31), 2**31, width),
        rng.integers(0, 3, width),
        np.arange(width),
        np.arange(width)[::-1],
        np.arange(width) % run,
        np.sort(rng.integers(0, 9, width))[::-1],
    ]
    keys = np.array(rows, dtype=np.int32)
    np.testing.assert_array_equal(row_sort.columnsort(keys.copy(), num_runs), np.sort(keys, axis=-1))


@given(st.integers(0, 2**32 - 1), st.integers(0, 136))
@settings(deadline=None, max_examples=50)
def test_columnsort_sorts_zeros_and_ones(seed: int, num_ones: int) -> None:
    """A sort that only compares is right if it is right on zeros and ones."""
    ones = np.arange(136) < num_ones
    keys = np.random.default_rng(seed).permuted(np.tile(ones, (50, 1)), axis=1).astype(np.int32)
    assert (row_sort.columnsort(keys, 4) == ones[::-1]).all()


@pytest.mark.parametrize("shape", [(5, 51), (4, 30), (3, 16)])
def test_columnsort_refuses_shapes_it_cannot_sort(shape: tuple[int, int]) -> None:
    with pytest.raises(AssertionError):
        row_sort.columnsort(np.zeros((1, shape[0] * shape[1]), np.int32), shape[0])


@pytest.mark.parametrize("pays", [True, False])
@pytest.mark.parametrize("num_columns", [1, 2, 511, 512, 513, 1000, 2817, 5621, 8192, 8193])
def test_sort_rows(monkeypatch: pytest.MonkeyPatch, num_columns: int, pays: bool) -> None:
    monkeypatch.setattr(row_sort, "columnsort_pays", lambda: pays)
    width = row_sort.sorted_width(num_columns)
    assert width >= num_columns
    assert width == num_columns or (pays and width < 1.25 * num_columns)
    keys = np.random.default_rng(0).integers(-9, 9, (3, width)).astype(np.int32)
    np.testing.assert_array_equal(row_sort.sort_rows(keys.copy()), np.sort(keys, axis=-1))


def test_runs_are_always_ones_that_columnsort_can_sort() -> None:
    for num_columns in range(1, 9000):
        num_runs, run = row_sort._runs(num_columns)
        assert num_runs * run >= num_columns
        if num_runs > 1:
            assert run % 2 == 0
            assert 2 * num_runs**2 <= run <= row_sort.LONGEST_NETWORK
            assert row_sort._runs(num_runs * run) == (num_runs, run)
