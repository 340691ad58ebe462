"""Scores of models on the test split, and over seeds: means and intervals."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from avtune.core.objective import MAP, Objective
from avtune.data.dataset import Split
from avtune.engine.model import Model
from avtune.metrics import RetrievalScores, bootstrap_interval, mean_interval, retrieval_scores
from avtune.study.scores import HEADLINE, Score, Scores


def score(model: Model, split: Split, objective: Objective = MAP) -> RetrievalScores:
    """Scores one model on the clips of a split: exact MAP over all ranks, in float64, by cosine; and another objective,
    where the study has one."""
    audio, visual = model.embed(split.audio, split.visual)
    return retrieval_scores(audio, visual, split.labels, exact=True, objective=objective)


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


def over_seeds(scores: Sequence[RetrievalScores], seed: int, epochs: int | None = None) -> Scores:
    """What several seeds of one configuration scored: a mean with its 95 % interval for each of `HEADLINE`, for `map`
    also the bootstrap interval over the queries.

    Args:
        scores: of each seed, at least one.
        seed: of the bootstrap.
        epochs: that the configuration was trained, see `Scores`.
    """
    per_clip = np.mean([(one.ap_a2v + one.ap_v2a) / 2 for one in scores], axis=0)
    low, high = bootstrap_interval(per_clip, seed=seed)
    made = {name: mean_score([float(getattr(one, name)) for one in scores]) for name in HEADLINE}
    made["map"] = replace(made["map"], bootstrap=(low, high))
    others = [one.objective for one in scores if one.objective is not None]
    return Scores(**made, epochs=epochs, objective=mean_score(others) if len(others) == len(scores) else None)


def mean_score(values: Sequence[float]) -> Score:
    """The mean of a score over seeds, with its 95 % interval (Student t).

    Args:
        values: of each seed, at least one.
    """
    mean, half = mean_interval(values)
    return Score(mean, tuple(values), None if half is None else (mean - half, mean + half))
