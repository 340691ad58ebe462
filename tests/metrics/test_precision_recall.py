"""Precision, recall and the precision-recall curve against their definitions."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_scores import mean_over_orders, ties

from avtune.core.errors import UserError
from avtune.metrics import precision_recall

KS = (1, 2, 7, 30)


def slow(similarity, labels):
    """Per query by loops: precision and recall at KS, and the interpolated precision at 101 levels. The relevant items
    of a tie count evenly at its ranks, in exact fractions."""
    precision, recall, curve = [], [], []
    for query, label in enumerate(labels):
        ranking = ties(similarity[query].round(9).tolist(), (labels == label).tolist())
        share = [Fraction(sum(tie), len(tie)) for tie in ranking for _ in tie]
        hits = list(itertools.accumulate(share))
        precision.append([float(hits[k - 1] / k) for k in KS])
        recall.append([float(hits[k - 1] / hits[-1]) for k in KS])
        points = [(found / hits[-1], float(found / k)) for k, found in enumerate(hits, 1)]
        curve.append([max(p for r, p in points if r >= Fraction(level, 100)) for level in range(101)])
    return [np.mean(rows, axis=0) for rows in (precision, recall, curve)]


@pytest.mark.parametrize("kind", ["random", "one-hot", "collapsed"])
def test_equals_the_definitions(kind: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 30)
    audio, visual = rng.standard_normal((2, 30, 5))
    if kind != "random":
        audio, visual = np.eye(5)[rng.integers(0, 5 if kind == "one-hot" else 1, (2, 30))]
    unit_audio, unit_visual = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (audio, visual))
    found = precision_recall(audio, visual, labels, ks=KS, exact=True)
    a2v, v2a = slow(unit_audio @ unit_visual.T, labels), slow(unit_visual @ unit_audio.T, labels)
    np.testing.assert_allclose([found.precision_a2v, found.recall_a2v], a2v[:2], atol=1e-12)
    np.testing.assert_allclose([found.precision_v2a, found.recall_v2a], v2a[:2], atol=1e-12)
    np.testing.assert_allclose([found.curve_a2v, found.curve_v2a], [a2v[2], v2a[2]], atol=1e-12)
    assert found.ks == KS


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_precision_at_k_is_the_mean_over_every_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    audio, visual = np.eye(3)[rng.integers(0, 3, (2, 7))]
    labels = rng.integers(0, 2, 7)
    found = precision_recall(audio, visual, labels, ks=range(1, 8), exact=True)
    rankings = [ties(row.tolist(), (labels == label).tolist()) for row, label in zip(audio @ visual.T, labels)]  # noqa: B905
    expected = [mean_over_orders(one, lambda order: np.cumsum(order) / np.arange(1, 8)) for one in rankings]
    np.testing.assert_allclose(found.precision_a2v, np.mean(expected, axis=0), atol=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_clips_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    audio, visual = np.eye(3)[rng.integers(0, 3, (2, 40))]
    labels, shuffled = rng.integers(0, 3, 40), rng.permutation(40)
    before = precision_recall(audio, visual, labels, exact=True)
    after = precision_recall(audio[shuffled], visual[shuffled], labels[shuffled], exact=True)
    for name in ("precision_a2v", "recall_v2a", "curve_a2v", "curve_v2a"):
        np.testing.assert_allclose(getattr(before, name), getattr(after, name), atol=1e-12)


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
