"""A leaderboard without training, for the tests of its page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from toy import toy_results

from avtune.finals.scores import mean_score
from avtune.study.results import Results
from avtune.study.scores import HEADLINE, Scores, ValidationScore
from avtune.workflows.bench.board import Board, Row, board

ENVIRONMENT = {"versions": {"torch": "2.13.0"}, "cpu": "a CPU", "cores": 2, "gpus": []}
METHODS = {"psd": 0.0, "triplet": -0.002, "mine:Own": -0.01, "cca": -0.15, "kcca": -0.2}


def scores_of(center: float, seeds: int, draw: np.random.Generator) -> Scores:
    made = {}
    for name in HEADLINE:
        values = [float(center + draw.normal() * 0.01) for _ in range(seeds)]
        made[name] = replace(mean_score(values), bootstrap=(center - 0.03, center + 0.03))
    return Scores(**made)


def results_of(center: float, seeds: int, draw: np.random.Generator) -> Results:
    test = scores_of(center, seeds, draw)
    return toy_results(
        center,
        seeds,
        test=test,
        default=scores_of(center - 0.02, seeds, draw),
        untrained=scores_of(0.1, seeds, draw),
        validation=ValidationScore(center, 0.01, (center,) * seeds),
    )


def made_board(methods=METHODS, *, seeds=3, failures=None, pending=()) -> Board:
    """The board of a bench of these methods, given how much each differs from 0.6 MAP."""
    draw = np.random.default_rng(0)
    base = draw.uniform(0.3, 0.9, size=80)
    rows = []
    for place, (name, shift) in enumerate(methods.items()):
        ap = base + shift + draw.normal(size=80) * 0.02
        results = results_of(float(ap.mean()), seeds, draw)
        rows.append(Row(name, results, {"margin": 0.5}, ENVIRONMENT, 10.0 * 3**place, ap, ap - 0.02))
    about = {
        "dataset": {"name": "toy", "digest": "0" * 64, "train": 60, "test": 80, "classes": 3, "audio_dim": 4,
                    "visual_dim": 5},
        "trials": 4, "epochs": 9, "seeds": seeds, "fraction": 0.2, "finalists": 3, "factor": 3, "grace": 3,
        "begun": "2026-01-01", "command": "avtune bench toy", "precision": "fp32", "deterministic": False,
        "methods": [*methods, *(failures or {}), *pending],
    }  # fmt: skip
    return board(about, rows, failures or {}, pending, {})
