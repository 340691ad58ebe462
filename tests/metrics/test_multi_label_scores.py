"""Scores where clips have several labels, against double loops; with one label a clip they are those of numbers."""

import numpy as np
import pytest
from slow_scores import mean_ap, ties

from avtune.core.errors import UserError
from avtune.core.relevance import relevance
from avtune.metrics import average_precision, precision_recall, query_kinds, ranking, retrieval_scores
from avtune.metrics.by_class import class_means, confusion, queries_by_class
from avtune.metrics.hits import hits


def several_labels(count, classes, seed=0):
    draw = np.random.default_rng(seed)
    labels = draw.random((count, classes)) < 0.3
    labels[np.arange(count), draw.integers(0, classes, count)] = True
    return labels


def shares_a_label(one, other):
    return any(a and b for a, b in zip(one.tolist(), other.tolist(), strict=True))


@pytest.mark.parametrize(("values", "dtype"), [(3, np.float32), (10**6, np.float32), (3, np.float64)])
def test_average_precision_is_that_of_a_double_loop(monkeypatch, values, dtype):
    monkeypatch.setattr(ranking, "SORT_ITEMS", 200)
    monkeypatch.setattr(query_kinds, "COUNT_ITEMS", 200)
    queries, gallery = several_labels(23, 5), several_labels(41, 5, seed=1)
    queries[3] = False  # nothing is relevant to it
    similarity = np.random.default_rng(2).integers(-values, values + 1, (23, 41)) / values
    similarity = similarity.astype(dtype)
    expected = [
        mean_ap(ties(row.tolist(), [shares_a_label(query, item) for item in gallery]))
        for row, query in zip(similarity, queries, strict=True)
    ]
    np.testing.assert_allclose(np.transpose(average_precision(similarity, queries, gallery, 1)), expected, atol=1e-12)


def test_one_column_a_class_is_the_number_of_the_column():
    draw = np.random.default_rng(0)
    audio, visual, numbers = draw.normal(size=(40, 6)), draw.normal(size=(40, 6)), draw.integers(0, 4, 40)
    columns = np.eye(4, dtype=bool)[numbers]
    one, other = (retrieval_scores(audio, visual, labels, exact=True) for labels in (numbers, columns))
    for name in ("ap_a2v", "ap_v2a", "ap_running_a2v"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)
    for score in (precision_recall, hits):
        one, other = (score(audio, visual, labels, ks=[1, 7]) for labels in (numbers, columns))
        for name, value in vars(one).items():
            np.testing.assert_allclose(value, getattr(other, name), rtol=1e-12)
    tables = [confusion(audio, visual, labels, 4, k=3) for labels in (numbers, columns)]
    np.testing.assert_allclose(*tables)
    np.testing.assert_array_equal(queries_by_class(numbers, 4), queries_by_class(columns, 4))


def test_precision_recall_and_hits_by_a_double_loop():
    draw, count = np.random.default_rng(3), 25
    audio, visual, labels = draw.normal(size=(count, 4)), draw.normal(size=(count, 4)), several_labels(count, 6)
    cosines = (audio / np.linalg.norm(audio, axis=1)[:, None]) @ (visual / np.linalg.norm(visual, axis=1)[:, None]).T
    precision, recall, hit = [], [], []
    for query in range(count):
        order = sorted(range(count), key=lambda clip: -cosines[query, clip])
        relevant = [shares_a_label(labels[query], labels[clip]) for clip in order]
        precision.append(sum(relevant[:5]) / 5)
        recall.append(sum(relevant[:5]) / sum(relevant))
        hit.append(any(relevant[:5]))
    found = precision_recall(audio, visual, labels, ks=[5])
    assert found.precision_a2v == pytest.approx(np.mean(precision))
    assert found.recall_a2v == pytest.approx(np.mean(recall))
    assert hits(audio, visual, labels, ks=[5]).hit_rate_a2v == pytest.approx(np.mean(hit))


def test_a_query_counts_for_each_of_its_classes():
    labels = np.array([[True, True, False], [False, True, False], [True, False, False]])
    np.testing.assert_allclose(class_means([0.2, 0.4, 1.0], labels, 3), [0.6, 0.3, np.nan])
    clips = np.eye(3)
    table, _ = confusion(clips, clips, labels, 3)  # each query finds itself
    np.testing.assert_allclose(table, [[1.25, 0.25, 0], [0.25, 1.25, 0], [0, 0, 0]])
    np.testing.assert_allclose(table.sum(1), queries_by_class(labels, 3))


def test_relevance_has_leading_axes():
    labels = several_labels(7, 3)
    both = relevance(np.stack([labels, labels[::-1]]), np.stack([labels, labels[::-1]]))
    np.testing.assert_array_equal(both[1], both[0][::-1, ::-1])
    assert both[0].diagonal().all()


def test_a_clip_without_a_label_is_refused():
    clips, labels = np.eye(3), np.array([[True, False], [False, False], [False, True]])
    with pytest.raises(UserError, match="1 of 3 clips have no label, the first in row 1"):
        retrieval_scores(clips, clips, labels)
