"""The fast average precision against the definition, and its mean over the orders of ties, by loops."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from slow_scores import mean_ap, mean_over_orders, slow_ap, slow_average_precision, ties

from avtune.core.errors import UserError
from avtune.metrics import average_precision, ranking, retrieval_scores, row_sort

AVE_TEST_COUNTS = [17, 17, 18, 13, 9, 18, 17, 10, 8, 6, 16, 6, 6, 18, 10]


def check(similarity, query_labels, gallery_labels, threads: int = 1) -> None:
    query_labels, gallery_labels = np.asarray(query_labels), np.asarray(gallery_labels)
    before = similarity.copy()
    fast = average_precision(similarity, query_labels, gallery_labels, threads)
    np.testing.assert_allclose(fast, slow_average_precision(similarity, query_labels, gallery_labels), atol=1e-12)
    np.testing.assert_array_equal(similarity, before)


@pytest.fixture(params=[True, False], ids=["columnsort", "plain sort"])
def _either_sort(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_sort, "columnsort_pays", lambda: request.param)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 40),
    st.integers(1, 5),
    st.sampled_from([1, 2, 8, 10**6]),
    st.sampled_from([np.float32, np.float64]),
)
@settings(deadline=None, max_examples=100)
def test_equals_the_definition_with_ties(seed, num_queries, num_items, num_classes, num_values, dtype) -> None:
    rng = np.random.default_rng(seed)
    similarity = (rng.integers(-num_values, num_values + 1, (num_queries, num_items)) / num_values).astype(dtype)
    similarity *= rng.choice(np.array([-1, 1], dtype), similarity.shape)  # some zeros become -0.0
    # A class more for the queries: some may have nothing relevant.
    check(similarity, rng.integers(0, num_classes + 1, num_queries), rng.integers(0, num_classes, num_items))


@pytest.mark.usefixtures("_either_sort")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_values", [1, 3, 50, 10**7])
def test_wide_rows(monkeypatch: pytest.MonkeyPatch, dtype, num_values: int, threads: int) -> None:
    monkeypatch.setattr(ranking, "BLOCK_ITEMS", 4000)
    monkeypatch.setattr(ranking, "SORT_ITEMS", 2000)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 700)
    similarity = (rng.integers(-num_values, num_values + 1, (30, 700)) / num_values).astype(dtype)
    check(similarity, labels[:30], labels, threads)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_values_one_bit_apart_are_no_ties_in_float32(seed: int) -> None:
    """The relevance bit takes the place of the lowest mantissa bit, which must still decide."""
    rng = np.random.default_rng(seed)
    bits = np.float32(rng.choice([0.7, -0.7, 1e-30])).view(np.int32) + rng.integers(-3, 4, (8, 30)).astype(np.int32)
    check(bits.view(np.float32), rng.integers(0, 2, 8), rng.integers(0, 2, 30))


@pytest.mark.parametrize("few", [0, 3, 100])
def test_open_rows_are_settled_either_way(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(ranking, "FEW_OPEN", few)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    check((rng.integers(0, 9, (60, 60)) / 16).astype(np.float32), labels, labels)


def test_any_range_in_float32() -> None:
    rng = np.random.default_rng(0)
    scales = np.array([1e-42, 1e-38, 1.0, 3.4e38], np.float32)[:, None]
    check(rng.uniform(-1, 1, (4, 50)).astype(np.float32) * scales, [0, 1, 0, 1], rng.integers(0, 2, 50))


def test_doubles_that_agree_to_rounding_are_ties() -> None:
    """Also where rounding to a grid would separate them: half a step above a grid point, give or take 1e-15."""
    middle = (1000.5) / ranking.GRID
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1e-15, 1e-15, (5, 40))
    values = rng.integers(0, 3, (5, 40)) / 4
    labels = rng.integers(0, 2, 40)
    for offset in (0.0, middle, -middle):
        fast = average_precision(values + offset + noise, labels[:5], labels)
        np.testing.assert_allclose(fast, slow_average_precision(values, labels[:5], labels), atol=1e-12)


def test_doubles_a_few_steps_apart_are_no_ties() -> None:
    rng = np.random.default_rng(0)
    check(0.3 + 3 / ranking.GRID * rng.integers(-5, 6, (6, 50)), rng.integers(0, 2, 6), rng.integers(0, 2, 50))


def test_single_class_and_single_items() -> None:
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        check(rng.uniform(-1, 1, (7, 9)).astype(dtype), [4] * 7, [4] * 9)
        check(np.ones((1, 1), dtype), [0], [0])
        ap, running = average_precision(np.ones((2, 3), dtype), [0, 1], [1, 1, 1])
        assert ap.tolist() == running.tolist() == [0, 1]


def test_with_one_relevant_item_a_query_the_running_definition_never_reads_higher() -> None:
    ap, running = average_precision(np.random.default_rng(0).uniform(-1, 1, (30, 30)), range(30), range(30))
    assert (running <= ap).all()
    assert running.mean() < ap.mean()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_similarities_must_be_finite(bad: float, dtype) -> None:
    similarity = np.zeros((2, 5), dtype)
    similarity[1, 2] = bad
    with pytest.raises(AssertionError):
        average_precision(similarity, [0, 1], [0, 0, 1, 1, 1])


def test_doubles_must_be_cosines() -> None:
    with pytest.raises(AssertionError, match="cosines"):
        average_precision(np.array([[1.1, 0.0]]), [0], [0, 1])
    average_precision(np.array([[1 + 1e-15, -1 - 1e-15]]), [0], [0, 1])


def test_agrees_with_sklearn_without_ties() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 120)
    similarity = rng.uniform(-1, 1, (20, 120))
    ap, _ = average_precision(similarity, labels[:20], labels)
    for query in range(20):
        expected = average_precision_score(labels == labels[query], similarity[query])
        assert ap[query] == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 8, 10**6]), st.sampled_from([np.float32, np.float64]))
@settings(deadline=None, max_examples=60)
def test_the_order_of_the_gallery_does_not_matter(seed, num_values, dtype) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 90)
    similarity = (rng.integers(-num_values, num_values + 1, (12, 90)) / num_values).astype(dtype)
    shuffled = rng.permutation(90)
    before = average_precision(similarity, labels[:12], labels)
    after = average_precision(similarity[:, shuffled], labels[:12], labels[shuffled])
    np.testing.assert_array_equal(before, after)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@settings(deadline=None, max_examples=60)
def test_is_the_mean_over_every_order_of_every_tie(seed, dtype) -> None:
    rng = np.random.default_rng(seed)
    num_items = int(rng.integers(1, 9))
    similarity = rng.integers(0, rng.integers(1, 4), (3, num_items)).astype(dtype) / 4
    labels = rng.integers(0, 2, num_items)
    rankings = [ties(row.tolist(), (labels == 1).tolist()) for row in similarity]
    expected = [mean_over_orders(ranking, slow_ap) for ranking in rankings]
    np.testing.assert_allclose(np.stack(average_precision(similarity, [1] * 3, labels), 1), expected, atol=1e-12)
    np.testing.assert_allclose([mean_ap(ranking) for ranking in rankings], expected, atol=1e-12)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("order", ["sorted", "interleaved", "shuffled"])
def test_collapsed_embeddings_score_alike_in_any_order(order: str, exact: bool) -> None:
    labels = np.arange(150) // 10
    if order != "sorted":
        labels = np.arange(150) % 15 if order == "interleaved" else np.random.default_rng(0).permutation(labels)
    scores = retrieval_scores(np.ones((150, 8)), np.ones((150, 8)), labels, exact=exact)
    chance = np.random.default_rng(1)
    ranked = [chance.permutation([True] * 10 + [False] * 140) for _ in range(4000)]
    ap, running = np.mean([slow_ap(one.tolist()) for one in ranked], axis=0)
    assert scores.map == pytest.approx(ap, abs=0.003)
    assert scores.map_running == pytest.approx(running, abs=0.005)
    expected = mean_ap([(True,) * 10 + (False,) * 140])
    assert (scores.map, scores.map_running) == pytest.approx(expected, abs=1e-12)
    assert len(set(scores.ap_a2v) | set(scores.ap_v2a)) == 1
    assert scores.tied == 1


@given(st.integers(0, 2**32 - 1), st.sampled_from(["duplicate rows", "whole numbers", "one-hot"]))
@settings(deadline=None, max_examples=30)
def test_the_order_of_the_clips_does_not_matter(seed: int, kind: str) -> None:
    audio, visual, labels = embeddings(kind, 60, 4, seed)
    shuffled = np.random.default_rng(seed).permutation(60)
    before = retrieval_scores(audio, visual, labels, exact=True)
    after = retrieval_scores(audio[shuffled], visual[shuffled], labels[shuffled], exact=True)
    assert before.tied == after.tied > 0
    for name in ("ap_a2v", "ap_v2a", "ap_running_a2v", "ap_running_v2a"):
        np.testing.assert_allclose(getattr(before, name)[shuffled], getattr(after, name), atol=1e-12)


def test_the_share_of_queries_with_ties_counts_those_whose_order_matters() -> None:
    audio = np.eye(4)[[0, 0, 1, 2]]
    scores = retrieval_scores(audio, audio, np.array([0, 0, 1, 1]), exact=True)
    # Queries 0 and 1 have both of their class first and then both of the other; queries 2 and 3 tie at cosine 0.
    assert scores.tied == 0.5


def embeddings(kind: str, num_clips: int, dim: int, seed: int = 0) -> tuple[NDArray, NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    shape = (2, num_clips, dim)
    if kind == "random":
        both = rng.standard_normal(shape)
    elif kind == "duplicate rows":
        both = rng.standard_normal((2, 6, dim))[:, rng.integers(0, 6, num_clips)]
    elif kind == "whole numbers":
        both = rng.integers(-2, 3, shape).astype(float)  # some rows are zero, many are parallel
    else:
        both = np.eye(dim)[rng.integers(0, dim, shape[:2])]
    return both[0], both[1], rng.integers(0, 4, num_clips)


def slow_map(audio, visual, labels) -> tuple[float, float]:
    """(standard, running) MAP of audio queries, by double loops over exact fractions: sign(cos) cos^2 orders as cos."""

    def signed_square(a, v) -> Fraction:
        dot, size = sum(map(lambda x, y: x * y, a, v)), sum(x * x for x in a) * sum(y * y for y in v)
        return dot * abs(dot) / size if size else Fraction(0)

    audio = [[Fraction(x) for x in row] for row in audio.tolist()]
    visual = [[Fraction(x) for x in row] for row in visual.tolist()]
    pairs = []
    for query, label in zip(audio, labels, strict=True):
        similarity = [signed_square(query, item) for item in visual]
        pairs.append(mean_ap(ties(similarity, [other == label for other in labels])))
    return tuple(np.mean(pairs, axis=0).tolist())


@pytest.mark.parametrize("kind", ["random", "duplicate rows", "whole numbers", "one-hot"])
@pytest.mark.parametrize("dim", [2, 5])
def test_exact_scores_equal_double_loops_in_exact_arithmetic(kind: str, dim: int) -> None:
    audio, visual, labels = embeddings(kind, 40, dim)
    scores = retrieval_scores(audio, visual, labels, exact=True)
    a2v, v2a = slow_map(audio, visual, labels), slow_map(visual, audio, labels)
    assert (scores.map_a2v, scores.map_running_a2v) == pytest.approx(a2v, abs=1e-12)
    assert (scores.map_v2a, scores.map_running_v2a) == pytest.approx(v2a, abs=1e-12)
    assert scores.map == pytest.approx((a2v[0] + v2a[0]) / 2, abs=1e-12)
    assert scores.map_running == pytest.approx((a2v[1] + v2a[1]) / 2, abs=1e-12)
    assert scores.map_a2v == pytest.approx(scores.ap_a2v.mean(), abs=1e-12)
    assert scores.map_running_v2a == pytest.approx(scores.ap_running_v2a.mean(), abs=1e-12)


@pytest.mark.parametrize("kind", ["duplicate rows", "whole numbers", "one-hot"])
def test_exact_scores_of_many_tied_rows(kind: str) -> None:
    """Wide enough for blocked matrix products, whose rounding differs from column to column."""
    audio, visual, labels = embeddings(kind, 700, 8)
    cosine = np.round(unit(audio) @ unit(visual).T, 9)
    ap, running = slow_average_precision(cosine[:60], labels[:60], labels)
    scores = retrieval_scores(audio, visual, labels, exact=True, threads=2)
    np.testing.assert_allclose(scores.ap_a2v[:60], ap, atol=1e-9)
    np.testing.assert_allclose(scores.ap_running_a2v[:60], running, atol=1e-9)


def unit(rows):
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def test_float32_scores_agree_with_exact_ones() -> None:
    audio, visual, labels = embeddings("random", 400, 16)
    fast, exact = (retrieval_scores(audio, visual, labels, exact=e) for e in (False, True))
    assert fast.map == pytest.approx(exact.map, abs=1e-4)
    assert fast.map_running == pytest.approx(exact.map_running, abs=1e-4)


@pytest.mark.parametrize("exact", [True, False])
def test_scale_of_embeddings_does_not_matter(exact: bool) -> None:
    audio, visual, labels = embeddings("random", 60, 4)
    scales = 2.0 ** np.random.default_rng(0).integers(-500, 500, (2, 60, 1))
    before = retrieval_scores(audio, visual, labels, exact=exact)
    after = retrieval_scores(audio * scales[0], visual * scales[1], labels, exact=exact)
    np.testing.assert_array_equal(before.ap_a2v, after.ap_a2v)
    np.testing.assert_array_equal(before.ap_running_v2a, after.ap_running_v2a)


@pytest.mark.parametrize("exact", [True, False])
def test_zero_rows_tie_with_everything(exact: bool) -> None:
    visual = np.random.default_rng(0).standard_normal((6, 3))
    labels = np.array([0, 1, 0, 1, 0, 1])
    scores = retrieval_scores(np.zeros((6, 3)), visual, labels, exact=exact)
    np.testing.assert_allclose(scores.ap_a2v, mean_ap([tuple([True, False] * 3)])[0])
    assert scores.tied == 1


@pytest.mark.parametrize(
    ("audio", "visual", "labels", "says"),
    [
        (np.ones((3, 2)), np.ones((3, 4)), np.zeros(3, int), r"\(3, 2\).*\(3, 4\)"),
        (np.ones((3, 2)), np.ones((3, 2)), np.zeros(4, int), "N = 4"),
        (np.ones(3), np.ones(3), np.zeros(3, int), r"\(3,\)"),
        (np.ones((0, 2)), np.ones((0, 2)), np.zeros(0, int), "N >= 1"),
        (np.ones((3, 2)), np.ones((3, 2)), np.zeros((3, 1), int), r"\(3, 1\)"),
        (np.ones((3, 2)), np.ones((3, 2)), np.zeros(3), "float64"),
        (np.full((3, 2), "x"), np.ones((3, 2)), np.zeros(3, int), "audio .* numbers"),
        (np.ones((3, 2)), np.array([[1, 1], [1, np.nan], [np.inf, 1]]), np.zeros(3, int), "visual .* 2 of 3 .* row 1"),
    ],
)
def test_wrong_embeddings_are_told(audio, visual, labels, says: str) -> None:
    with pytest.raises(UserError, match=says):
        retrieval_scores(audio, visual, labels)


def test_reference_values_of_random_embeddings() -> None:
    """methods.md: .0995 and .1235 on AVE's 189 test rows. One draw spreads by .0018 and .0042 over both directions."""
    labels = np.repeat(np.arange(15), AVE_TEST_COUNTS)
    assert len(labels) == 189
    rng = np.random.default_rng(0)
    draws = [retrieval_scores(*rng.standard_normal((2, 189, 64)), labels) for _ in range(40)]
    assert np.mean([draw.map for draw in draws]) == pytest.approx(0.0995, abs=0.001)
    assert np.mean([draw.map_running for draw in draws]) == pytest.approx(0.1235, abs=0.002)


def test_reference_values_of_ten_equal_classes() -> None:
    """methods.md: .1013 and .1051 on 5,620 rows; a tenth of the queries is enough to see them."""
    rng = np.random.default_rng(0)
    gallery = np.repeat(np.arange(10), 562)
    ap, running = average_precision(rng.standard_normal((562, 5620), np.float32), gallery[::10], gallery)
    assert ap.mean() == pytest.approx(0.1013, abs=0.0005)
    assert running.mean() == pytest.approx(0.1051, abs=0.001)


@pytest.mark.parametrize("kind", ["random", "one-hot", "collapsed"])
def test_memory_is_bounded(kind: str) -> None:
    audio, visual, labels = embeddings(kind, 3000, 1 if kind == "collapsed" else 4)
    tracemalloc.start()
    try:
        retrieval_scores(audio, visual, labels, threads=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6  # one matrix of similarities alone would be 36 MB
