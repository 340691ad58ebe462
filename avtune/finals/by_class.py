"""What the retrained winner does on the test split class by class, for the report. Nothing is selected by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from avtune.core.relevance import is_multi_label
from avtune.data.dataset import Dataset
from avtune.data.labels import counts_by_class, label_numbers
from avtune.metrics import RetrievalScores, precision_recall
from avtune.metrics.by_class import Found, class_means, confusion, nearest
from avtune.metrics.cutoffs import Cutoffs, cutoffs
from avtune.metrics.ties import Floats
from avtune.study.by_class import MEASURES, ByClass, Example, Way

MOST_CLASSES = 100
"""With more classes there is no confusion matrix: nobody could read it."""
_EXAMPLES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Which queries are examples: those at these quantiles of the average precision."""
_FOUND = 5


def by_class(dataset: Dataset, scores: Sequence[RetrievalScores], audio: np.ndarray, visual: np.ndarray) -> ByClass:
    """Args:
    dataset: whose test split was scored.
    scores: of each seed of the winner, the saved model's first.
    audio, visual: the saved model's embeddings of the test clips [N, D].
    """
    labels, count = dataset.test.labels, dataset.num_classes
    curves = precision_recall(audio, visual, labels, ks=(1,), exact=True)
    at = cutoffs(audio, visual, labels, ks=[k for k in (10, 50) if k <= len(labels)], exact=True)
    picked = _picked(scores[0].ap_a2v), _picked(scores[0].ap_v2a)
    found = nearest(audio, visual, picked, _FOUND)
    several = is_multi_label(labels)
    tables = confusion(audio, visual, labels, count) if count <= MOST_CLASSES else (None, None)
    ways = [
        Way(
            _map([getattr(one, f"ap_{name}") for one in scores], labels, count),
            tuple(np.asarray(getattr(curves, f"curve_{name}")).round(6).tolist()),
            _examples(getattr(scores[0], f"ap_{name}"), found[place]),
            _rows(tables[place]),
            round(float(np.mean([getattr(one, f"ap_{name}") for one in scores])), 6) if several else None,
            _measures(at, name),
        )
        for place, name in enumerate(("a2v", "v2a"))
    ]
    clips = counts_by_class(labels, count)
    numbers = tuple(tuple(one) if several else one for one in label_numbers(labels))
    return ByClass(tuple(dataset.class_names), tuple(clips.tolist()), numbers, *ways)


def _measures(at: Cutoffs, way: str) -> dict[str, float]:
    """Those of `study.by_class.MEASURES` of one direction."""
    found = {"map_at_r": getattr(at, f"map_at_r_{way}"), "ndcg": getattr(at, f"ndcg_{way}")}
    for place, k in enumerate(at.ks):
        found |= {f"{name}_at_{k}": getattr(at, f"{name}_at_k_{way}")[place] for name in ("map", "map_found", "ndcg")}
    return {name: round(float(found[name]), 6) for name in MEASURES if name in found}


def _map(ap: Sequence[Floats], labels: np.ndarray, count: int) -> tuple[float | None, ...]:
    means = class_means(np.mean(ap, axis=0), labels, count)
    return tuple(None if np.isnan(one) else round(float(one), 6) for one in means)


def _picked(ap: Floats) -> list[int]:
    """The queries at the quantiles of `_EXAMPLES`, each once."""
    order = np.argsort(ap, kind="stable")
    return list(dict.fromkeys(int(order[round(share * (len(order) - 1))]) for share in _EXAMPLES))


def _examples(ap: Floats, found: Sequence[Found]) -> tuple[Example, ...]:
    return tuple(Example(one.query, round(float(ap[one.query]), 6), one.clips) for one in found)


def _rows(table: Floats | None) -> tuple[tuple[float, ...], ...] | None:
    return None if table is None else tuple(tuple(row) for row in table.round(4).tolist())
