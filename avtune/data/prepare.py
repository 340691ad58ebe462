"""From a dataset to the arrays that training sees: split, then scaled with statistics of the training rows only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from avtune.core.errors import UserError
from avtune.core.objective import MAP, Objective
from avtune.data.dataset import Dataset, Rows, Split
from avtune.data.groups import together
from avtune.data.on_disk import Place, mapped, place_of
from avtune.data.own_rows import OwnRows
from avtune.data.split import Fold, Scaler, validation_folds


@dataclass(frozen=True)
class Prepared:
    """What one training run sees.

    Attributes:
        train: scaled training rows.
        validation: scaled validation rows, None when the whole training set is trained on.
        num_classes: C.
        unlabelled: scaled (audio, visual) features to embed after training, for a user's training function, which
            keeps its model to itself; None otherwise.
        objective: what is maximised on the validation rows.
        own_rows: each trial has validation rows of its own; `train` is then all training rows, not scaled, and
            `validation` None. See `for_seed`.
    """

    train: Split
    validation: Split | None
    num_classes: int
    unlabelled: tuple[np.ndarray, np.ndarray] | None = None
    objective: Objective = MAP
    own_rows: OwnRows | None = None

    @property
    def rows(self) -> int:
        """Rows of an epoch."""
        return len(self.train) if self.own_rows is None else self.own_rows.rows

    def for_seed(self, seed: int) -> Prepared:
        """What the trial with this seed sees: where trials have rows of their own, those of its split, scaled.

        Raises:
            UserError: no split is found.
        """
        if self.own_rows is None:
            return self
        fold = self.own_rows.of(self.train.labels, seed)
        scalers = Scalers.fit(self.train, fold.fit)
        fit, validation = (scalers.apply(self.train, rows) for rows in (fold.fit, fold.validation))
        return replace(self, train=fit, validation=validation, own_rows=None)

    @property
    def audio_dim(self) -> int:
        """Width of the audio features."""
        return int(self.train.audio.shape[1])

    @property
    def visual_dim(self) -> int:
        """Width of the visual features."""
        return int(self.train.visual.shape[1])


def handed(data: Sequence[Prepared], *, same_machine: bool) -> list[Prepared]:
    """What other processes are sent, which call `received`. To those of this machine features on disk go by their
    place in place of their values."""
    return [_each(one, lambda x: (place_of(x) or x) if same_machine else x) for one in data]


def received(data: Sequence[Prepared]) -> list[Prepared]:
    """What `handed` was given: features on disk are the same pages of memory in all processes of a machine."""
    return [_each(one, lambda x: mapped(x) if isinstance(x, Place) else x) for one in data]


def _each(one: Prepared, change: Callable[[Any], Any]) -> Prepared:
    """The same with other features."""

    def changed(split: Split | None) -> Any:
        return None if split is None else Split(change(split.audio), change(split.visual), split.labels)

    pair = one.unlabelled
    unlabelled = None if pair is None else (change(pair[0]), change(pair[1]))
    return replace(one, train=changed(one.train), validation=changed(one.validation), unlabelled=unlabelled)


@dataclass(frozen=True)
class Scalers:
    """The scaler of each view."""

    audio: Scaler
    visual: Scaler

    @staticmethod
    def fit(split: Split, rows: Rows | None = None) -> Scalers:
        """Scalers fitted on a split's rows: on these, or all."""
        return Scalers(Scaler.fit(split.audio, rows), Scaler.fit(split.visual, rows))

    def apply(self, split: Split, rows: Rows | None = None) -> Split:
        """The split with scaled features, as new arrays; these rows of it, or all. Nothing else is copied."""
        return Split(
            self.audio.transform(split.audio, rows),
            self.visual.transform(split.visual, rows),
            split.labels if rows is None else split.labels[rows],
        )


def for_search(
    dataset: Dataset,
    *,
    fraction: float | None,
    folds: int | None,
    seed: int,
    settings: bool = False,
    given: bool = False,
    equal_rows: bool = False,
    reshuffle: bool = False,
    objective: Objective = MAP,
) -> tuple[Prepared, ...]:
    """What the trials of a search see: one validation split of the training set, or k folds of it. The test split is
    not looked at.

    Args:
        fraction, folds, seed, settings: as `split.validation_folds` takes them.
        given, equal_rows: see `folds_of`.
        reshuffle: each trial has validation rows of its own, see `own_rows`; those of `seed` say how many rows an epoch
            has.
        objective: what is maximised.
    """
    assert not (given and reshuffle), "refused where the space is read"
    made = []
    how = {"settings": settings, "given": given, "equal_rows": equal_rows}
    train = dataset.train
    found = folds_of(dataset, fraction=fraction, folds=folds, seed=seed, **how)
    if reshuffle:
        groups = _groups(dataset, equal_rows)
        return tuple(
            Prepared(
                train,
                None,
                dataset.num_classes,
                objective=objective,
                own_rows=OwnRows(fraction, folds, groups, place, len(fold.fit)),
            )
            for place, fold in enumerate(found)
        )
    for fold in found:
        scalers = Scalers.fit(train, fold.fit)
        fit, validation = (scalers.apply(train, rows) for rows in (fold.fit, fold.validation))
        made.append(Prepared(fit, validation, dataset.num_classes, objective=objective))
    return tuple(made)


def folds_of(
    dataset: Dataset,
    *,
    fraction: float | None,
    folds: int | None,
    seed: int,
    settings: bool = False,
    given: bool = False,
    equal_rows: bool = False,
) -> list[Fold]:
    """The training and validation rows of a search. Clips of one group stay on one side.

    Args:
        fraction, folds, seed, settings: as `split.validation_folds` takes them.
        given: the validation split of the data set, and neither a fraction nor folds.
        equal_rows: clips of equal features stay on one side, too.

    Raises:
        UserError: the training set cannot be split so.
    """
    if given:
        if dataset.validation is None:
            raise UserError(
                f"{dataset.source} has no validation split, and validation.split is given\n"
                "what helps: --set validation.fraction=0.2"
            )
        rest = np.setdiff1d(np.arange(len(dataset.train)), dataset.validation)
        rng = np.random.default_rng(seed)
        return [Fold(rng.permutation(rest), rng.permutation(dataset.validation))]
    groups = _groups(dataset, equal_rows)
    labels = dataset.train.labels
    return validation_folds(labels, fraction=fraction, folds=folds, seed=seed, settings=settings, groups=groups)


def _groups(dataset: Dataset, equal_rows: bool) -> Any:
    """The groups of the training rows that stay on one side; None for none."""
    train = dataset.train
    return together((train.audio, train.visual), dataset.groups) if equal_rows else dataset.groups


def search_scalers(
    dataset: Dataset,
    *,
    fraction: float | None,
    folds: int | None,
    seed: int,
    given: bool = False,
    equal_rows: bool = False,
    trial_seed: int | None = None,
) -> Scalers:
    """The scalers of what `for_search` makes of the same arguments; of the first fold, where there are several.

    Args:
        trial_seed: of a trial that has validation rows of its own; None for a search in which all have the same.
    """
    train = dataset.train
    if trial_seed is not None:
        own = OwnRows(fraction, folds, _groups(dataset, equal_rows), 0, len(train))
        return Scalers.fit(train, own.of(train.labels, trial_seed).fit)
    how = {"given": given, "equal_rows": equal_rows}
    first = folds_of(dataset, fraction=fraction, folds=folds, seed=seed, **how)[0]
    return Scalers.fit(train, first.fit)


def for_retraining(dataset: Dataset) -> tuple[Prepared, Scalers]:
    """The whole training set without validation, and the scalers that the final model carries."""
    scalers = Scalers.fit(dataset.train)
    return Prepared(scalers.apply(dataset.train), None, dataset.num_classes), scalers
