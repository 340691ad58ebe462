"""Precision, recall and the precision-recall curve against their definitions."""

import numpy as np
import pytest

from avtune.errors import UserError
from avtune.metrics import precision_recall

KS = (1, 2, 7, 30)


def slow(similarity, labels):
    """Per query by loops: precision and recall at KS, and the interpolated precision at 101 levels."""
    precision, recall, curve = [], [], []
    for query, label in enumerate(labels):
        order = np.argsort(-similarity[query], kind="stable")
        relevant = [bool(labels[g] == label) for g in order]
        total = sum(relevant)
        precision.append([sum(relevant[:k]) / k for k in KS])
        recall.append([sum(relevant[:k]) / total for k in KS])
        points = [(sum(relevant[:k]), sum(relevant[:k]) / k) for k in range(1, len(labels) + 1)]
        curve.append([max(p for hits, p in points if 100 * hits >= level * total) for level in range(101)])
    return [np.mean(rows, axis=0) for rows in (precision, recall, curve)]


@pytest.mark.parametrize("tied", [False, True])
def test_equals_the_definitions(tied: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 30)
    audio, visual = rng.standard_normal((2, 30, 5))
    if tied:
        audio, visual = np.eye(5)[rng.integers(0, 5, (2, 30))]
    unit_audio, unit_visual = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (audio, visual))
    found = precision_recall(audio, visual, labels, ks=KS, exact=True)
    a2v, v2a = slow(unit_audio @ unit_visual.T, labels), slow(unit_visual @ unit_audio.T, labels)
    np.testing.assert_allclose([found.precision_a2v, found.recall_a2v], a2v[:2], atol=1e-12)
    np.testing.assert_allclose([found.precision_v2a, found.recall_v2a], v2a[:2], atol=1e-12)
    np.testing.assert_allclose([found.curve_a2v, found.curve_v2a], [a2v[2], v2a[2]], atol=1e-12)
    assert found.ks == KS


def test_perfect_retrieval_and_levels() -> None:
    labels = np.repeat(np.arange(4), 10)
    found = precision_recall(np.eye(4)[labels], np.eye(4)[labels], labels, ks=[1, 10, 20])
    assert found.precision_a2v.tolist() == [1, 1, 0.5]
    assert found.recall_a2v.tolist() == pytest.approx([0.1, 1, 1])
    assert (found.curve_v2a == 1).all()
    assert found.levels[[0, 1, 50, 100]].tolist() == [0, 0.01, 0.5, 1]


def test_curve_never_rises_and_recall_never_falls() -> None:
    rng = np.random.default_rng(0)
    found = precision_recall(*rng.standard_normal((2, 50, 3)), rng.integers(0, 4, 50), ks=range(1, 51))
    assert (np.diff(found.curve_a2v) <= 0).all()
    assert (np.diff(found.recall_a2v) >= 0).all()
    assert found.recall_v2a[-1] == 1


@pytest.mark.parametrize("k", [0, 6])
def test_cut_off_outside_the_gallery_is_told(k: int) -> None:
    with pytest.raises(UserError, match=f"k is {k}; allowed: 1 to 5"):
        precision_recall(np.ones((5, 2)), np.ones((5, 2)), np.zeros(5, int), ks=[1, k])
