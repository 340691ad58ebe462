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


def slow_confusion(queries, gallery, labels, classes):
    counts = np.zeros((classes, classes))
    for query, row in enumerate(similarities(queries, gallery)):
        first = [clip for clip, value in enumerate(row) if value > max(row) - 1e-9]
        for clip in first:
            counts[labels[query], labels[clip]] += 1 / len(first)
    return counts


@pytest.mark.parametrize("grid", [False, True], ids=["without ties", "with ties"])
@pytest.mark.parametrize("block", [None, 50])
def test_confusion_counts_the_class_that_is_found_first(monkeypatch, grid, block):
    if block is not None:
        monkeypatch.setattr("avtune.metrics.by_class.BLOCK_ITEMS", block)
    draw = np.random.default_rng(0)
    labels = draw.integers(4, size=40)
    audio, visual = draw.normal(size=(2, 40, 3))
    if grid:
        audio, visual = np.sign(audio), np.sign(visual)
    a2v, v2a = confusion(audio, visual, labels, 5)
    assert a2v == pytest.approx(slow_confusion(audio, visual, labels, 5))
    assert v2a == pytest.approx(slow_confusion(visual, audio, labels, 5))
    assert a2v.sum(1) == pytest.approx(np.bincount(labels, minlength=5)), "every query counts once"
    if grid:
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
