"""Fixtures for every test."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

# Small tensors: more threads only wait for each other, for seconds on a busy machine.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """`real_data(name)` is the path of a real feature file; the test is skipped when it is in neither place."""
    given = os.environ.get("AVTUNE_DATA")
    folders = [*([Path(given)] if given else []), Path(__file__).parents[1] / "../shared/data"]

    def find(name: str) -> Path:
        for folder in folders:
            if (folder / name).is_file():
                return (folder / name).resolve()
        pytest.skip(f"real data: no {name} in $AVTUNE_DATA nor in ../shared/data")

    return find
