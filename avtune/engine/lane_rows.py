"""The rows of each lane where trials have validation rows of their own (`data.own_rows`): all lanes read one copy of
the features, which is not scaled, and rows are scaled as they are taken, by the statistics of the lane's training rows.

Legend: L lanes, N training rows of the data set, B rows that are taken, A audio features, V visual features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from avtune.core.trial import Trial
from avtune.data.prepare import Prepared, Scalers
from avtune.engine.features import Rows


@dataclass(frozen=True, eq=False)
class Scale:
    """What features are scaled by.

    Attributes:
        audio_mean, audio_std: [L, 1, A].
        visual_mean, visual_std: [L, 1, V].
    """

    audio_mean: Tensor
    audio_std: Tensor
    visual_mean: Tensor
    visual_std: Tensor

    def tensors(self) -> list[Tensor]:
        return [self.audio_mean, self.audio_std, self.visual_mean, self.visual_std]

    def apply(self, audio_LBA: Tensor, visual_LBV: Tensor) -> tuple[Tensor, Tensor]:
        """The features scaled, as new tensors."""
        return (audio_LBA - self.audio_mean) / self.audio_std, (visual_LBV - self.visual_mean) / self.visual_std


@dataclass(frozen=True, eq=False)
class TrialRows:
    """A trial's.

    Attributes:
        fit: rows to train on, int64 [n].
        labels: theirs, int64 [n] or bool [n, C].
        validation: rows to score on, int64 [m].
        scale: of one lane.
    """

    fit: np.ndarray
    labels: np.ndarray
    validation: np.ndarray
    scale: Scale


class LaneRows:
    """The rows of the trials of a group's fold.

    Args:
        data: whose trials have rows of their own.
        train: its training rows on the device.
    """

    def __init__(self, data: Prepared, train: Rows) -> None:
        assert data.own_rows is not None
        self.train = train
        self.labels = data.train.labels
        self.rows = data.rows
        self._data = data
        self._found: dict[int, TrialRows] = {}

    def of(self, trial: Trial) -> TrialRows:
        """The rows of a trial. They follow from its seed, so that any engine finds the same ones.

        Raises:
            UserError: no split is found, or a value is too far from those of its training rows to be scaled.
        """
        seed = _seed(trial)
        if seed not in self._found:
            self._found[seed] = self._make(seed)
        return self._found[seed]

    def keep(self, trials: Sequence[Trial]) -> None:
        """Forgets the rows of all other trials."""
        wanted = {_seed(trial) for trial in trials}
        self._found = {seed: rows for seed, rows in self._found.items() if seed in wanted}

    def scale(self, trials: Sequence[Trial]) -> Scale:
        """Of these trials' lanes."""
        parts = [self.of(trial).scale.tensors() for trial in trials]
        return Scale(*(torch.cat(one) for one in zip(*parts, strict=True)))

    def taken(self, trial: Trial, rows: np.ndarray) -> Rows:
        """Rows of the training set as the trial sees them, scaled; new tensors."""
        train = self.train
        index = torch.tensor(rows, device=train.labels.device)
        audio, visual, labels = (x.index_select(0, index) for x in (train.audio, train.visual, train.labels))
        scaled_a, scaled_v = self.of(trial).scale.apply(audio[None], visual[None])
        return Rows(scaled_a[0], scaled_v[0], labels)

    def _make(self, seed: int) -> TrialRows:
        assert self._data.own_rows is not None
        fold = self._data.own_rows.of(self.labels, seed)
        scalers = Scalers.fit(self._data.train, fold.fit)
        for scaler, edges in zip((scalers.audio, scalers.visual), self._edges, strict=True):
            scaler.check(*edges)
        values = (scalers.audio.mean, scalers.audio.std, scalers.visual.mean, scalers.visual.std)
        scale = Scale(*(self._put(value) for value in values))
        return TrialRows(fold.fit, self.labels[fold.fit], fold.validation, scale)

    @cached_property
    def _edges(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The smallest and the largest value of each feature, of both views."""
        return [(rows.min(axis=0), rows.max(axis=0)) for rows in (self._data.train.audio, self._data.train.visual)]

    def _put(self, value: np.ndarray) -> Tensor:
        audio = self.train.audio
        return torch.tensor(value, device=audio.device, dtype=audio.dtype)[None, None]


def _seed(trial: Trial) -> int:
    return trial.seed if trial.rows_seed is None else trial.rows_seed
