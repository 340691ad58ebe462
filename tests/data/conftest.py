"""A small dataset to write in every format and to spoil in every way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

Arrays = dict[str, Any]


@pytest.fixture
def arrays() -> Arrays:
    """Six arrays: three classes 4, 7 and 9, 12 and 6 clips, 10-d audio and 3-d visual features."""
    rng = np.random.default_rng(0)
    made: Arrays = {}
    for split, per_class in (("train", 4), ("test", 2)):
        labels = rng.permutation(np.repeat([4, 7, 9], per_class))
        made[f"audio_{split}"] = rng.normal(size=(len(labels), 10)).astype(np.float32)
        made[f"visual_{split}"] = rng.normal(size=(len(labels), 3)).astype(np.float32)
        made[f"lab_{split}"] = labels.astype(np.int64)
    return made


@pytest.fixture
def write_h5(tmp_path: Path) -> Callable[[Arrays], Path]:
    """`write_h5(arrays)` writes them as they are and gives the path."""

    def write(arrays: Arrays) -> Path:
        path = tmp_path / "features.h5"
        with h5py.File(path, "w") as file:
            for key, value in arrays.items():
                file[key] = value
        return path

    return write
