"""Benches without training, for the tests of comparisons over data sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from made_boards import ENVIRONMENT, results_of

from avtune.finals.scores import mean_score
from avtune.workflows.bench.across import Source
from avtune.workflows.bench.board import Row
from avtune.workflows.bench.folder import BenchFolder

SCORES = {
    "psd": (0.62, 0.70, 0.55),
    "triplet": (0.60, 0.71, 0.50),
    "classifiers": (0.61, 0.69, 0.50),
    "cca": (0.4, 0.5, 0.3),
}
"""Test MAP by data set."""


def made_row(method, score, *, seeds=5, width=0.02, problems=()) -> Row:
    """A row whose seeds score evenly from `score - width` to `score + width`."""
    values = [score] if seeds == 1 else np.linspace(score - width, score + width, seeds).tolist()
    results = results_of(score, seeds, np.random.default_rng(0))
    test = replace(results.test, map=replace(mean_score(values), bootstrap=results.test.map.bootstrap))
    ap = np.full(80, score)
    return Row(method, replace(results, test=test, problems=problems), {}, ENVIRONMENT, 10.0, ap, ap)


def made_sources(scores=SCORES, *, about=None, waiting=None, **row) -> list[Source]:
    """Benches on data sets `first`, `second`, ... with these methods.

    Args:
        scores: of each method by data set; None where a bench does not have it.
        about: what some bench says beside the usual, by its number.
        waiting: methods that some bench has not finished, by its number.
        row: as `made_row` takes it.
    """
    names = ("first", "second", "third", "fourth", "fifth", "sixth")
    made = []
    for place in range(max(map(len, scores.values()))):
        rows = {method: made_row(method, of[place], **row) for method, of in scores.items() if of[place] is not None}
        data = {"name": names[place], "digest": str(place) * 64, "train": 60, "test": 80, "classes": 3}
        says = {
            "dataset": data, "trials": 4, "epochs": 9, "seeds": 5, "grace": 3, "factor": 3, "finalists": 3,
            "fraction": 0.2, "seed": 0, "precision": "fp32", "deterministic": False, "reference": "classifiers",
            "set": [], "protocol": "validation", "command": f"avtune bench {names[place]}.h5",
        }  # fmt: skip
        says |= (about or {}).get(place, {})
        folder = BenchFolder(Path("results") / f"bench-{names[place]}")
        made.append(Source(f"bench-{names[place]}", folder, says, rows, tuple((waiting or {}).get(place, ()))))
    return made
