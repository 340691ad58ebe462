"""A search of next to no work: tiny encoders on 24 clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avtune.data import from_arrays
from avtune.data.prepare import Prepared, for_search
from avtune.methods import METHODS, hypers_of
from avtune.space.files import load
from avtune.space.space import Space

_SPACE = """
method: triplet
space:
  margin: {type: float, low: 0.1, high: 1.0}
  lr: {type: float, low: 1e-3, high: 1e-1, log: true}
  hidden_dim: 8
  embedding_dim: 4
  batch_size: 8
early_stopping: {epochs: 1, grace: 1}
validation: {fraction: 0.25}
"""


def space(scratch: Path, **settings: object) -> Space:
    """The space, with settings such as `search__trials=1000` for `search.trials=1000`; it is written into `scratch`."""
    file = scratch / "tiny.yaml"
    file.write_text(_SPACE)
    overrides = [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    return load(str(file), hypers_of=hypers_of, method_names=METHODS, overrides=overrides)


def folds() -> tuple[Prepared, ...]:
    """What its trials see."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, rows in (("train", 32), ("test", 8)):
        arrays[f"lab_{split}"] = np.arange(rows) % 4
        for view, width in (("audio", 6), ("visual", 10)):
            arrays[f"{view}_{split}"] = rng.normal(size=(rows, width)).astype(np.float32)
    return for_search(from_arrays(arrays, name="tiny", source="generated"), fraction=0.25, folds=None, seed=0)
