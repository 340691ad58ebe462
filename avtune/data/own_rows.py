"""Validation rows of a trial's own: the training rows are split anew for each seed (`validation.reshuffle`).

With one split for all trials a search may choose the configuration that suits its validation rows; with a split for
each, the rows that flatter a configuration differ from trial to trial (Nagler et al., "Reshuffling Resampling Splits
Can Improve Generalization of Hyperparameter Optimization", NeurIPS 2024).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.seeds import mix
from avtune.data.labels import Labels
from avtune.data.split import Fold, validation_folds

_TRIES = 20
"""Splits that are tried: with groups, or several labels a clip, one seed in many gives none."""


@dataclass(frozen=True, eq=False)
class OwnRows:
    """How the training rows are split for a seed.

    Attributes:
        fraction, folds, groups: as `split.validation_folds` takes them.
        fold: which of the folds, from 0.
        rows: rows of an epoch, the same for all seeds: those of the split of the study's seed. With groups, or several
            labels a clip, the rows that a seed trains on may be some more or some fewer.
    """

    fraction: float | None
    folds: int | None
    groups: npt.NDArray[np.int64] | None
    fold: int
    rows: int

    def of(self, labels: Labels, seed: int) -> Fold:
        """The rows to train on and to validate on. The same seed gives the same rows.

        Args:
            labels: of all training rows.
            seed: of the trial.

        Raises:
            UserError: no such split is found.
        """
        for attempt in range(_TRIES):
            try:
                return validation_folds(
                    labels,
                    fraction=self.fraction,
                    folds=self.folds,
                    seed=mix(seed, "validation rows", attempt) >> 31,  # scikit-learn takes 32 bits
                    groups=self.groups,
                )[self.fold]
            except UserError as error:
                failed = error
        raise failed
