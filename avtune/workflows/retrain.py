"""Retrains one trial of a study on the whole training set and scores it: the verb `retrain`."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from avtune.core.errors import UserError
from avtune.core.words import plural
from avtune.data import load
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.options import ReadOptions, recorded_options
from avtune.engine import user_code
from avtune.finals.finish import FinalsRun
from avtune.finals.finish import retrain as train_and_score
from avtune.report.card import model_card
from avtune.report.text import score_text
from avtune.runners.placement import PlacementRequest, place
from avtune.study.best import read_best
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.limits import batch_note
from avtune.study.record import Record
from avtune.study.results import Results
from avtune.study.study import Study
from avtune.workflows.choose_runner import data_bytes, runner_named
from avtune.workflows.listening import Silent, Stages
from avtune.workflows.looks import check_shown, show_looks
from avtune.workflows.open_study import open_space, open_study


@dataclass(frozen=True)
class RetrainRequest:
    """What the user asked for.

    Attributes:
        folder: of the study.
        dataset: of the study, see `dataset_of`.
        placement: how the runs are placed.
        trial: the number of the trial; None for the study's best.
        epochs: None for the epoch at which the trial's mean curve over seeds peaked if it was a finalist, else its best
            epoch.
        seeds: how many; None for the study's `final.seeds`.
        out: the folder of the model, which does not exist; None for `retrained_trial_N` in the study.
        code: the method or training function of the user's own that the study is of, registered already.
        runner: a name of `RUNNERS`, None to choose.
    """

    folder: StudyFolder
    dataset: Dataset
    placement: PlacementRequest
    trial: int | None = None
    epochs: int | None = None
    seeds: int | None = None
    out: Path | None = None
    code: str | None = None
    runner: str | None = None

    @property
    def function(self) -> bool:
        """The study is of a training function of the user's own, which this process knows, whoever named it."""
        return user_code.function(self.folder.settings()["space"]["method"]) is not None


@dataclass(frozen=True, repr=False)
class Retrained:
    """A trial that was retrained.

    Attributes:
        results: what `metrics.json` holds: `results.test.map.mean`, `.interval`, `.seeds`.
        path: the folder of the model, which `avtune.load_model` takes.
    """

    results: Results
    path: Path

    def __repr__(self) -> str:
        results = self.results
        over = f"{results.epochs} epochs over {plural(len(results.seeds), 'seed')}"
        times = results.times_test_was_scored
        return (
            f"<Retrained trial {results.trial}: {over}, test MAP {score_text(results.test.map)}, in {self.path}; "
            f"{plural(times, 'configuration')} of the study scored on the test split so far>"
        )


class RetrainListener(Stages, Protocol):
    """Is told what happens in a retraining, in this order."""

    def chosen(self, problems: Sequence[str], notes: Sequence[str]) -> None:
        """What is to be known before it: what is wrong with the dataset, and notes on the trial."""

    def retrained(self, made: Retrained) -> None:
        """It is done."""


class SilentRetrain(Silent):
    """A `RetrainListener` that does nothing."""

    def chosen(self, problems: Sequence[str], notes: Sequence[str]) -> None:
        return None

    def retrained(self, made: Retrained) -> None:
        return None


def dataset_of(folder: StudyFolder, named: Dataset | str | None, reading: ReadOptions | None = None) -> Dataset:
    """The dataset of a study.

    Args:
        named: the dataset, or where it is now; None for where it was.
        reading: how its file is read; None, or nothing, for how the study has read it.

    Raises:
        UserError: it is not there, or what is there is another one.
    """
    facts = folder.settings()["dataset"]
    spec = named or facts.get("spec")
    if spec is None:
        raise UserError("this study does not say where its dataset is; name it with --dataset")
    if isinstance(spec, Dataset):
        dataset = spec
    else:
        said = reading is not None and reading.given()
        dataset = load(spec, reading if said else recorded_options(facts, str(folder.study_yaml)))
    if dataset.digest != facts["digest"]:
        called = dataset.name if isinstance(spec, Dataset) else spec
        raise UserError(
            f"the dataset {called!r} is not the one of {folder.root}: "
            "its content differs; give the right one with --dataset"
        )
    return dataset


def shared_folder(folder: StudyFolder, out: Path | None) -> Path:
    """The folder that the machines of a cluster are looked at for: that of the studies, or of the model where it is to
    be elsewhere, as its weights are written there while it trains.

    Args:
        out: as in `RetrainRequest`.
    """
    studies = folder.root.absolute().parent
    return studies if out is None or out.absolute().is_relative_to(studies) else out.absolute().parent


def retrain(request: RetrainRequest, listener: RetrainListener) -> Retrained:
    """Retrains a trial over seeds, scores the test split, which counts as a look, and writes the model.

    Raises:
        UserError: something the user gave is wrong.
        NoWinner: a run failed.
    """
    folder = request.folder
    settings = folder.settings()
    name, runner = runner_named(request.runner, function=request.function)
    what = "its best trial" if request.trial is None else f"trial {request.trial}"
    with folder.locked(f"retraining {what}"):
        folder.clear_torn()
        space = open_space(folder, method=request.code)
        seeds = request.seeds or space.final.seeds
        placement = place(request.placement, name, seeds, exact=bool(settings["deterministic"]))
        with contextlib.closing(open_study(folder, space, before_writing=partial(_check, request))) as study:
            record = _choose(study, request.trial)
            out = _out(request, record)
            listener.chosen(examine(request.dataset).problems, _notes(request, record))
            placement = placement.named("retrain", out)
            with listener.training(), runner(placement, data_bytes(request.dataset, 0)) as call:
                finals = FinalsRun(call, listener.stage, model_card)
                results = _retrain_trial(study, record, request, finals, out)
        if behind := show_looks(folder, request.code):
            folder.note(behind, "WARNING")
    made = Retrained(results, out)
    listener.retrained(made)
    return made


def _check(request: RetrainRequest, study: Study) -> None:
    """Refuses what cannot be done, while the study's files are as they were.

    Raises:
        UserError: there is no such trial, it has no validation MAP, a number is out of range, `out` exists, or a file
            of the study is damaged, so that the look could not be told of.
    """
    for option, given in (("--epochs", request.epochs), ("--seeds", request.seeds)):
        if given is not None and given < 1:
            raise UserError(f"{option} is {given}; allowed: a whole number from 1")
    out = _out(request, _choose(study, request.trial))
    if out.exists():
        raise UserError(f"{out} exists; give another --out")
    check_shown(study)


def _out(request: RetrainRequest, record: Record) -> Path:
    return request.out or request.folder.root / f"retrained_trial_{record.number}"


def _notes(request: RetrainRequest, record: Record) -> list[str]:
    notes = []
    if request.epochs is None and record.state == "PRUNED":
        notes.append(f"trial {record.number} was stopped early; --epochs N trains it longer")
    return notes + ([] if request.function else batch_note(record.trial.config, len(request.dataset.train)))


def _choose(study: Study, number: int | None) -> Record:
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


def _retrain_trial(study: Study, record: Record, request: RetrainRequest, finals: FinalsRun, out: Path) -> Results:
    """Trains the trial's configuration over seeds, scores the test split once per seed, and writes model, metrics and
    model card into `out`, which does not exist.

    Returns:
        What `metrics.json` holds, but for digests.
    """
    horizon = _with_seeds(study.horizon, request.seeds)
    epochs = request.epochs or _epochs(study.folder, record)
    config = record.trial.config
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        folder = StudyFolder(scratch)
        results = train_and_score(folder, horizon, request.dataset, record.number, config, epochs, finals, study.folder)
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
