"""The weights of a study's best trials, for those who want more than its winner: `--keep K`.

A trial that trains to its end leaves its weights; those of all but the K best go at once, so that the disk holds K of
them however many trials there are. When the search is over, each becomes a model's folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.core.run_files import is_left_by
from avtune.core.run_key import training_key
from avtune.data.dataset import Dataset
from avtune.data.prepare import Scalers, search_scalers
from avtune.engine.model import CONFIG, WEIGHTS, Model, load_weights
from avtune.finals.looks import study_mark
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.study import Study


def checked_keep(keep: int, *, function: bool) -> int:
    """The number of trials whose weights are kept.

    Args:
        function: a user's training function is searched.

    Raises:
        UserError: it is no such number, or there are no weights to keep.
    """
    if keep < 0:
        raise UserError(f"--keep is {keep}; allowed: a whole number from 0")
    if keep and function:
        raise UserError("--keep keeps the weights of methods; a training function keeps its model to itself")
    return keep


class Checkpoints:
    """Keeps the weights of the best trials of a study; a `study.listener.Listener`.

    Args:
        folder: of the study.
        keep: how many trials' weights, 0 for none.
    """

    def __init__(self, folder: StudyFolder, keep: int) -> None:
        self._folder = folder
        self._keep = keep
        self._best: list[Record] = []  # best first

    def known(self, study: Study) -> None:
        """Takes note of the trials that ended before this process began, and deletes files that belong to no trial that
        is kept or running. Makes the folder for weights where trials are still to be trained."""
        if self._keep and not study.exhausted:
            with using(self._folder.checkpoints):
                self._folder.checkpoints.mkdir(exist_ok=True)
        for record in study.records:
            if record.state == "COMPLETE" and self._is_there(record):
                self._take(record)
        if not self._folder.checkpoints.is_dir():
            return
        running = {record.number for record in study.records if record.state == "RUNNING"}
        kept = running | {record.number for record in self._best}
        wanted = {path for number in kept for path in self._paths(number)}
        with using(self._folder.checkpoints):
            for path in self._folder.checkpoints.iterdir():
                if path not in wanted:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                elif path.is_dir() and not path.is_symlink():
                    for torn in (*path.glob(f".{CONFIG}-????????"), *path.glob(f".{WEIGHTS}-????????")):
                        torn.unlink()  # a kill came while the model was written

    def started(self, record: Record) -> None:
        pass

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        pass

    def ended(self, record: Record) -> None:
        if record.state == "COMPLETE" and self._is_there(record):
            self._take(record)
        else:
            self._drop(record)

    def publish(self, study: Study, dataset: Dataset) -> list[int]:
        """Makes a model's folder of each: `checkpoints/trial_N`, with the scalers of the rows that it was trained on.

        Returns:
            The trials, best first.
        """
        if not self._best:
            return []
        validation = study.space.validation
        scalers = _scalers(study, dataset)
        dims = (dataset.audio_dim, dataset.visual_dim, dataset.num_classes)
        for record in self._best:
            raw, made = self._paths(record.number)
            if not raw.is_file():
                continue
            trial = record.trial
            if validation.reshuffle:
                scalers = _scalers(study, dataset, trial.seed)
            about = {
                "dataset": dataset.name,
                "seed": trial.seed,
                "trial": record.number,
                "run": training_key(trial),
                "study": study_mark(study.folder),
                "trained_on": f"the training rows of the {'trial' if validation.reshuffle else 'search'}"
                + (", first fold" if validation.folds else ""),
                "precision": trial.precision,
            }
            trained = load_weights(raw, trial, dims)
            with using(made):
                made.mkdir(exist_ok=True)
            Model(trial.method, trial.config, trained, scalers, dataset.class_names, about, views=dataset.views).save(
                made
            )
            with using(raw):
                raw.unlink()
        return [record.number for record in self._best]

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self._folder.checkpoint(number), self._folder.checkpoints / f"trial_{number}"

    def _is_there(self, record: Record) -> bool:
        raw, made = self._paths(record.number)
        return is_left_by(raw, record.trial) or (made / CONFIG).is_file()

    def _take(self, record: Record) -> None:
        self._best.append(record)
        self._best.sort(key=lambda one: (-(one.best_value or 0.0), one.number))
        for one in self._best[self._keep :]:
            self._drop(one)
        del self._best[self._keep :]

    def _drop(self, record: Record) -> None:
        raw, made = self._paths(record.number)
        with using(raw):
            raw.unlink(missing_ok=True)
        shutil.rmtree(made, ignore_errors=True)


def _scalers(study: Study, dataset: Dataset, trial_seed: int | None = None) -> Scalers:
    """Those of the rows that trials were trained on; with a seed, of the trial whose own rows these are."""
    validation = study.space.validation
    return search_scalers(
        dataset,
        fraction=validation.fraction,
        folds=validation.folds,
        seed=study.space.search.seed,
        given=validation.split is not None,
        equal_rows=validation.equal_rows is not None,
        trial_seed=trial_seed,
    )
