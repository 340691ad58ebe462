"""Splits of clips that have several labels."""

import numpy as np
import pytest
from lab_files import several

from avtune.core.errors import UserError
from avtune.data.split import validation_folds
from avtune.data.stratify import iterative_stratification, multi_label_parts


def test_each_part_has_its_share_of_every_label():
    labels = several(400, classes=8)
    (fold,) = validation_folds(labels, fraction=0.2, seed=0)
    shares = labels[fold.validation].sum(0) / labels.sum(0)
    np.testing.assert_allclose(shares, 0.2, atol=0.02)
    assert len(fold.validation) == pytest.approx(80, abs=4)
    assert sorted([*fold.fit, *fold.validation]) == list(range(400))
    (again,), (other,) = (validation_folds(labels, fraction=0.2, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(fold.validation, again.validation)
    assert set(fold.validation) != set(other.validation)
    folds = validation_folds(labels, folds=5, seed=0)
    assert sorted(np.concatenate([one.validation for one in folds])) == list(range(400))
    for one in folds:
        np.testing.assert_allclose(labels[one.validation].sum(0) / labels.sum(0), 0.2, atol=0.03)


def test_every_label_is_on_both_sides_however_rare():
    labels = np.zeros((40, 12), bool)
    labels[:, 0] = True
    for label in range(1, 12):
        labels[[2 * label, 2 * label + 1], label] = True
    for seed in range(5):
        (fold,) = validation_folds(labels, fraction=0.1, seed=seed)
        assert labels[fold.validation].any(0).all()
        assert labels[fold.fit].any(0).all()


def test_groups_stay_together():
    labels, groups = several(120), np.arange(120) // 3
    (fold,) = validation_folds(labels, fraction=0.25, seed=0, groups=groups)
    assert not set(groups[fold.validation]) & set(groups[fold.fit])
    np.testing.assert_allclose(labels[fold.validation].sum(0) / labels.sum(0), 0.25, atol=0.05)


def test_splits_that_cannot_be_are_refused():
    labels = np.array([[True, False], [True, True], [True, True], [True, False]])
    with pytest.raises(UserError, match=r"label 1 \(from 0\) is in 2 training clips; 3 folds need 3 of every label"):
        multi_label_parts(labels, None, fraction=None, folds=3, seed=0)
    with pytest.raises(UserError, match=r"label 1 .* is in 1 groups of clips that stay together; a split needs 2"):
        multi_label_parts(labels, np.array([0, 1, 1, 2]), fraction=0.5, folds=None, seed=0)
    with pytest.raises(UserError, match="allowed: above 0 and below 1"):
        multi_label_parts(labels, None, fraction=1.5, folds=None, seed=0)
    # Three labels in two clips each, any two of which share one: one side lacks a label, whatever is moved.
    ring = np.array([[True, True, False], [False, True, True], [True, False, True]])
    with pytest.raises(UserError, match="no split was found with every label on both sides"):
        multi_label_parts(ring, None, fraction=0.34, folds=None, seed=0)


def test_the_rarest_label_is_dealt_out_first():
    """Two clips of label 1: one each, though both have label 0, which there are many of."""
    counts = np.array([[1, 0]] * 6 + [[1, 1]] * 2)
    for seed in range(4):
        parts = iterative_stratification(counts, np.ones(8, int), [0.5, 0.5], np.random.default_rng(seed))
        assert sorted(parts[6:]) == [0, 1]
        assert np.bincount(parts).tolist() == [4, 4]
