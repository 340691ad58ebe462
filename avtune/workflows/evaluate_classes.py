"""What `evaluate` says beside MAP: hit rates and median ranks, MAP by class, and which classes are found for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from avtune.data.labels import counts_by_class, held_by, renumbered
from avtune.metrics import RetrievalScores
from avtune.metrics.by_class import class_means, confusion_of, queries_by_class
from avtune.metrics.directions import Directions
from avtune.metrics.hits import Hits

WAYS = ("a2v", "v2a")
RATES = tuple(f"{name}_{way}" for name in ("hit_rate", "pair_hit_rate") for way in WAYS)


def median_ranks(found: Hits) -> dict[str, float]:
    """`class_a2v` and `class_v2a`: of the first clip of the query's class; `pair_a2v` and `pair_v2a`: of its pair,
    where the gallery has it."""
    ranks = {
        f"{name}_{way}": getattr(found, f"{attribute}_{way}")
        for name, attribute in (("class", "median_rank"), ("pair", "pair_median_rank"))
        for way in WAYS
    }
    return {name: rank for name, rank in ranks.items() if rank is not None}


def by_class(scores: RetrievalScores, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """MAP of each class that has clips, and the means over the classes.

    Args:
        scores: of the clips.
        labels: class of each clip [N]; or bool [N, C], where a clip counts for each of its labels.
        names: of the classes, by their labels; a label beyond them is its own name.

    Returns:
        `macro_map`, `macro_map_a2v`, `macro_map_v2a`: means over the classes, each class alike (`map` weighs a class by
        its clips); `classes`: `name`, `clips`, `map`, `map_a2v` and `map_v2a` of each, where `map` is the mean of the
        two directions.
    """
    held = held_by(labels)
    of = renumbered(labels, held)
    clips = counts_by_class(of, len(held))
    means = {way: class_means(getattr(scores, f"ap_{way}"), of, len(held)) for way in WAYS}
    both = (means["a2v"] + means["v2a"]) / 2
    facts: dict[str, Any] = {"macro_map": float(both.mean())}
    facts |= {f"macro_map_{way}": float(means[way].mean()) for way in WAYS}
    facts["classes"] = [
        {"name": name, "clips": int(clips[place]), "map": float(both[place])}
        | {f"map_{way}": float(means[way][place]) for way in WAYS}
        for place, name in enumerate(_names(held, names))
    ]
    return facts


def confused(directions: Directions, names: Sequence[str], k: int) -> dict[str, Any]:
    """Which classes the k nearest clips have, class by class.

    Args:
        names: of the classes, by their labels.
        k: how many clips each query finds, from 1.

    Returns:
        `k`; `classes`: names of those that have clips among queries or gallery; `a2v` and `v2a`: for the queries of
        each class (row) the shares of the classes (columns) among the clips found; each row sums to 1, but for that of
        a class without queries.

    Raises:
        UserError: the gallery has fewer clips than k.
    """
    queries, gallery = directions.a2v.query_labels, directions.a2v.gallery_labels
    held = np.union1d(held_by(queries), held_by(gallery))
    of, among = renumbered(queries, held), renumbered(gallery, held)
    numbered = Directions(*(replace(one, query_labels=of, gallery_labels=among) for one in directions))
    counts = confusion_of(numbered, len(held), k)
    asked = queries_by_class(of, len(held))[:, None]
    places = np.where(asked > 0, k * asked, 1)
    facts: dict[str, Any] = {"k": k, "classes": _names(held, names)}
    return facts | {way: (table / places).tolist() for way, table in zip(WAYS, counts, strict=True)}


def _names(held: np.ndarray, names: Sequence[str]) -> list[str]:
    return [names[label] if label < len(names) else str(label) for label in held.tolist()]
