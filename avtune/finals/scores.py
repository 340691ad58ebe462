"""Test scores over seeds: means, intervals, and the table that is published."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avtune.data.dataset import Split
from avtune.engine.model import Model
from avtune.metrics import RetrievalScores, bootstrap_interval, mean_interval, retrieval_scores

HEADLINE = ("map", "map_a2v", "map_v2a", "map_running", "map_running_a2v", "map_running_v2a")


def score(model: Model, split: Split) -> RetrievalScores:
    """Scores one model on the clips of a split: exact MAP over all ranks, in float64."""
    audio, visual = model.embed(split.audio, split.visual)
    return retrieval_scores(audio, visual, split.labels, exact=True)


def per_query(rows: Mapping[str, Sequence[RetrievalScores]]) -> bytes:
    """The content of an npz file with the average precision of every query, for significance tests between methods:
    `<row>_a2v` and `<row>_v2a`, float64 [seeds, N], queries in the order of the test split."""
    arrays = {
        f"{name}_{way}": np.stack([getattr(one, f"ap_{way}") for one in scores])
        for name, scores in rows.items()
        for way in ("a2v", "v2a")
    }
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def over_seeds(scores: Sequence[RetrievalScores], seed: int) -> dict[str, Any]:
    """What several seeds of one configuration scored.

    Returns:
        For each of `HEADLINE`: `mean`, `ci95` ([low, high], Student t over the seeds; null for one seed), `seeds` (each
        seed's value). For `map` also `bootstrap95`: [low, high] over the queries, clips drawn with replacement, of the
        seed-averaged average precision.
    """
    table: dict[str, Any] = {}
    for name in HEADLINE:
        values = [float(getattr(one, name)) for one in scores]
        mean, half = mean_interval(values)
        table[name] = {
            "mean": mean,
            "ci95": None if half is None else [mean - half, mean + half],
            "seeds": values,
        }
    per_clip = np.mean([(one.ap_a2v + one.ap_v2a) / 2 for one in scores], axis=0)
    low, high = bootstrap_interval(per_clip, seed=seed)
    table["map"]["bootstrap95"] = [low, high]
    return table
