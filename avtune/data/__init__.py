"""Datasets: reading them, checking them, splitting them."""

from avtune.data.dataset import SIX_KEYS, Dataset, Split, check, from_arrays
from avtune.data.demo import demo
from avtune.data.findings import Findings, examine
from avtune.data.formats import read, read_youtube8m, write_hdf5
from avtune.data.info import describe
from avtune.data.registry import REGISTRY, Entry, load, locate, problems
from avtune.data.split import Fold, Scaler, validation_folds

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
