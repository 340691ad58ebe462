"""MAP@R, MAP@k and NDCG against loops over every query and every order of ties, and against other libraries."""

import itertools
from importlib.util import find_spec

import numpy as np
import pytest
from slow_scores import mean_over_orders, slow_ap_at, slow_ap_at_r, slow_ndcg, ties

from avtune.core.errors import UserError
from avtune.metrics import average_precision, cutoffs
from avtune.metrics.cutoffs import cutoff_scores
from avtune.metrics.directions import Direction
from avtune.metrics.graded import graded_ndcg

KS = (1, 2, 5)


def direction(similarity, query_labels, gallery_labels):
    found = np.asarray(similarity)
    return Direction(lambda rows: found[rows], np.asarray(query_labels), np.asarray(gallery_labels), np.arange(0))


def slow(similarity, query_labels, gallery_labels):
    """By query and by name, by the definitions; the mean over every order of every tie."""
    rows = []
    for near, label in zip(np.asarray(similarity).tolist(), query_labels, strict=True):
        ranking = ties(near, [label == other for other in gallery_labels])

        def mean(score, ranking=ranking):
            return float(mean_over_orders(ranking, score))

        rows.append(
            {
                "ap_at_r": mean(slow_ap_at_r),
                "ndcg": mean(slow_ndcg),
                "ap_at_k": [mean(lambda one, k=k: slow_ap_at(one, k, "min")) for k in KS],
                "ap_found_at_k": [mean(lambda one, k=k: slow_ap_at(one, k, "found")) for k in KS],
                "ndcg_at_k": [mean(lambda one, k=k: slow_ndcg(one, k)) for k in KS],
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def check(similarity, query_labels, gallery_labels):
    found = cutoff_scores(direction(similarity, query_labels, gallery_labels), KS, threads=1)
    for name, expected in slow(similarity, query_labels, gallery_labels).items():
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_are_what_the_definitions_say(dtype):
    draw = np.random.default_rng(0)
    check(draw.uniform(-1, 1, (12, 20)).astype(dtype), draw.integers(5, size=12), draw.integers(4, size=20))


@pytest.mark.parametrize("seed", range(12))
def test_ties_count_by_the_mean_over_their_orders(seed):
    """Queries without a relevant item are among them, ties within the cut-off, beyond it and across it."""
    draw = np.random.default_rng(seed)
    values = int(draw.integers(1, 4))
    similarity = (draw.integers(-values, values + 1, (4, 7)) / values).astype([np.float32, np.float64][seed % 2])
    check(similarity, draw.integers(3, size=4), draw.integers(2, size=7))


def test_both_directions_and_their_names():
    draw = np.random.default_rng(0)
    views, labels = draw.normal(size=(2, 30, 4)), draw.integers(4, size=30)
    found = cutoffs(*views, labels, ks=KS, exact=True)
    unit = views / np.linalg.norm(views, axis=2, keepdims=True)
    for way, (query, gallery) in (("a2v", unit), ("v2a", unit[::-1])):
        expected = {name: rows.mean(axis=0) for name, rows in slow(query @ gallery.T, labels, labels).items()}
        for name, values in expected.items():
            got = getattr(found, f"{name.replace('ap_', 'map_')}_{way}")
            assert got == pytest.approx(values, abs=1e-12), (name, way)
    assert found.ks == KS
    with pytest.raises(UserError, match="k is 31; allowed: 1 to 30"):
        cutoffs(*views, labels, ks=[31])


def test_at_a_cut_off_beyond_all_relevant_items_both_map_at_k_are_map():
    draw = np.random.default_rng(1)
    similarity, labels = draw.integers(0, 4, (30, 30)) / 4, draw.integers(4, size=30)
    found = cutoff_scores(direction(similarity, labels, labels), [30])
    ap, _ = average_precision(similarity, labels, labels)
    np.testing.assert_allclose(found.ap_at_k[:, 0], ap, atol=1e-12)
    np.testing.assert_allclose(found.ap_found_at_k[:, 0], ap, atol=1e-12)


# --- graded relevance


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_graded_ndcg_is_the_mean_over_every_order(seed, dtype):
    draw = np.random.default_rng(seed)
    near = (draw.integers(0, 4, (4, 6)) / 4).astype(dtype)
    gains = draw.integers(0, 3, (4, 6))
    gains[0] = 0
    ndcg, at = graded_ndcg(lambda rows: near[rows], lambda rows: gains[rows], 4, 6, KS)
    for query in range(4):
        groups = {}
        for value, gain in zip(near[query].tolist(), gains[query].tolist(), strict=True):
            groups.setdefault(value, []).append(gain)
        orders = itertools.product(*(itertools.permutations(groups[value]) for value in sorted(groups, reverse=True)))
        each = [[slow_ndcg(list(itertools.chain(*one)), k) for k in (None, *KS)] for one in orders]
        np.testing.assert_allclose([ndcg[query], *at[query]], np.mean(each, axis=0), atol=1e-12)


def test_gains_of_0_and_1_are_the_binary_ndcg(monkeypatch):
    monkeypatch.setattr("avtune.metrics.graded.BLOCK_ITEMS", 100)
    draw = np.random.default_rng(2)
    near, labels = draw.uniform(-1, 1, (30, 30)), draw.integers(4, size=30)
    near[5] = 0.5 + draw.uniform(-1, 1, 30) * 1e-15  # rounding is no order
    found = cutoff_scores(direction(near, labels, labels), KS)
    ndcg, at = graded_ndcg(lambda rows: near[rows], lambda rows: labels[rows, None] == labels, 30, 30, KS)
    np.testing.assert_allclose(ndcg, found.ndcg, atol=1e-12)
    np.testing.assert_allclose(at, found.ndcg_at_k, atol=1e-12)


def test_the_gain_of_several_labels_is_how_many_are_shared():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]], bool)
    made = direction(np.eye(4), labels, labels)
    assert made.gains(np.array([0, 2])).tolist() == [[2, 1, 1, 2], [1, 0, 2, 2]]
    assert direction(np.eye(2), [0, 1], [0, 1]).gains is None, "gains of 0 and 1 need no matrix"


# --- other libraries; ours are means over orders where items tie, so nothing ties here


@pytest.fixture(scope="module")
def scored():
    draw = np.random.default_rng(3)
    near, labels = draw.uniform(0.1, 1, (25, 40)), draw.integers(4, size=40)
    return near, labels[:25], labels, cutoff_scores(direction(near, labels[:25], labels), KS)


def test_sklearn_has_the_same_ndcg_graded_and_with_ties():
    from sklearn.metrics import ndcg_score

    draw = np.random.default_rng(4)
    near, gains = draw.integers(0, 5, (20, 30)) / 5, draw.integers(0, 4, (20, 30))
    ndcg, at = graded_ndcg(lambda rows: near[rows], lambda rows: gains[rows], 20, 30, [7])
    for query in range(20):
        one = gains[query : query + 1], near[query : query + 1]
        assert ndcg[query] == pytest.approx(ndcg_score(*one), abs=1e-12)
        assert at[query, 0] == pytest.approx(ndcg_score(*one, k=7), abs=1e-12)


@pytest.mark.skipif(find_spec("torchmetrics") is None, reason="torchmetrics is not installed (make bench installs it)")
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_torchmetrics_has_the_same_ndcg_and_divides_map_at_k_by_those_found(scored):
    import torch
    from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_normalized_dcg

    near, query_labels, labels, found = scored
    for query in range(0, 25, 6):
        one, relevant = torch.tensor(near[query]), torch.tensor(labels == query_labels[query])
        assert float(retrieval_normalized_dcg(one, relevant)) == pytest.approx(found.ndcg[query], abs=1e-5)
        for column, k in enumerate(KS):
            theirs = float(retrieval_normalized_dcg(one, relevant, top_k=k))
            assert theirs == pytest.approx(found.ndcg_at_k[query, column], abs=1e-5)
            theirs = float(retrieval_average_precision(one, relevant, top_k=k))
            assert theirs == pytest.approx(found.ap_found_at_k[query, column], abs=1e-5)


@pytest.mark.skipif(
    find_spec("pytorch_metric_learning") is None, reason="pytorch-metric-learning is not installed (make bench does)"
)
@pytest.mark.filterwarnings("ignore")  # of what it imports
def test_pytorch_metric_learning_has_the_same_map_at_r_and_divides_map_at_k_by_all_relevant_items(scored):
    import torch
    from pytorch_metric_learning.utils.accuracy_calculator import mean_average_precision

    near, query_labels, labels, found = scored
    knn, of = torch.tensor(labels[np.argsort(-near, axis=1)]), torch.tensor(query_labels)[:, None]
    counts = torch.unique(torch.tensor(labels), return_counts=True)
    relevant = (labels == query_labels[:, None]).sum(axis=1)

    def theirs(k, at_r=False):
        return mean_average_precision(knn[:, :k], of, False, counts, False, False, torch.eq, at_r=at_r)

    assert theirs(40, at_r=True) == pytest.approx(found.ap_at_r.mean(), abs=1e-9)
    for column, k in enumerate(KS):
        by_all = found.ap_at_k[:, column] * np.minimum(relevant, k) / relevant
        assert theirs(k) == pytest.approx(by_all.mean(), abs=1e-9)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ranx") is None, reason="ranx is not installed (make bench installs it)")
@pytest.mark.filterwarnings("ignore")  # of numba
def test_ranx_has_the_same_ndcg_and_divides_map_at_k_by_all_relevant_items(scored):
    from ranx import Qrels, Run, evaluate

    near, query_labels, labels, found = scored
    qrels = {str(q): {str(i): 1 for i in np.flatnonzero(labels == of)} for q, of in enumerate(query_labels)}
    run = {str(q): {str(i): float(value) for i, value in enumerate(row)} for q, row in enumerate(near)}
    names = ["ndcg", *(f"{name}@{k}" for k in KS for name in ("map", "ndcg"))]
    got = evaluate(Qrels(qrels), Run(run), names)
    relevant = (labels == query_labels[:, None]).sum(axis=1)
    assert got["ndcg"] == pytest.approx(found.ndcg.mean(), abs=1e-9)
    for column, k in enumerate(KS):
        assert got[f"ndcg@{k}"] == pytest.approx(found.ndcg_at_k[:, column].mean(), abs=1e-9)
        by_all = found.ap_at_k[:, column] * np.minimum(relevant, k) / relevant
        assert got[f"map@{k}"] == pytest.approx(by_all.mean(), abs=1e-9)
