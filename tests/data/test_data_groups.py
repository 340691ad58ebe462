"""Rows that stay on one side of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avtune.core.errors import UserError
from avtune.data.groups import row_digests, together
from avtune.data.split import validation_folds


def test_equal_rows_and_groups_hang_together() -> None:
    x = np.arange(16, dtype=np.float32).reshape(8, 2)
    assert together((x, x)) is None
    assert together((x, x), np.arange(8) * 5) is None
    y = x.copy()
    y[5] = y[1]
    assert together((x, y)) is None, "equal in one view only"
    both = together((y, y))
    assert both is not None
    assert [int(both[row] == both[1]) for row in range(8)] == [0, 1, 0, 0, 0, 1, 0, 0]
    joined = together((y, y), np.array([0, 1, 2, 3, 4, 5, 5, 2]))  # 5 equals 1 and is in the group of 6
    assert joined is not None
    sets = {frozenset(np.flatnonzero(joined == one).tolist()) for one in joined}
    assert sets == {frozenset({0}), frozenset({1, 5, 6}), frozenset({2, 7}), frozenset({3}), frozenset({4})}
    zero = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, 1.0]], np.float32)
    assert together((zero, zero)) is not None, "-0.0 equals 0.0"


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 0.6), folds=st.integers(2, 4))
def test_groups_are_whole_and_every_class_is_on_both_sides(seed: int, share: float, folds: int) -> None:
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(40), draw.integers(1, 5, 40))
    labels = (groups % 4).astype(np.int64)
    for how in ({"fraction": share}, {"folds": folds}):
        made = validation_folds(labels, seed=seed, groups=groups, **how)  # type: ignore[arg-type]
        for fold in made:
            assert sorted([*fold.fit, *fold.validation]) == list(range(len(labels)))
            assert not set(groups[fold.fit]) & set(groups[fold.validation])
            assert set(labels[fold.fit]) == set(labels[fold.validation]) == {0, 1, 2, 3}
            again = validation_folds(labels, seed=seed, groups=groups, **how)  # type: ignore[arg-type]
            np.testing.assert_array_equal(again[0].validation, made[0].validation)
        if "fraction" in how:
            assert abs(len(made[0].validation) / len(labels) - share) < 0.15


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("rare", [2, 3, 5])
def test_a_rare_class_does_not_decide_the_share(share: float, rare: int) -> None:
    """Of 300 rows one pair stays together, and a class has few: about the share that is asked for is set aside."""
    labels, groups = np.where(np.arange(300) < rare, 2, np.arange(300) % 2), np.arange(300)
    groups[102] = 100
    (fold,) = validation_folds(labels, fraction=share, seed=0, groups=groups)
    assert abs(len(fold.validation) - 300 * share) <= 4
    assert set(labels[fold.validation]) == set(labels[fold.fit]) == {0, 1, 2}


def test_a_split_of_few_rows_in_groups() -> None:
    labels, groups = np.arange(12) % 3, np.arange(12)
    groups[11] = 8
    (fold,) = validation_folds(labels, fraction=0.1, seed=0, groups=groups)
    assert 3 <= len(fold.validation) <= 4


def test_lone_rows_are_split_as_without_groups() -> None:
    labels = np.arange(40) % 4
    alone = validation_folds(labels, fraction=0.25, seed=3)[0]
    grouped = validation_folds(labels, fraction=0.25, seed=3, groups=np.arange(40) * 7)[0]
    np.testing.assert_array_equal(alone.fit, grouped.fit)
    np.testing.assert_array_equal(alone.validation, grouped.validation)


@pytest.mark.parametrize(
    ("how", "groups", "said"),
    [
        ({"fraction": 0.25}, [0, 0, 1, 1, 2, 3, 4, 5], r"class 0 \(from 0\) are in 1 group, which stay together"),
        ({"folds": 3}, [0, 1, 2, 2, 3, 4, 5, 5], r"3 folds need 3 groups of every class"),
        ({"fraction": 1.5}, [0, 1, 2, 2, 3, 4, 5, 5], "a split fraction of 1.5"),
        ({"folds": 1}, [0, 1, 2, 2, 3, 4, 5, 5], "1 folds; allowed"),
    ],
)
def test_groups_that_cannot_be_split(how: Any, groups: list[int], said: str) -> None:
    labels = np.array([0, 0, 1, 1, 1, 1, 1, 1]) if said.startswith("class") else np.array([0, 0, 0, 0, 1, 1, 1, 1])
    given_groups = np.array(groups) if not said.startswith("class") else np.array([0, 0, 1, 1, 2, 3, 4, 5])
    if "3 folds" in said:
        given_groups = np.array([0, 0, 1, 1, 3, 4, 5, 5])
    with pytest.raises(UserError, match=said):
        validation_folds(labels, seed=0, groups=given_groups, **how)


def test_a_signalling_nan_is_no_warning() -> None:
    view = np.zeros((4, 3), np.float32)
    view.view(np.uint32)[1, 1] = 0x7F800001  # warnings are errors
    assert len(set(row_digests((view, view)))) == 2
