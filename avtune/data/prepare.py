"""From a dataset to the arrays that training sees: split, then scaled with statistics of the training rows only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avtune.data.dataset import Dataset, Split
from avtune.data.split import Scaler, validation_folds


@dataclass(frozen=True)
class Prepared:
    """What one training run sees.

    Attributes:
        train: scaled training rows.
        validation: scaled validation rows, None when the whole training set is trained on.
        num_classes: C.
        unlabelled: scaled (audio, visual) features to embed after training, for a user's training function, which
            keeps its model to itself; None otherwise.
    """

    train: Split
    validation: Split | None
    num_classes: int
    unlabelled: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def audio_dim(self) -> int:
        """Width of the audio features."""
        return int(self.train.audio.shape[1])

    @property
    def visual_dim(self) -> int:
        """Width of the visual features."""
        return int(self.train.visual.shape[1])


@dataclass(frozen=True)
class Scalers:
    """The scaler of each view."""

    audio: Scaler
    visual: Scaler

    @staticmethod
    def fit(split: Split) -> Scalers:
        """Scalers fitted on a split's rows."""
        return Scalers(Scaler.fit(split.audio), Scaler.fit(split.visual))

    def apply(self, split: Split) -> Split:
        """The split with scaled features, as new arrays."""
        return Split(
            np.ascontiguousarray(self.audio.transform(split.audio)),
            np.ascontiguousarray(self.visual.transform(split.visual)),
            split.labels,
        )


def for_search(
    dataset: Dataset, *, fraction: float | None, folds: int | None, seed: int, settings: bool = False
) -> tuple[Prepared, ...]:
    """What the trials of a search see: one validation split of the training set, or k folds of it. The test split is
    not looked at.

    Args:
        fraction, folds, seed, settings: as `split.validation_folds` takes them.
    """
    made = []
    labels = dataset.train.labels
    for fold in validation_folds(labels, fraction=fraction, folds=folds, seed=seed, settings=settings):
        fit = dataset.train.take(fold.fit)
        scalers = Scalers.fit(fit)
        validation = scalers.apply(dataset.train.take(fold.validation))
        made.append(Prepared(scalers.apply(fit), validation, dataset.num_classes))
    return tuple(made)


def search_scalers(dataset: Dataset, *, fraction: float | None, folds: int | None, seed: int) -> Scalers:
    """The scalers of what `for_search` makes of the same arguments; of the first fold, where there are several."""
    first = validation_folds(dataset.train.labels, fraction=fraction, folds=folds, seed=seed)[0]
    return Scalers.fit(dataset.train.take(first.fit))


def for_retraining(dataset: Dataset) -> tuple[Prepared, Scalers]:
    """The whole training set without validation, and the scalers that the final model carries."""
    scalers = Scalers.fit(dataset.train)
    return Prepared(scalers.apply(dataset.train), None, dataset.num_classes), scalers
