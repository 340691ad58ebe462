"""From a finished search to a model with a score: finalists over seeds, the winner retrained, the test split scored.

The selection sees the validation rows only. The test split is scored here and nowhere else in a search: once by every
retrained seed of the winner, and by the two references of the table, the default configuration (treated like a
finalist: its own epoch, the same seeds) and the winner's untrained network, and by the reference of another method
(`finals.reference`). Under the protocol `published` each of
these runs is scored after every epoch, and every score is labelled "selected on test".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from avtune.core.files import using, write_bytes, write_text
from avtune.core.hyper import Value
from avtune.core.protocol import VALIDATION
from avtune.core.run_key import run_key
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.prepare import Prepared
from avtune.engine import user_code
from avtune.finals.by_class import by_class
from avtune.finals.looks import count_configuration, study_mark
from avtune.finals.reference import Do as DoReference
from avtune.finals.reference import Reference, reference_facts, score_reference
from avtune.finals.repeats import finalists
from avtune.finals.retraining import Retraining, retraining
from avtune.finals.run_record import Result, RunRecord, runs_that_ended_well
from avtune.finals.scores import per_query
from avtune.finals.select import Candidate, Do, Repeated, winner
from avtune.finals.summary import Chosen, Retrained, best_of, results_of
from avtune.finals.turns import in_turns
from avtune.methods import get, static_values
from avtune.metrics import RetrievalScores
from avtune.runners._base import Run
from avtune.space.space import Space
from avtune.study.best import write_best
from avtune.study.by_class import write_by_class
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.results import Results, file_digests, write_results
from avtune.study.study import Study

_LOG = logging.getLogger(__name__)


class NoWinner(Exception):
    """Every trial, or every finalist, or a retraining failed; the message says why the first one did.

    Args:
        message: for the user.
        retry: `--retry-failed` does what failed again; a retraining is done again anyway.
    """

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True)
class FinalsRun:
    """How the finals of a study are run and told.

    Attributes:
        run: trains the runs.
        progress: called with a stage's name, the runs done and the runs in all; when it begins, and after each run.
        card: words the model card from the dataset, the space, the complete configuration and the results.
        again: runs of finalists that failed before are done again.
    """

    run: Run
    progress: Callable[[str, int, int], None]
    card: Callable[[Dataset, Space, Mapping[str, Value], Results], str]
    again: bool = False


def finish(
    study: Study, dataset: Dataset, folds: Sequence[Prepared], finals: FinalsRun, protocol: str = VALIDATION
) -> Results:
    """Selects, retrains and scores; writes `best.yaml` and `final/`.

    Args:
        study: whose trials have all ended.
        folds: the data that finalists are repeated on: that of its trials, unless `final.reshuffle` says otherwise.
        protocol: of the retraining, see `avtune.core.protocol`.

    Returns:
        What `final/metrics.json` holds, but for digests.

    Raises:
        NoWinner: nothing can be retrained.
    """
    folder = study.folder
    if not study.ranking():
        first = next((record.reason for record in study.records if record.reason), "no trial ran")
        raise NoWinner(f"every trial failed; the first: {first}", retry=True)
    rows = finalists(study, runs_that_ended_well(folder.repeats), _repeat(folder, folds, finals))
    best = winner(rows)
    if best is None:
        raise NoWinner(f"every finalist failed; the first: {rows[0].failure}", retry=True)
    _LOG.debug("winner: trial %s, mean on validation %.4f, %d epochs", best.candidate.called, best.mean, best.epoch)
    write_best(folder, best_of(study, best, rows))
    reference = score_reference(
        folder, study.horizon, dataset, study.precision, protocol, _of_reference(folder, folds, finals)
    )
    return _retrain(folder, folder, Chosen(study.horizon, dataset, best, tuple(rows), protocol), finals, reference)


def retrain(
    folder: StudyFolder,
    horizon: Horizon,
    dataset: Dataset,
    number: int,
    config: Mapping[str, Value],
    epochs: int,
    finals: FinalsRun,
    study_folder: StudyFolder,
) -> Results:
    """Retrains a trial's configuration on the whole training set over `final.seeds` seeds and scores it, with the
    untrained network for reference. Writes `final/` below `folder`.

    Args:
        number: of the trial.
        config: its hyper-parameters, complete.
        epochs: to train.
        study_folder: of the study that it belongs to, whose test split is scored.

    Returns:
        What `final/metrics.json` holds, but for digests.

    Raises:
        NoWinner: a run failed.
    """
    row = Repeated(Candidate(number, config), epochs, (), {})
    return _retrain(folder, study_folder, Chosen(horizon, dataset, row, (), VALIDATION), finals)


def _repeat(folder: StudyFolder, folds: Sequence[Prepared], finals: FinalsRun) -> Do:
    """Does the runs of finalists. What failed before is done again once, as no run is asked for twice: it fails for
    good if it fails once more."""

    def do(stage: str, names: Sequence[str], trials: Sequence[Trial]) -> list[Result]:
        return _results(folder, stage, _with_output(folder, names, trials), folds, finals, again=finals.again)

    return do


def _of_reference(folder: StudyFolder, folds: Sequence[Prepared], finals: FinalsRun) -> DoReference:
    """Does the runs of the reference; those that failed before again, which ends nothing."""

    def do(stage: str, trials: Sequence[Trial], data: Prepared | None) -> list[Result]:
        return _results(folder, stage, trials, folds if data is None else [data], finals, again=True)

    return do


def _with_output(folder: StudyFolder, names: Sequence[str], trials: Sequence[Trial]) -> list[Trial]:
    """The runs, with the files for what the user's code prints in them, which have these names."""
    return [replace(one, output=folder.output_of(one.method, name)) for name, one in zip(names, trials, strict=True)]


def _results(
    folder: StudyFolder,
    stage: str,
    trials: Sequence[Trial],
    data: Sequence[Prepared],
    finals: FinalsRun,
    *,
    again: bool,
) -> list[Result]:
    """Does the runs that are not on record.

    Args:
        stage: what the progress calls them.
        again: also those that failed.
    """
    record = RunRecord(
        folder.repeats,
        trials,
        on_done=lambda done, total: finals.progress(stage, done, total),
        note=folder.note,
        warn=lambda text: folder.note(text, "WARNING"),
        again=again,
        stage=stage,
        order=in_turns(trials, _shared),
    )
    _LOG.debug("%s: %d runs, %d of them to do", stage, len(trials), record.independent)
    if not record.exhausted:
        finals.progress(stage, len(trials) - record.independent, len(trials))
        finals.run(record, data)
    return record.results


def _shared(trial: Trial) -> Hashable:
    """Runs with the same can share tensors. Those of a training function share none, and may be in any order."""
    if user_code.function(trial.method) is not None:
        return trial.method
    return trial.method, *static_values(get(trial.method), trial.config).items()


def _retrain(
    folder: StudyFolder,
    study_folder: StudyFolder,
    chosen: Chosen,
    finals: FinalsRun,
    reference: Reference | None = None,
) -> Results:
    """Retrains and scores; writes `final/` below `folder`, `metrics.json` last: a study that has it is finished."""
    way = retraining(chosen.horizon, chosen.dataset, chosen.protocol)
    way.about = {**way.about, "study": study_mark(study_folder)}
    done = _train(folder, study_folder, way, chosen, finals)
    scores = _scores(way, chosen, done) | ({} if reference is None else {"reference": reference.scores})
    results = results_of(chosen, way, done, scores, folder=study_folder, times=_count_looks(study_folder, chosen))
    if reference is not None:
        facts = reference_facts(reference, chosen.space.search.seed)
        results = replace(results, **facts, scored_together=len(chosen.retrained) + 1)
    write_bytes(folder.query_ap, per_query(scores))
    winner = done.runs["test"][0]
    write_by_class(folder, by_class(chosen.dataset, scores["test"], *way.embeddings(*winner)))
    way.save(*winner, folder.final)
    card = finals.card(chosen.dataset, chosen.space, chosen.best.candidate.config, results)
    write_text(folder.model_card, card)
    write_results(folder, replace(results, files=file_digests(folder)))
    folder.clear_seeds()
    return results


def _train(
    folder: StudyFolder, study_folder: StudyFolder, way: Retraining, chosen: Chosen, finals: FinalsRun
) -> Retrained:
    """Trains what is retrained, over the seeds. What the runs leave is below `folder`."""
    with using(folder.seeds):
        folder.final.mkdir(exist_ok=True)
        folder.seeds.mkdir(exist_ok=True)
    count, rows = len(chosen.seeds), chosen.retrained
    trials = _with_output(
        study_folder,
        [f"retrained_{row.candidate.called}_seed_{index}" for row in rows.values() for index in range(count)],
        _trials(folder, way, chosen),
    )
    results = _results(folder, way.stage, trials, [way.data], finals, again=True)  # one that failed ends the search
    failure = next((result.failure for result in results if result.failure is not None), None)
    if failure is not None:
        raise NoWinner(f"retraining failed: {failure}")
    done = list(zip(trials, [result.curve for result in results], strict=True))
    return Retrained(
        {name: done[place * count : (place + 1) * count] for place, name in enumerate(rows)},
        sum(result.seconds for result in results[:count]),
    )


def _trials(folder: StudyFolder, way: Retraining, chosen: Chosen) -> list[Trial]:
    """The runs of the retraining, row by row of the table. Each leaves a file that is named by the run, so that no file
    of another one is taken for its."""
    runs = [
        way.trial(row.candidate.config, seed, row.epoch, len(row.curve))
        for row in chosen.retrained.values()
        for seed in chosen.seeds
    ]
    return [replace(run, save_to=str((folder.seeds / f"{run_key(run)}.safetensors").absolute())) for run in runs]


def _scores(way: Retraining, chosen: Chosen, done: Retrained) -> dict[str, Sequence[RetrievalScores]]:
    """Test scores of every seed by the row of the table: what was retrained, and the untrained network if there is
    one."""
    scores: dict[str, Sequence[RetrievalScores]] = {
        name: [way.scores(*run) for run in runs] for name, runs in done.runs.items()
    }
    fresh = [way.untrained(chosen.best.candidate.config, seed) for seed in chosen.seeds]
    known = [one for one in fresh if one is not None]
    return scores | ({"untrained": known} if len(known) == len(fresh) else {})


def _count_looks(study_folder: StudyFolder, chosen: Chosen) -> int:
    """Notes that what was retrained was scored on the test split: the configuration, and the default one where it is
    another. How many of the study have been."""
    count = 0
    for row in chosen.retrained.values():
        way = [row.epoch] if chosen.protocol == VALIDATION else [row.epoch, chosen.protocol]
        count = count_configuration(study_folder, row.candidate.number, row.candidate.config, way, chosen.seeds)
    return count
