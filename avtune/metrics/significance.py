"""How far a score can be believed: intervals over seeds and over queries, and paired tests between two systems."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
CHUNK = 1 << 20
"""Resampled values held at a time."""


def mean_interval(values: npt.ArrayLike, confidence: float = 0.95) -> tuple[float, float | None]:
    """(mean, half width) of the Student t interval of the mean of independent runs, such as seeds.

    Args:
        values: scores [n], n >= 1.
        confidence: coverage, in (0, 1).

    Returns:
        The half width is None for one value, whose spread is unknown.
    """
    scores = _finite(values)
    assert 0 < confidence < 1
    mean, count = float(scores.mean()), len(scores)
    if count == 1:
        return mean, None
    from scipy import special  # here: it takes a third of a second to import, and no engine needs it

    quantile = float(special.stdtrit(count - 1, (1 + confidence) / 2))
    return mean, quantile * float(scores.std(ddof=1)) / count**0.5


def bootstrap_interval(
    per_query_ap: npt.ArrayLike, seed: int, resamples: int = 2000, confidence: float = 0.95
) -> tuple[float, float]:
    """(low, high) of the percentile bootstrap interval of the mean over queries.

    Args:
        per_query_ap: one value per clip [N]. Average the two directions of a clip first: they are resampled together.
        seed: of the resampling.
        resamples: bootstrap samples.
        confidence: coverage, in (0, 1).
    """
    scores = _finite(per_query_ap)
    assert resamples > 0
    assert 0 < confidence < 1
    rng = np.random.default_rng(seed)
    means = np.concatenate(
        [scores[rng.integers(len(scores), size=(n, len(scores)))].mean(axis=1) for n in _chunks(resamples, len(scores))]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def randomisation_test(ap_a: npt.ArrayLike, ap_b: npt.ArrayLike, seed: int, rounds: int = 10_000) -> float:
    """Two-sided p-value of the paired randomisation test: could the two systems be swapped on every query?

    Fisher's test as used in retrieval (Smucker, Allan, Carterette, CIKM 2007). All 2^N swaps when they are no more than
    `rounds`, else `rounds` random ones with the observed one counted among them, so that p is never 0.

    Args:
        ap_a, ap_b: AP of each system on the same queries, in the same order [N].
        seed: of the swaps.
        rounds: random swaps.
    """
    first, second = _finite(ap_a), _finite(ap_b)
    assert first.shape == second.shape, "paired test: the same queries for both"
    assert rounds > 0
    difference = first - second
    count = len(difference)
    # Sums that differ by rounding alone are equal.
    at_least = abs(difference.sum()) - 1e-12 * np.abs(difference).sum()

    def extreme(swapped: npt.NDArray[np.uint8]) -> int:
        sums = difference.sum() - 2 * (swapped.astype(np.float64) @ difference)
        return int(np.count_nonzero(np.abs(sums) >= at_least))

    if count < 63 and 2**count <= rounds:
        every = (np.arange(2**count)[:, None] >> np.arange(count) & 1).astype(np.uint8)
        return float(extreme(every) / 2**count)
    rng = np.random.default_rng(seed)
    hits: int = sum(extreme(rng.integers(2, size=(n, count), dtype=np.uint8)) for n in _chunks(rounds, count))
    return (1 + hits) / (1 + rounds)


def holm(p_values: npt.ArrayLike) -> Floats:
    """p-values [m] adjusted for m tests by Holm's step-down method (1979), in the given order."""
    given = _finite(p_values)
    assert ((given >= 0) & (given <= 1)).all()
    order = np.argsort(given, kind="stable")
    steps = np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1))
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def _finite(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    assert array.ndim == 1
    assert array.size > 0
    assert np.isfinite(array).all()
    return array


def _chunks(total: int, width: int) -> list[int]:
    """Sizes that add up to `total`, each with at most `CHUNK` values of rows of `width`."""
    size = max(1, CHUNK // width)
    return [min(size, total - start) for start in range(0, total, size)]
