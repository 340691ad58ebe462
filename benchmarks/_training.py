"""What `benchmarks.lanes` trains: engines of `psd` on features of a real file's shape, without Ray or a study."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import cache

import numpy as np

from avtune.data import Dataset, from_arrays, load
from avtune.data.prepare import Prepared, for_search
from avtune.lanes.engine import Lanes
from avtune.methods import check_config, get, static_values
from avtune.trial import Trial

METHOD = "psd"
FIXED: dict[str, int | float] = {"batch_size": 256, "embedding_dim": 64, "r_shrink": 1.0}
VARIED = {"margin": (0.02, 0.8), "w_cross": (0.2, 20), "tau": (0.02, 1), "lr": (2e-4, 5e-3), "dropout": (0, 0.6)}
# The shape of the YouTube-8M subset that stands in for AVE.
CLASSES, TRAIN_ROWS, TEST_ROWS, AUDIO, VISUAL = 15, 1663, 417, 128, 1024


@dataclass(frozen=True)
class Setup:
    """What an engine trains, and where. `data`: a dataset's name or path, None for generated features; `threads`: CPU
    threads of the engine."""

    data: str | None
    hidden: int
    device: str
    precision: str
    threads: int

    @property
    def label(self) -> str:
        return f"{self.device}, {self.precision}"


@cache
def prepared(data: str | None) -> Prepared:
    """Four fifths of the training rows to train on, the rest to validate."""
    return for_search(load(data) if data else _generated(), fraction=0.2, folds=None, seed=0)[0]


def _generated() -> Dataset:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    centres = {"audio": rng.normal(size=(CLASSES, AUDIO)), "visual": rng.normal(size=(CLASSES, VISUAL))}
    for split, rows in (("train", TRAIN_ROWS), ("test", TEST_ROWS)):
        arrays[f"lab_{split}"] = labels = rng.permutation(np.arange(rows) % CLASSES)
        for view, means in centres.items():
            arrays[f"{view}_{split}"] = means[labels] + 3 * rng.normal(size=(rows, means.shape[1]))
    return from_arrays(arrays, name="generated", source="generated")


def trial(setup: Setup, number: int) -> Trial:
    """A configuration of its own for every lane, all of one group."""
    rng = np.random.default_rng(number)
    varied = {name: float(rng.uniform(low, high)) for name, (low, high) in VARIED.items()}
    config = check_config(get(METHOD), FIXED | varied | {"hidden_dim": setup.hidden})
    return Trial(number, METHOD, config, seed=number, epochs=100_000, precision=setup.precision)


def engine(setup: Setup, num_lanes: int, *, validate: bool) -> Lanes:
    """An engine with so many lanes, all taken."""
    data = prepared(setup.data)
    if not validate:
        data = dataclasses.replace(data, validation=None)
    static = static_values(get(METHOD), trial(setup, 0).config)
    lanes = Lanes(METHOD, static, data, capacity=num_lanes, device=setup.device, precision=setup.precision)
    for number in range(num_lanes):
        lanes.admit(trial(setup, number))
    return lanes


def clips_per_epoch(setup: Setup) -> int:
    """Clips that one lane trains in an epoch: full batches only."""
    rows, batch = len(prepared(setup.data).train), int(FIXED["batch_size"])
    return rows // batch * batch


def epochs_per_second(lanes: Lanes, seconds: float) -> float:
    """Epochs of all lanes together, trained for at least so many seconds."""
    start, elapsed, epochs = time.perf_counter(), 0.0, 0
    while elapsed < seconds:
        epochs += len(lanes.train_epoch())
        elapsed = time.perf_counter() - start
    return epochs / elapsed
