"""What a story searches: a few generated clips, and a space of which a trial takes some milliseconds."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from toy import SPACE, toy_dataset

from avtune.data.dataset import Dataset, Split
from avtune.data.formats import write_hdf5

_SMALL = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}
# Narrow, so that configurations are much alike and other seeds have another one win.
_LR = {"type": "float", "low": 7e-4, "high": 3e-3, "log": True}
_MARGIN = {"type": "float", "low": 0.1, "high": 0.5}
SPACES: dict[str, dict[str, object]] = {
    "plain": {"method": "triplet", "space": {"margin": _MARGIN, "lr": _LR, **_SMALL}},
    "default outside": {
        "method": "triplet",
        "space": {"margin": _MARGIN, "lr": {**_LR, "low": 1e-2, "high": 1e-1}, **_SMALL},
    },
    "static": {
        "method": "triplet",
        "space": {"lr": _LR, **_SMALL, "batch_size": {"type": "choice", "values": [8, 16]}},
    },
    "schedule": {
        "method": "psd",
        "space": {
            "r_init": {"type": "float", "low": 0.5, "high": 1.0},
            "r_shrink": {"type": "float", "low": 0.8, "high": 1.0},
            "lr": _LR,
            **_SMALL,
        },
    },
    "folds": {"method": "triplet", "space": {"lr": _LR, **_SMALL}, "validation": {"folds": 2}},
    "open": {"method": "triplet", "space": {"lr": _LR, **_SMALL}, "early_stopping": {"epochs": "auto", "steps": 20}},
    "closed form": {
        "method": "cca",
        "space": {"ridge": {"type": "float", "low": 1e-3, "high": 10.0, "log": True}, "embedding_dim": 4},
        "early_stopping": {"epochs": 1},
    },
}
"""By name; what is not said here, `World.space` adds."""
OLD = "old format"
"""The story goes on with a study that an earlier version made, `tests/fixtures/study_v1`."""


@dataclass(frozen=True)
class World:
    """What a story begins with.

    Attributes:
        folder: where its commands are given: the data lies there, and results/.
        kind: of `SPACES`.
        deterministic: whether the search is.
        precision, protocol: of the study.
        epochs, trials, finalists, seeds: in the beginning.
        reference: `final.reference`, see `finals.reference`.
        sampler: `random` where the number of epochs may grow: what TPE was told before would be different after.
    """

    folder: Path
    kind: str
    deterministic: bool
    precision: str
    protocol: str
    epochs: int
    trials: int
    finalists: int
    seeds: int
    sampler: str
    reference: str
    data_seed: int

    @property
    def space(self) -> dict[str, object]:
        """The space file's content."""
        if self.kind == OLD:
            made: dict[str, object] = yaml.safe_load(SPACE)
            return made
        return {
            "search": {
                "trials": self.trials,
                "seed": self.data_seed % 1000,
                "startup_trials": 2,
                "lag": 2,
                "sampler": self.sampler,
            },
            "early_stopping": {"epochs": self.epochs, "grace": 1, "factor": 2},
            "validation": {"fraction": 0.3},
            "final": {"finalists": self.finalists, "seeds": self.seeds, "reference": self.reference},
            **SPACES[self.kind],
        }

    @property
    def grows(self) -> bool:
        """Whether trials may be given more epochs."""
        return self.sampler == "random" and "early_stopping" not in SPACES.get(self.kind, {})

    @property
    def dataset(self) -> Dataset:
        """What `clips.h5` holds."""
        return toy_dataset() if self.kind == OLD else clips(self.data_seed)

    def write(self) -> None:
        """Writes `clips.h5` and `space.yaml`, and `other.h5`, which holds other clips."""
        self.folder.mkdir(parents=True)
        write_hdf5(self.dataset, self.folder / "clips.h5")
        write_hdf5(clips(self.data_seed + 1), self.folder / "other.h5")
        (self.folder / "space.yaml").write_text(yaml.safe_dump(self.space, sort_keys=False))


def drawn(draw: random.Random, folder: Path, seed: int) -> World:
    """The world of a story."""
    kind = draw.choices([*SPACES, OLD], (6, 5, 2, 2, 1, 0.4, 1, 1))[0]
    return World(
        folder=folder,
        kind=kind,
        deterministic=draw.random() < 0.75 and kind != OLD,
        precision=draw.choice(("fp32", "fp32", "bf16")),
        protocol="published" if draw.random() < 0.08 else "validation",
        epochs=draw.choice((2, 3)),
        trials=draw.choice((3, 4)),
        finalists=draw.choice((1, 2, 2)),
        seeds=draw.choice((1, 2)),
        sampler=draw.choice(("tpe", "random")),
        reference=random.Random(f"reference of {seed}").choice(("none", "none", "none", "classifiers")),
        data_seed=seed,
    )


def clips(seed: int, train: int = 72, test: int = 30) -> Dataset:
    """Two views of classes that overlap, so that every configuration has a score of its own."""
    draw = np.random.default_rng(seed)
    centres = [draw.normal(size=(3, dim)) for dim in (9, 6)]

    def split(size: int) -> Split:
        labels = np.arange(size) % 3
        views = [(centre[labels] + draw.normal(size=(size, centre.shape[1]))).astype(np.float32) for centre in centres]
        return Split(views[0], views[1], labels)

    return Dataset("clips", split(train), split(test), ("a", "b", "c"), "generated")
