"""Retrieval scores and how far they can be believed. NumPy and SciPy only."""

from avtune.metrics.average_precision import RetrievalScores, average_precision, retrieval_scores
from avtune.metrics.cutoffs import Cutoffs, cutoffs
from avtune.metrics.over_seeds import detectable_over_seeds, welch_test, with_seeds
from avtune.metrics.precision_recall import PrecisionRecall, precision_recall
from avtune.metrics.significance import (
    bootstrap_interval,
    detectable_difference,
    holm,
    mean_interval,
    randomisation_test,
    randomisation_tests,
    rounds_for,
)

__all__ = [
    "Cutoffs",
    "PrecisionRecall",
    "RetrievalScores",
    "average_precision",
    "bootstrap_interval",
    "cutoffs",
    "detectable_difference",
    "detectable_over_seeds",
    "holm",
    "mean_interval",
    "precision_recall",
    "randomisation_test",
    "randomisation_tests",
    "retrieval_scores",
    "rounds_for",
    "welch_test",
    "with_seeds",
]
