"""What `psd_examined` compares: training sets with wrong or missing labels, and variants of `psd` and its baselines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from avtune.core.seeds import mix
from avtune.data import Dataset, load
from avtune.data.dataset import Split
from avtune.data.prepare import folds_of
from avtune.engine import user_code
from avtune.space.files import find, text_of
from avtune.space.parse import parse
from avtune.space.space import Space
from benchmarks._partly_labelled import NAME as PARTLY

DATASETS = ("demo", "yt8m_ave15", "yt8m_10s")
FRACTION = 0.2
"""Share of the training clips that validates."""
NOISE = (0, 20, 40)
"""Percent of the clips that are trained on whose label is replaced by another class."""
SHARES = (50, 20, 10)
"""Percent of the clips that are trained on whose label is kept; 100 % is the noise of 0 %."""
CONDITIONS = tuple(f"noise-{one}" for one in NOISE) + tuple(f"labelled-{one}" for one in SHARES)

PSD, TRIPLET, CLASSIFIERS, LABELLED_ONLY, ALL_LABELS = "psd", "triplet", "classifiers", "psd-labelled-only", "psd-r-1"
CHANGES: dict[str, dict[str, float]] = {
    PSD: {},
    ALL_LABELS: {"r_init": 1.0, "r_shrink": 1.0, "tau": 0.1},
    "psd-no-shrink": {"r_shrink": 1.0},
    "psd-hard": {"tau": 0.001},
    "psd-margin-0.2": {"margin": 0.2},
    LABELLED_ONLY: {},
}
"""Variants of `psd`: what is fixed of what it searches."""
MEANING = {
    PSD: "margin, w_cross, w_dis, r_init, r_shrink, tau, lr and dropout searched",
    ALL_LABELS: "r fixed at 1: no soft alignments",
    "psd-no-shrink": "r_shrink fixed at 1: r stays r_init",
    "psd-hard": "tau fixed at 0.001: the softmax has one 1, so that the most similar clip alone counts as positive",
    "psd-margin-0.2": "margin fixed at its default",
    LABELLED_ONLY: "`psd` without the clips that have no label",
    TRIPLET: "the same losses and encoders with labels for every clip; margin, w_cross, w_dis, lr and dropout searched",
    CLASSIFIERS: "one classifier a view; label smoothing, lr, weight decay and dropout searched",
}
WIDE = {"hidden_dim": 512, "embedding_dim": 64, "batch_size": 256}
WIDTHS = {"demo": {"hidden_dim": 128, "embedding_dim": 32, "batch_size": 128}}
"""Of the networks, by data set; of others `WIDE`."""
_RATES = {"demo": {"low": 1.0e-4, "high": 1.0e-2}}  # as in the spaces `demo` and `ave`


@dataclass(frozen=True)
class Cell:
    """One search.

    Attributes:
        dataset: name.
        condition: of `CONDITIONS`.
        variant: of `MEANING`.
        seed: of the search; decides also the validation rows and which labels are wrong or missing.
    """

    dataset: str
    condition: str
    variant: str
    seed: int

    @property
    def place(self) -> Path:
        """Of its study, below the work folder."""
        return Path(self.dataset) / self.condition / f"{self.variant}-{self.seed}"


def variants(condition: str) -> tuple[str, ...]:
    """What is compared under a condition. With a label for every clip `psd` with r = 1 is `triplet`, to the last
    trial, and there is nothing to leave out."""
    if condition.startswith("noise"):
        return tuple(one for one in MEANING if one not in (ALL_LABELS, LABELLED_ONLY))
    return tuple(MEANING)


def cells(datasets: Sequence[str], conditions: Sequence[str], seeds: int, only: Sequence[str]) -> Iterator[Cell]:
    """All searches, seed by seed, so that what is interrupted has about as many of each."""
    for dataset in datasets:
        for seed in range(seeds):
            for condition in conditions:
                for variant in variants(condition):
                    if not only or variant in only:
                        yield Cell(dataset, condition, variant, seed)


def dataset_named(name: str) -> Dataset:
    """`demo`, a file in the folder that AVTUNE_DATA names, or any file."""
    held = Path(os.environ.get("AVTUNE_DATA", "data")) / f"{name}.h5"
    return load(str(held) if held.is_file() else name)


def made(base: Dataset, cell: Cell) -> Dataset:
    """The training set of a cell: the validation rows set aside with their labels, the others as the condition says."""
    (fold,) = folds_of(base, fraction=FRACTION, folds=None, seed=cell.seed)
    fit, held = base.train.take(np.sort(fold.fit)), base.train.take(np.sort(fold.validation))
    kind, _, percent = cell.condition.partition("-")
    draw = np.random.default_rng(mix(cell.seed, kind, percent) % 2**63)
    names = base.class_names
    if kind == "noise":
        fit = Split(fit.audio, fit.visual, wrong(fit.labels, int(percent) / 100, base.num_classes, draw))
    else:
        rows = labelled(fit.labels, int(percent) / 100, draw)
        if method_of(cell) == PARTLY:
            labels = np.full_like(fit.labels, base.num_classes)
            labels[rows] = fit.labels[rows]
            fit, names = Split(fit.audio, fit.visual, labels), (*names, "no label")
        else:  # as many rows, so that an epoch has as many steps
            fit = fit.take(np.tile(rows, round(100 / int(percent))))
    return Dataset.from_arrays(
        train=(fit.audio, fit.visual, fit.labels),
        validation=(held.audio, held.visual, held.labels),
        test=(base.test.audio, base.test.visual, base.test.labels),
        name=f"{base.name}-{cell.condition}",
        class_names=names,
        views=base.views,
    )


def wrong(labels: np.ndarray, share: float, classes: int, draw: np.random.Generator) -> np.ndarray:
    """Labels int64 [N] of which a share is replaced by another class, each of the others being as likely."""
    rows = draw.permutation(len(labels))[: round(share * len(labels))]
    changed = labels.copy()
    changed[rows] = (labels[rows] + draw.integers(1, classes, len(rows))) % classes
    return changed


def labelled(labels: np.ndarray, share: float, draw: np.random.Generator) -> np.ndarray:
    """The rows, ascending, that keep their label: that share of each class, and two at least."""
    kept = []
    for one in np.unique(labels):
        rows = np.flatnonzero(labels == one)
        kept.append(draw.permutation(rows)[: max(2, round(share * len(rows)))])
    return np.sort(np.concatenate(kept))


def method_of(cell: Cell) -> str:
    """The method that a variant trains."""
    if cell.variant in (TRIPLET, CLASSIFIERS):
        return cell.variant
    return PARTLY if cell.condition.startswith("labelled") and cell.variant != LABELLED_ONLY else "psd"


def space_of(cell: Cell, settings: Mapping[str, Any]) -> Space:
    """The space of a cell: the ranges of the spaces `ave`, `triplet` and `classifiers`, with the widths of the data
    set.

    Args:
        settings: `trials`, `epochs` and `seeds` (of the retraining), and `widths` where others are wanted.
    """
    top = yaml.safe_load(text_of(find(cell.variant if cell.variant in (TRIPLET, CLASSIFIERS) else "ave")))
    top["method"] = method_of(cell)
    space = top["space"] | CHANGES.get(cell.variant, {})
    widths = WIDTHS.get(cell.dataset, WIDE) | settings.get("widths", {})
    space |= {name: value for name, value in widths.items() if name in space}
    if cell.dataset in _RATES:
        space["lr"] = space["lr"] | _RATES[cell.dataset]
    trials = int(settings["trials"])
    top |= {
        "space": space,
        "search": {"sampler": "tpe", "trials": trials, "seed": cell.seed, "startup_trials": min(6, trials // 2)},
        "early_stopping": {"epochs": int(settings["epochs"]), "grace": 3, "factor": 3},
        "validation": {"split": "given"},
        "final": {"finalists": 1, "seeds": int(settings["seeds"]), "reference": "none"},
    }
    text = yaml.safe_dump(top, sort_keys=False)
    return parse(text, file=str(cell.place), hypers_of=user_code.hypers_of, method_names=user_code.names())
