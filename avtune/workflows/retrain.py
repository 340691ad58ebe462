"""Retrains one trial of a study on the whole training set and scores it: the verb `retrain`."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from avtune.core.errors import UserError
from avtune.data.dataset import Dataset
from avtune.finals.finish import FinalsRun, retrain
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.record import Record
from avtune.study.results import Results
from avtune.study.study import Study


def choose(study: Study, number: int | None) -> Record:
    """The trial to retrain: the one with that number, or the best.

    Raises:
        UserError: there is no such trial, or it has no validation MAP.
    """
    if number is None:
        if study.best is None:
            raise UserError(f"no trial of {study.folder.root} has a validation MAP yet; let the search run first")
        return study.best
    if not 0 <= number < len(study.records):
        raise UserError(f"--trial is {number}; {study.folder.root} has the trials 0 to {len(study.records) - 1}")
    record = study.records[number]
    if record.best_epoch is None:
        raise UserError(f"trial {number} has no validation MAP ({record.reason or 'it has not run'}); choose another")
    return record


def retrain_trial(
    study: Study,
    record: Record,
    dataset: Dataset,
    finals: FinalsRun,
    *,
    epochs: int | None,
    seeds: int | None,
    out: Path,
) -> Results:
    """Trains the trial's configuration over seeds, scores the test split once per seed, and writes model, metrics and
    model card into `out`.

    Args:
        study: of the trial.
        record: of the trial.
        dataset: of the study.
        epochs: None for the epoch at which its mean curve over seeds peaked if it was a finalist, else its best epoch.
        seeds: None for the study's `final.seeds`.
        out: does not exist.

    Returns:
        What `metrics.json` holds, but for digests.

    Raises:
        UserError: a number is out of range.
    """
    assert not out.exists(), "the caller looks before it starts anything"
    for option, given in (("--epochs", epochs), ("--seeds", seeds)):
        if given is not None and given < 1:
            raise UserError(f"{option} is {given}; allowed: a whole number from 1")
    horizon = _with_seeds(study.horizon, seeds)
    best = _epochs(study.folder, record)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        folder = StudyFolder(scratch)
        results = retrain(
            folder, horizon, dataset, record.number, record.trial.config, epochs or best, finals, study.folder
        )
        folder.final.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return results


def _with_seeds(horizon: Horizon, seeds: int | None) -> Horizon:
    """The horizon with another number of seeds in `final.seeds`; None leaves it as it is."""
    if seeds is None:
        return horizon
    return replace(horizon, space=replace(horizon.space, final=replace(horizon.space.final, seeds=seeds)))


def _epochs(folder: StudyFolder, record: Record) -> int:
    """How long to train: as the finalists say, else the trial's own best epoch."""
    best = read_best(folder)
    for row in best.finalists if best else ():
        if row.trial == record.number and row.epoch:
            return row.epoch
    assert record.best_epoch is not None
    return record.best_epoch
