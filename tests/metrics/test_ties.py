"""What a tie contributes, against probabilities in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_scores import mean_over_orders

from avtune.metrics import ties
from avtune.metrics.ties import Ties, tie_means


def means(*kinds):
    """(total, kept, gained) [T, 3] of ties (before, hits, size, relevant)."""
    found = tie_means(Ties(np.arange(len(kinds)), *np.array(kinds).T))
    return np.stack([found.total, found.kept, found.gained], axis=1)


def kept(hits: int, size: int, relevant: int) -> float:
    """E[h / (h + x)], P(x = 0) where h = 0, summed over the places of a tie."""
    total = Fraction(0)
    for drawn in range(1, size + 1):
        for x in range(max(0, drawn - size + relevant), min(relevant, drawn) + 1):
            chance = Fraction(math.comb(relevant, x) * math.comb(size - relevant, drawn - x), math.comb(size, drawn))
            total += chance * (Fraction(hits, hits + x) if hits + x else 1)
    return float(total)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_is_the_mean_over_every_order(data) -> None:
    size = data.draw(st.integers(2, 8))
    relevant = data.draw(st.integers(1, size - 1))
    earlier = data.draw(st.lists(st.booleans(), max_size=6))
    before = sum(sum(earlier[:k]) / k for k in range(1, len(earlier) + 1) if earlier[k - 1])

    def inside(order):
        """Sum of precisions at the hits of the tie, and AP@k summed over its ranks."""
        total, running, hits = 0.0, 0.0, sum(earlier)
        for k, one in enumerate(order[len(earlier) :], len(earlier) + 1):
            hits += one
            total += hits / k if one else 0.0
            running += (before + total) / hits if hits else 0.0
        return total, running

    tie = (True,) * relevant + (False,) * (size - relevant)
    expected = mean_over_orders([*((one,) for one in earlier), tie], inside)
    ((total, keeps, gained),) = means((len(earlier), sum(earlier), size, relevant))
    assert total == pytest.approx(expected[0], abs=1e-12)
    assert gained + keeps * before / max(sum(earlier), 1) == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize("hits", [0, 1, 7, 90, 3000])
@pytest.mark.parametrize(("size", "relevant"), [(200, 1), (200, 13), (200, 100), (200, 190), (200, 199), (2, 1)])
def test_the_recurrence_loses_no_digits(hits: int, size: int, relevant: int) -> None:
    """Neither where it shrinks errors upwards nor where it would let them grow and is run downwards."""
    ((_, found, _),) = means((hits + 5, hits, size, relevant))
    assert found == pytest.approx(kept(hits, size, relevant), rel=1e-13)


def test_a_large_tie() -> None:
    """Four of five items relevant, two hits before: AP@k of the mean ranking is close, and the sums are finite."""
    ((total, _, gained),) = means((2, 2, 20_000, 16_000))
    assert total == pytest.approx(0.8 * 16_000, rel=1e-3)
    assert gained == pytest.approx(0.8 * 20_000, rel=1e-3)


@pytest.mark.parametrize(("few", "places"), [(0, 1), (0, 50), (0, 10**6), (10**6, 1)])
def test_many_ties_are_those_one_by_one(monkeypatch: pytest.MonkeyPatch, few: int, places: int) -> None:
    monkeypatch.setattr(ties, "FEW_PLACES", few)
    monkeypatch.setattr(ties, "PLACES", places)
    rng = np.random.default_rng(0)
    size = rng.integers(2, 40, 60)
    hits = rng.integers(0, 9, 60)
    kinds = np.stack([hits + rng.integers(0, 9, 60), hits, size, rng.integers(1, size)], axis=1)
    kinds[30:] = kinds[rng.integers(0, 30, 30)]
    np.testing.assert_allclose(means(*kinds), np.concatenate([means(kind) for kind in kinds]), rtol=1e-13)
