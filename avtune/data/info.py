"""What a dataset holds, in numbers."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.data.arrays import plural
from avtune.data.dataset import Dataset, Split
from avtune.data.registry import problems as registry_problems

IMBALANCE = 10  # the largest class has this many times the clips of the smallest
FEW_CLIPS = 5  # fewer in train and five folds are impossible
BLOCK_ROWS = 4096


def describe(dataset: Dataset) -> dict[str, Any]:
    """Sizes, per-class counts, ranges and problems, as a dict that `json.dumps` takes.

    Keys: `name source digest num_classes num_train num_test audio_dim visual_dim` (values), `classes` (a list of
    `{name, train, test}`), `ranges` (`{audio_train: {min, max, mean, std}, ...}` over all values of a view) and
    `problems` (a list of sentences; empty when nothing looks wrong).
    """
    train_counts, test_counts = (
        np.bincount(split.labels, minlength=dataset.num_classes).tolist() for split in (dataset.train, dataset.test)
    )
    return {
        "name": dataset.name,
        "source": dataset.source,
        "digest": dataset.digest,
        "num_classes": dataset.num_classes,
        "num_train": len(dataset.train),
        "num_test": len(dataset.test),
        "audio_dim": dataset.audio_dim,
        "visual_dim": dataset.visual_dim,
        "classes": [
            {"name": name, "train": train, "test": test}
            for name, train, test in zip(dataset.class_names, train_counts, test_counts, strict=True)
        ],
        "ranges": {
            f"{view}_{name}": _range(getattr(split, view))
            for name, split in (("train", dataset.train), ("test", dataset.test))
            for view in ("audio", "visual")
        },
        "problems": _problems(dataset, train_counts, test_counts),
    }


def _range(x: npt.NDArray[np.float32]) -> dict[str, float]:
    mean = float(x.mean(dtype=np.float64))
    squares = sum(
        float(np.square(x[i : i + BLOCK_ROWS] - np.float64(mean)).sum()) for i in range(0, len(x), BLOCK_ROWS)
    )
    return {"min": float(x.min()), "max": float(x.max()), "mean": mean, "std": (squares / x.size) ** 0.5}


def _problems(dataset: Dataset, train_counts: list[int], test_counts: list[int]) -> list[str]:
    found = registry_problems(dataset)
    names = dataset.class_names
    least, most = int(np.argmin(train_counts)), int(np.argmax(train_counts))
    if train_counts[most] >= IMBALANCE * train_counts[least]:
        found.append(
            f"imbalanced classes: '{names[most]}' has {train_counts[most]} training clips and "
            f"'{names[least]}' has {train_counts[least]}"
        )
    few = [name for name, count in zip(names, train_counts, strict=True) if count < FEW_CLIPS]
    if few:
        found.append(
            f"{plural(len(few), 'class', 'classes')} with fewer than {FEW_CLIPS} training clips: {_first(few)}"
        )
    absent = [name for name, count in zip(names, test_counts, strict=True) if count == 0]
    if absent:
        found.append(f"{plural(len(absent), 'class', 'classes')} without a test clip: {_first(absent)}")
    in_train = _row_digests(dataset.train)
    known = set(in_train)
    shared = sum(row in known for row in _row_digests(dataset.test))
    if shared:
        found.append(f"{plural(shared, 'test clip')} with the same features as a training clip")
    if len(known) < len(in_train):
        found.append(f"{plural(len(in_train) - len(known), 'training clip')} with the same features as another one")
    for view in ("audio", "visual"):
        x = getattr(dataset.train, view)
        constant = int((x.max(axis=0) == x.min(axis=0)).sum())
        if constant:
            found.append(f"{plural(constant, f'{view} column')} constant in the training split")
        for name, split in (("training", dataset.train), ("test", dataset.test)):
            zero = int((~getattr(split, view).any(axis=1)).sum())
            if zero:
                found.append(f"{plural(zero, f'{name} clip')} with {view} features all zero")
    return found


def _row_digests(split: Split) -> list[bytes]:
    """A digest of both views of every clip."""
    return [
        hashlib.blake2b(audio.tobytes() + visual.tobytes(), digest_size=16).digest()
        for audio, visual in zip(split.audio, split.visual, strict=True)
    ]


def _first(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
