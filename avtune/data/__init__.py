"""Datasets: reading them, checking them, splitting them.

What reads files is imported when it is first asked for: an engine is handed its rows, and needs no h5py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from avtune.data.dataset import SIX_KEYS, Dataset, Split, check, from_arrays
from avtune.data.demo import demo
from avtune.data.split import Fold, Scaler, validation_folds

if TYPE_CHECKING:
    from avtune.data.findings import Findings, examine
    from avtune.data.formats import read, read_youtube8m, write_hdf5
    from avtune.data.info import describe
    from avtune.data.registry import REGISTRY, Entry, load, locate, problems

_WHEN_ASKED = {
    **dict.fromkeys(("Findings", "examine"), "findings"),
    **dict.fromkeys(("read", "read_youtube8m", "write_hdf5"), "formats"),
    "describe": "info",
    **dict.fromkeys(("REGISTRY", "Entry", "load", "locate", "problems"), "registry"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHEN_ASKED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHEN_ASKED[name]}"), name)


__all__ = [
    "REGISTRY",
    "SIX_KEYS",
    "Dataset",
    "Entry",
    "Findings",
    "Fold",
    "Scaler",
    "Split",
    "check",
    "demo",
    "describe",
    "examine",
    "from_arrays",
    "load",
    "locate",
    "problems",
    "read",
    "read_youtube8m",
    "validation_folds",
    "write_hdf5",
]
