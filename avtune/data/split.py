"""Validation splits of the training rows, and the scaler that is fitted on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from avtune.core.errors import UserError
from avtune.core.relevance import is_multi_label
from avtune.data.groups import divided
from avtune.data.labels import Labels
from avtune.data.on_disk import is_on_disk, room
from avtune.data.stratify import multi_label_parts

BLOCK_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Fold:
    """Rows of one split of the training set, shuffled.

    Attributes:
        fit: int64 rows to train on.
        validation: int64 rows to score on; the two share no row.
    """

    fit: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]


def validation_folds(
    labels: Labels,
    *,
    fraction: float | None = None,
    folds: int | None = None,
    seed: int,
    settings: bool = False,
    groups: npt.NDArray[np.int64] | None = None,
) -> list[Fold]:
    """Stratified splits of rows 0..N-1: one for a `fraction`, `folds` of them for k-fold cross-validation.

    Every class has a row on both sides of every fold. The same arguments give the same rows. With groups or several
    labels a clip, a split has about the share of rows that is asked for.

    Args:
        labels: int64 [N], or bool [N, C].
        fraction: share of the validation rows, between 0 and 1, ends excluded.
        folds: number of folds, at least 2. Exactly one of `fraction` and `folds` is given.
        settings: they are settings of a space, so that a message may tell the user to set them.
        groups: int64 [N]; rows of one group stay on one side of every fold.

    Raises:
        UserError: a number out of range, or a class with too few rows, or whose rows are all of one group.
    """
    assert (fraction is None) != (folds is None), "give a fraction or a number of folds"
    if groups is not None and len(np.unique(groups)) == len(groups):
        groups = None
    if groups is not None or is_multi_label(labels):
        divide: Any = multi_label_parts if is_multi_label(labels) else divided
        parts = divide(labels, groups, fraction=fraction, folds=folds, seed=seed)
        rng = np.random.default_rng(seed)
        every = np.arange(len(labels))
        return [Fold(rng.permutation(np.setdiff1d(every, part)), rng.permutation(part)) for part in parts]
    if folds is not None:
        return _k_folds(labels, folds, seed, settings)
    assert fraction is not None
    return [_one_split(labels, fraction, seed, settings)]


def _rarest(labels: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    """(number of classes, the class with the fewest rows, how many)."""
    classes, counts = np.unique(labels, return_counts=True)
    return len(classes), int(classes[counts.argmin()]), int(counts.min())


def _k_folds(labels: npt.NDArray[np.int64], folds: int, seed: int, settings: bool) -> list[Fold]:
    from sklearn.model_selection import StratifiedKFold  # here: it takes two seconds to import

    _, rarest, least = _rarest(labels)
    if folds < 2:
        raise UserError(f"{folds} folds; allowed: 2 to {least} for this dataset")
    if folds > least:
        ways = [f"--set validation.folds={least}"] * (settings and least > 1) + ["add clips, or remove the class"]
        raise UserError(
            f"{folds} folds need {folds} training clips of every class and class {rarest} (from 0) has {least}\n"
            f"what helps: {', or '.join(ways)}"
        )
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    rng = np.random.default_rng(seed)
    return [Fold(rng.permutation(fit), rng.permutation(validation)) for fit, validation in splits]


def _one_split(labels: npt.NDArray[np.int64], fraction: float, seed: int, settings: bool) -> Fold:
    from sklearn.model_selection import train_test_split  # as above

    classes, rarest, least = _rarest(labels)
    clips = len(labels)
    if not 0 < fraction < 1:
        raise UserError(f"a split fraction of {fraction:g}; allowed: above 0 and below 1")
    if least < 2:
        raise UserError(f"class {rarest} (from 0) has one training clip; a validation split needs two of every class")
    size = round(fraction * clips)
    if not classes <= size <= clips - classes:
        ways = _ways(clips, classes, least, fraction) if settings else []
        raise UserError(
            f"a split fraction of {fraction:g} puts {size} of {clips} clips aside; "
            f"{classes} classes need at least one clip each on both sides\n"
            f"what helps: {', or '.join([*ways, 'merge classes or add clips'])}"
        )
    fit, validation = train_test_split(np.arange(clips), test_size=size, stratify=labels, random_state=seed)
    fit, validation = _represent(labels, fit, validation)
    validation, fit = _represent(labels, validation, fit)
    return Fold(fit, validation)


def _ways(clips: int, classes: int, least: int, fraction: float) -> list[str]:
    """The settings that split so few clips of so many classes; no fraction may do."""
    possible = [part / 100 for part in range(1, 91) if classes <= round(part / 100 * clips) <= clips - classes]
    ways = [f"--set validation.fraction={min(possible, key=lambda one: abs(one - fraction)):g}"] if possible else []
    return [*ways, f"--set validation.folds={min(5, least)}"]


def _represent(labels: Any, source: Any, target: Any) -> tuple[Any, Any]:
    """Moves a row of each class that `target` lacks from `source`: rounding can leave a rare class out."""
    for label in np.setdiff1d(labels, labels[target]):
        first = np.flatnonzero(labels[source] == label)[0]
        target, source = np.append(target, source[first]), np.delete(source, first)
    return source, target


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises features: mean 0 and standard deviation 1 over the rows it was fitted on, which are training rows
    only. Computed in float64.

    Attributes:
        mean, std: float32 [D]. The std of a constant column is 1.
    """

    mean: npt.NDArray[np.float32]
    std: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, x: npt.NDArray[np.float32], rows: npt.NDArray[np.int64] | None = None) -> Scaler:
        """The scaler of float32 [N, D], N at least 1; of `rows` of it, where they are given."""
        count = len(x if rows is None else rows)
        mean = sum(block.sum(axis=0) for block in _blocks(x, rows)) / count
        variance = sum(np.square(block - mean).sum(axis=0) for block in _blocks(x, rows)) / count
        std = np.minimum(np.sqrt(variance), np.finfo(np.float32).max).astype(np.float32)
        # A constant column has std 0 exactly: float64 holds the sum of up to 2^29 equal float32 values.
        return cls(mean.astype(np.float32), np.where(std == 0, np.float32(1), std))

    def transform(
        self, x: npt.NDArray[np.float32], rows: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """Float32 [N, D], C-contiguous, new; on disk where `x` is. Of `rows`, in that order, where they are given.

        Raises:
            UserError: a value is so far from those of the rows fitted on that it is not finite when scaled.
        """
        scaled = room((len(x if rows is None else rows), x.shape[1]), on_disk=is_on_disk(x))
        mean, std = self.mean.astype(np.float64), self.std.astype(np.float64)
        finite = np.ones(x.shape[1], bool)
        for i, block in enumerate(_blocks(x, rows)):
            made = scaled[i * BLOCK_ROWS : i * BLOCK_ROWS + len(block)]
            with np.errstate(over="ignore"):
                made[:] = (block - mean) / std
            finite &= np.isfinite(made).all(axis=0)
        _refuse_too_far(finite)
        return scaled

    def check(self, low: npt.NDArray[np.float32], high: npt.NDArray[np.float32]) -> None:
        """What `transform` would refuse of rows between these smallest and largest values of each column, [D] each.

        Raises:
            UserError: as `transform`.
        """
        with np.errstate(over="ignore"):
            edges = (np.stack([low, high]).astype(np.float64) - self.mean) / self.std
            scaled = edges.astype(np.float32)
        _refuse_too_far(np.logical_and(*np.isfinite(scaled)))


def _refuse_too_far(finite: npt.NDArray[np.bool_]) -> None:
    if not finite.all():
        column = int(np.argmin(finite))
        raise UserError(
            f"feature {column} (from 0) has a value too far from those that were trained on: it cannot be scaled; "
            "look at the data with: avtune data info DATASET"
        )


def _blocks(x: npt.NDArray[np.float32], rows: npt.NDArray[np.int64] | None) -> Iterator[npt.NDArray[np.float64]]:
    """Blocks of the rows of x in float64, so that no copy of the whole is made."""
    for start in range(0, len(x if rows is None else rows), BLOCK_ROWS):
        block = slice(start, start + BLOCK_ROWS)
        yield x[block if rows is None else rows[block]].astype(np.float64)
