"""Hit rates and median ranks against loops over every query and, where items tie, over every order of them."""

import itertools
import statistics

import numpy as np
import pytest
from slow_scores import mean_over_orders, ties

from avtune.core.errors import UserError
from avtune.metrics.hits import hits

KS = (1, 3, 6)


def slow(queries, gallery, relevant):
    """(hit rate at each of KS, median of the mean ranks of the first relevant item), by their definitions."""

    def unit(rows):
        return [[value / max(sum(v * v for v in row) ** 0.5, 1e-300) for value in row] for row in rows.tolist()]

    def rank(order):
        return order.index(True) + 1

    rates, ranks = [], []
    for place, query in enumerate(unit(queries)):
        similarity = [round(sum(a * b for a, b in zip(query, item, strict=True)), 9) for item in unit(gallery)]
        ranking = ties(similarity, relevant[place])
        rates.append([mean_over_orders(ranking, lambda order, k=k: rank(order) <= k) for k in KS])
        ranks.append(float(mean_over_orders(ranking, rank)))
    return np.mean(rates, axis=0), statistics.median(ranks)


def checked(audio, visual, labels):
    found = hits(audio, visual, labels, ks=KS)
    same = [[bool(one == other) for other in labels] for one in labels]
    own = [[place == other for other in range(len(labels))] for place in range(len(labels))]
    for way, views in (("a2v", (audio, visual)), ("v2a", (visual, audio))):
        for name, relevant in (("", same), ("pair_", own)):
            rate, median = slow(*views, relevant)
            assert getattr(found, f"{name}hit_rate_{way}") == pytest.approx(rate, abs=1e-9)
            assert getattr(found, f"{name}median_rank_{way}") == pytest.approx(median, abs=1e-9)
    return found


def test_they_are_what_the_words_say():
    draw = np.random.default_rng(0)
    audio = draw.normal(size=(24, 4))
    found = checked(audio, audio + 0.8 * draw.normal(size=(24, 4)), draw.integers(3, size=24))
    assert (found.hit_rate_a2v >= found.pair_hit_rate_a2v).all()
    assert found.median_rank_a2v <= found.pair_median_rank_a2v
    assert found.ks == KS


@pytest.mark.parametrize("seed", range(3))
def test_ties_count_by_the_mean_over_their_orders(seed):
    draw = np.random.default_rng(seed)
    audio, visual = np.eye(3)[draw.integers(0, 3, (2, 7))]
    audio[0] = 0  # as near to every clip
    found = checked(audio, visual, draw.integers(3, size=7))
    assert (found.pair_hit_rate_a2v * 7 % 1).any(), "parts of a hit"


def test_embeddings_that_collapsed_have_the_chance_of_a_draw():
    labels = np.repeat([0, 1], [3, 7])
    found = hits(np.ones((10, 2)), np.ones((10, 2)), labels, ks=[1, 2])
    missed = (3 * (7 / 10 * 6 / 9) + 7 * (3 / 10 * 2 / 9)) / 10
    assert found.hit_rate_a2v == pytest.approx([(3 * 0.3 + 7 * 0.7) / 10, 1 - missed])
    assert found.pair_hit_rate_v2a == pytest.approx([0.1, 0.2])
    assert found.pair_median_rank_a2v == 5.5
    assert found.median_rank_a2v == pytest.approx(11 / 8)


def test_blocks_and_threads_change_nothing(monkeypatch):
    draw = np.random.default_rng(1)
    views, labels = draw.normal(size=(2, 30, 3)), draw.integers(4, size=30)
    whole = hits(*views, labels, ks=KS, threads=1)
    monkeypatch.setattr("avtune.metrics.hits.BLOCK_ITEMS", 50)
    monkeypatch.setattr("avtune.metrics.ranking.BLOCK_ITEMS", 50)
    again = hits(*views, labels, ks=KS, threads=3)
    names = [f"{pair}{what}_{way}" for pair, what, way in
             itertools.product(("", "pair_"), ("hit_rate", "median_rank"), ("a2v", "v2a"))]  # fmt: skip
    for name in names:
        assert np.array_equal(getattr(whole, name), getattr(again, name)), name


@pytest.mark.parametrize("k", [0, 5])
def test_a_rank_outside_the_clips_is_refused(k):
    with pytest.raises(UserError, match=f"k is {k}; allowed: 1 to 4"):
        hits(np.eye(4), np.eye(4), [0, 0, 1, 1], ks=[k])
