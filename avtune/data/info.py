"""What a dataset holds, in numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.data.dataset import Dataset
from avtune.data.findings import Pairs, examine
from avtune.data.labels import counts_by_class

BLOCK_ROWS = 4096
MOST_PAIRS = 1000


def describe(dataset: Dataset) -> dict[str, Any]:
    """Sizes, per-class counts, ranges and problems, as a dict that `json.dumps` takes.

    Keys: `name source digest num_classes num_train num_test audio_dim visual_dim` (values; the
    dims are those of the first and of the second view), `views` (their names), `num_validation` (of the training clips,
    those that the publisher sets aside), `labels_per_clip` (of a multi-label dataset: mean of the training clips),
    `num_groups` (of the training clips; None without groups), `classes` (a list
    of `{name, train, test}`), `ranges` (`{audio_train: {min, max, mean, std}, ...}` over all values of a view),
    `problems` (sentences on what touches the test score), `notes` (sentences on what else looks odd), `duplicates`
    (every `[test clip, training clip]` of equal features, rows of their splits from 0), `train_duplicates` and
    `test_duplicates` (`{count, pairs}` within a split, a later clip first; the first 1,000 pairs).
    """
    train_counts, test_counts = (
        counts_by_class(split.labels, dataset.num_classes).tolist() for split in (dataset.train, dataset.test)
    )
    found = examine(dataset)
    return {
        "name": dataset.name,
        "source": dataset.source,
        "digest": dataset.digest,
        "num_classes": dataset.num_classes,
        **({"labels_per_clip": round(sum(train_counts) / len(dataset.train), 4)} if dataset.is_multi_label else {}),
        "num_train": len(dataset.train),
        "num_test": len(dataset.test),
        "num_validation": 0 if dataset.validation is None else len(dataset.validation),
        "num_groups": None if dataset.groups is None else len(np.unique(dataset.groups)),
        "views": list(dataset.views),
        "audio_dim": dataset.audio_dim,
        "visual_dim": dataset.visual_dim,
        "classes": [
            {"name": name, "train": train, "test": test}
            for name, train, test in zip(dataset.class_names, train_counts, test_counts, strict=True)
        ],
        "ranges": {
            f"{view}_{name}": _range(getattr(split, slot))
            for name, split in (("train", dataset.train), ("test", dataset.test))
            for slot, view in zip(("audio", "visual"), dataset.views, strict=True)
        },
        "problems": list(found.problems),
        "notes": list(found.notes),
        "duplicates": [list(pair) for pair in found.shared],
        "train_duplicates": _within(found.repeated_train),
        "test_duplicates": _within(found.repeated_test),
    }


def _within(pairs: Pairs) -> dict[str, Any]:
    return {"count": len(pairs), "pairs": [list(pair) for pair in pairs[:MOST_PAIRS]]}


def _range(x: npt.NDArray[np.float32]) -> dict[str, float]:
    mean = float(x.mean(dtype=np.float64))
    squares = sum(
        float(np.square(x[i : i + BLOCK_ROWS] - np.float64(mean)).sum()) for i in range(0, len(x), BLOCK_ROWS)
    )
    return {"min": float(x.min()), "max": float(x.max()), "mean": mean, "std": (squares / x.size) ** 0.5}
