"""In which order an epoch visits the training rows: all once, or so that every batch has so many clips of a class.

From the trial's seed, the epoch and the labels alone, as `lanes.noise.row_order`.
"""

from __future__ import annotations

import numpy as np

from avtune.core.relevance import is_multi_label
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.lanes.noise import row_order


def epoch_rows(trial: Trial, epoch: int, labels: np.ndarray, batch_size: int, steps: int | None = None) -> np.ndarray:
    """The rows of all steps of an epoch, batch after batch: int64 [steps * batch_size].

    Args:
        trial: with a complete configuration.
        epoch: from 0.
        labels: of the training rows, int64 [N] or bool [N, C].
        batch_size: rows of a step.
        steps: of the epoch; None for as many as the rows fill. Where there are fewer rows, the first come again.
    """
    steps = len(labels) // batch_size if steps is None else steps
    per_class = int(trial.config.get("per_class", 0))
    if per_class:
        return balanced_rows(trial.seed, epoch, labels, batch_size, per_class, steps)
    return np.resize(row_order(trial.seed, epoch, len(labels)), steps * batch_size)


def balanced_rows(
    seed: int, epoch: int, labels: np.ndarray, batch_size: int, per_class: int, steps: int | None = None
) -> np.ndarray:
    """Batches of `per_class` clips each of batch_size / per_class classes (Hermans et al. 2017), the last class of a
    batch with what is left: int64 [steps * batch_size]. The rows of a batch are in random order. A class of fewer clips
    gives all it has, and the batch holds more classes.

    Classes come in random turns, so that all are equally often there; with fewer classes than a batch has room for,
    they come several times. The clips of a class come in random turns too: a class with few clips has them more
    often in an epoch, one with many may not have all. Where a class comes several times in a batch, or its turns begin
    again within one, the batch may hold a clip twice.
    """
    draw = np.random.Generator(np.random.Philox(key=mix(seed, "balanced", epoch)))
    by_class = [_Turns(rows, draw) for rows in _rows_by_class(labels)]
    classes = _Turns(np.arange(len(by_class)), draw)
    batches = []
    for _ in range(len(labels) // batch_size if steps is None else steps):
        rows: list[int] = []
        while len(rows) < batch_size:
            (which,) = classes.take(1)
            of_class = by_class[which]
            rows += of_class.take(min(per_class, len(of_class), batch_size - len(rows)))
        batches.append(draw.permutation(np.array(rows)))
    return np.concatenate(batches)


def _rows_by_class(labels: np.ndarray) -> list[np.ndarray]:
    if is_multi_label(labels):  # a clip is a clip of each of its labels
        return [np.flatnonzero(of_class) for of_class in labels.T if of_class.any()]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


class _Turns:
    """Values in a random order, and in another one when all have been taken."""

    def __init__(self, values: np.ndarray, draw: np.random.Generator) -> None:
        self._values = values
        self._draw = draw
        self._left: list[int] = []

    def __len__(self) -> int:
        return len(self._values)

    def take(self, count: int) -> list[int]:
        """The next ones."""
        taken: list[int] = []
        while len(taken) < count:
            if not self._left:
                self._left = self._draw.permutation(self._values).tolist()
            part = self._left[: count - len(taken)]
            del self._left[: len(part)]
            taken += part
        return taken
