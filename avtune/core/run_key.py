"""Names of training runs: hashes of everything that decides what they give. Every file that a run leaves carries its
name, and whoever reads the file checks it."""

from __future__ import annotations

import hashlib
import json

from avtune.core.protocol import PUBLISHED
from avtune.core.trial import Trial


def training_key(trial: Trial) -> str:
    """Names what decides a run's weights after each of its epochs, whenever it ends: 24 hexadecimal digits."""
    return _hashed(
        trial.basis,
        trial.method,
        sorted(trial.config.items()),
        trial.seed,
        trial.precision,
        trial.horizon or trial.epochs,
    )


def run_key(trial: Trial) -> str:
    """Names what decides a run's weights and curve at its end: `training_key` and how long it trains."""
    return _hashed(training_key(trial), trial.epochs, trial.patience, trial.least, trial.keep_best)


def search_basis(
    digest: str, fraction: float | None, folds: int | None, seed: int, code: str = "", *more: str | None
) -> str:
    """The `Trial.basis` of runs that train on the rows of a search.

    Args:
        digest: of the dataset.
        fraction, folds, seed: of the validation split, see `data.split.validation_folds`.
        code: SHA-256 of the file of the user's own code; empty for a method of avtune.
        more: what else decides the split and what is maximised there, see `Space.decides`; None for what does not.
    """
    return _hashed("search", digest, fraction, folds, seed, code, *(one for one in more if one is not None))


def retraining_basis(digest: str, protocol: str, code: str = "") -> str:
    """The `Trial.basis` of runs that train on the whole training set. Under the protocol `published` the test split
    decides the epoch whose weights are kept."""
    return _hashed("retraining", digest, protocol == PUBLISHED, code)


def _hashed(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
