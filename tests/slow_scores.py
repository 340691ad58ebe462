"""Retrieval scores of rankings with ties, the slow obvious ways."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Tie = tuple[bool, ...]
"""Relevance of items of equal similarity, in any order."""


def slow_ap(relevant: Sequence[bool]) -> tuple[float, float]:
    """(standard, running) AP of one ranking, as the field words them."""
    hits, total, running = 0, 0.0, 0.0
    for k, is_relevant in enumerate(relevant, start=1):
        if is_relevant:
            hits += 1
            total += hits / k
        running += total / hits if hits else 0.0
    return (total / hits if hits else 0.0), running / len(relevant)


def ties(similarity: Sequence[Any], relevant: Sequence[bool]) -> list[Tie]:
    """A ranking as ties, from the highest similarity to the lowest; most are of one item."""
    groups: dict[Any, list[bool]] = {}
    for value, is_relevant in zip(similarity, relevant, strict=True):
        groups.setdefault(value, []).append(bool(is_relevant))
    return [tuple(groups[value]) for value in sorted(groups, reverse=True)]


def mean_over_orders(ranking: Sequence[Tie], score: Callable[[list[bool]], Any]) -> Any:
    """The mean of a score over every order of every tie: for few of them."""
    orders = [sorted(set(itertools.permutations(tie))) for tie in ranking]  # each is as likely as another
    scores = [score(list(itertools.chain(*order))) for order in itertools.product(*orders)]
    return np.mean(scores, axis=0)


def mean_ap(ranking: Sequence[Tie]) -> tuple[float, float]:
    """The means of `slow_ap` over the orders of the ties, by the probabilities of each number of hits at each rank."""
    seen = hits = 0
    total = running = 0.0
    num_items = sum(map(len, ranking))
    for tie in ranking:
        size, relevant = len(tie), sum(tie)
        inside = 0.0
        inverse = np.cumsum([0.0] + [1 / (seen + i) for i in range(1, size + 1)])
        ramp = np.cumsum([0.0] + [(i - 1) / (seen + i) for i in range(1, size + 1)])
        for j in range(1, size + 1):
            x, chance = hypergeometric(size, relevant)[j]
            inside = x / j * ((hits + 1) * inverse[j] + (x - 1) / max(j - 1, 1) * ramp[j])
            found = hits + x
            running += float((chance * np.divide(total + inside, found, where=found > 0, out=0.0 * x)).sum())
        total += float(inside[-1])  # of the whole tie, where x is sure
        seen, hits = seen + size, hits + relevant
    return (total / hits if hits else 0.0), running / num_items


@functools.cache
def hypergeometric(size: int, relevant: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of 0, 1, ..., `size` items drawn: the possible numbers of relevant ones, ascending, and their probabilities."""
    hit_ways = [math.comb(relevant, hit) for hit in range(relevant + 1)]
    miss_ways = [math.comb(size - relevant, miss) for miss in range(size - relevant + 1)]
    table = []
    for drawn in range(size + 1):
        x = range(max(0, drawn - size + relevant), min(relevant, drawn) + 1)
        ways = math.comb(size, drawn)
        table.append((np.array(x, float), np.array([hit_ways[hit] * miss_ways[drawn - hit] / ways for hit in x])))
    return table


def slow_average_precision(similarity: Any, query_labels: Any, gallery_labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """As `avtune.metrics.average_precision`; equal values tie."""
    pairs = [
        mean_ap(ties(row.tolist(), [label == other for other in gallery_labels]))
        for row, label in zip(np.asarray(similarity), query_labels, strict=True)
    ]
    ap, running = zip(*pairs, strict=True)
    return np.array(ap), np.array(running)


# --- scores at a cut-off, of one ranking


def slow_ap_at(relevant: Sequence[bool], k: int, by: str) -> float:
    """AP@k of one ranking; `by` says what it is divided by: `min`, of k and the relevant items, or `found`."""
    hits, total = 0, 0.0
    for rank, is_relevant in enumerate(relevant[:k], start=1):
        if is_relevant:
            hits += 1
            total += hits / rank
    whole = min(k, sum(relevant)) if by == "min" else hits
    return total / whole if whole else 0.0


def slow_ap_at_r(relevant: Sequence[bool]) -> float:
    """AP@R of one ranking: R is the number of its relevant items."""
    return slow_ap_at(relevant, sum(relevant), "min")


def slow_ndcg(gains: Sequence[float], k: int | None = None) -> float:
    """NDCG@k of the gains of one ranking; over all ranks when None."""

    def dcg(values: Sequence[float]) -> float:
        return sum(gain / math.log2(1 + rank) for rank, gain in enumerate(values[:k], start=1))

    best = dcg(sorted(gains, reverse=True))
    return dcg(gains) / best if best else 0.0
