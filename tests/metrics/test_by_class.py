"""Retrieval by class, against loops over every pair of clips."""

import numpy as np
import pytest

from avtune.core.errors import UserError
from avtune.metrics.by_class import class_means, confusion, nearest


def similarities(queries, gallery):
    def unit(rows):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(norms > 0, norms, 1)

    return unit(queries) @ unit(gallery).T


def slow_confusion(queries, gallery, labels, classes, k=1):
    counts = np.zeros((classes, classes))
    for query, row in enumerate(similarities(queries, gallery)):
        left = k
        for value in sorted({round(one, 9) for one in row}, reverse=True):
            tied = [clip for clip, one in enumerate(row) if round(one, 9) == value]
            for clip in tied:
                counts[labels[query], labels[clip]] += min(left, len(tied)) / len(tied)
            left -= min(left, len(tied))
    return counts


@pytest.mark.parametrize("grid", [False, True], ids=["without ties", "with ties"])
@pytest.mark.parametrize("block", [None, 50])
@pytest.mark.parametrize("k", [1, 6, 40])
def test_confusion_counts_the_classes_that_are_found_first(monkeypatch, grid, block, k):
    if block is not None:
        monkeypatch.setattr("avtune.metrics.by_class.BLOCK_ITEMS", block)
    draw = np.random.default_rng(0)
    labels = draw.integers(4, size=40)
    audio, visual = draw.normal(size=(2, 40, 3))
    if grid:
        audio, visual = np.sign(audio), np.sign(visual)
    a2v, v2a = confusion(audio, visual, labels, 5, k=k)
    assert a2v == pytest.approx(slow_confusion(audio, visual, labels, 5, k))
    assert v2a == pytest.approx(slow_confusion(visual, audio, labels, 5, k))
    assert a2v.sum(1) == pytest.approx(k * np.bincount(labels, minlength=5)), "every query counts k"
    if grid and k < 40:
        assert (a2v % 1).any()


def test_class_means_are_means_of_the_class():
    draw = np.random.default_rng(1)
    labels, ap = draw.integers(3, size=30), draw.random(30)
    found = class_means(ap, labels, 4)
    assert found[:3] == pytest.approx([ap[labels == one].mean() for one in range(3)])
    assert np.isnan(found[3])


def test_the_nearest_clips_come_in_their_order():
    draw = np.random.default_rng(2)
    audio, visual = draw.normal(size=(2, 12, 4))
    visual[7] = visual[3]
    a2v, v2a = nearest(audio, visual, ([3, 0], [11]), 5)
    for found, row in ((a2v[0], similarities(audio, visual)[3]), (v2a[0], similarities(visual, audio)[11])):
        assert list(found.clips) == sorted(range(12), key=lambda clip: (-round(row[clip], 9), clip))[:5]
    assert [one.query for one in a2v] == [3, 0]
    assert len(nearest(audio[:2], visual[:2], ([0], []), 5)[0][0].clips) == 2


def test_it_refuses_what_scores_refuse():
    with pytest.raises(UserError, match="NaN or infinity"):
        confusion(np.full((2, 2), np.nan), np.ones((2, 2)), [0, 1], 2)
    with pytest.raises(UserError, match="k is 3; allowed: 1 to 2"):
        confusion(np.eye(2), np.eye(2), [0, 1], 2, k=3)
