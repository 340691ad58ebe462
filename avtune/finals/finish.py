"""From a finished search to a model with a score: finalists over seeds, the winner retrained, the test split scored.

The selection sees the validation rows only. The test split is scored here and nowhere else in a search: once by every
retrained seed of the winner, and by the two references of the table, the default configuration (treated like a
finalist: its own epoch, the same seeds) and the winner's untrained network. Under the protocol `published` each of
these runs is scored after every epoch, and every score is labelled "selected on test".
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from avtune.core.files import to_yaml, using, write_bytes, write_text
from avtune.core.hyper import Value
from avtune.core.patience import still_rises
from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST, VALIDATION
from avtune.core.run_key import run_key
from avtune.core.trial import Trial
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.prepare import Prepared
from avtune.finals.looks import count_configuration, study_mark
from avtune.finals.retraining import retraining
from avtune.finals.run_record import Repeats, Result, runs_that_ended_well
from avtune.finals.scores import over_seeds, per_query
from avtune.finals.select import (
    Candidate,
    Repeated,
    finalists,
    retraining_seed,
    winner,
)
from avtune.report.card import model_card
from avtune.runners._base import Run
from avtune.study.folder import StudyFolder
from avtune.study.horizon import Horizon
from avtune.study.results import file_digests, write_metrics
from avtune.study.status import longer_command
from avtune.study.study import Study


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
class Workshop:
    """What the aggregator works with.

    Attributes:
        run: places the runs.
        progress: called with a stage's name, the runs done and the runs in all.
        again: runs of finalists that failed before are done again.
    """

    run: Run
    progress: Callable[[str, int, int], None]
    again: bool = False


def finish(
    study: Study,
    dataset: Dataset,
    folds: Sequence[Prepared],
    shop: Workshop,
    protocol: str = VALIDATION,
) -> dict[str, Any]:
    """Selects, retrains and scores; writes `best.yaml` and `final/`.

    Args:
        protocol: of the retraining, see `avtune.core.protocol`.

    Returns:
        What `final/metrics.json` holds.

    Raises:
        NoWinner: nothing can be retrained.
    """
    folder = study.folder
    if not study.ranking():
        first = next((record.reason for record in study.records if record.reason), "no trial ran")
        raise NoWinner(f"every trial failed; the first: {first}", retry=True)
    again = shop.again

    def do(stage: str, names: Sequence[str], trials: Sequence[Trial]) -> list[Result]:
        nonlocal again
        results = _run(folder, stage, _kept(folder, names, trials), folds, shop, again=again)
        again = False  # those that fail once more have had their chance
        return results

    rows = finalists(study, runs_that_ended_well(folder.repeats), do)
    best = winner(rows)
    if best is None:
        raise NoWinner(f"every finalist failed; the first: {rows[0].failure}", retry=True)
    write_text(folder.best_yaml, to_yaml(best_facts(study, best, rows)))
    return _retrain(folder, study.horizon, dataset, best, rows, shop, count_in=folder, protocol=protocol)


def retrain(
    folder: StudyFolder,
    horizon: Horizon,
    dataset: Dataset,
    number: int,
    config: Mapping[str, Value],
    epochs: int,
    shop: Workshop,
    count_in: StudyFolder,
) -> dict[str, Any]:
    """Retrains a trial's configuration on the whole training set over `final.seeds` seeds and scores it, with the
    untrained network for reference. Writes `final/` below the folder; returns what its `metrics.json` holds.

    Args:
        count_in: the study whose test split is scored.
    """
    row = Repeated(Candidate(number, config), epochs, (), {})
    return _retrain(folder, horizon, dataset, row, [], shop, count_in=count_in, protocol=VALIDATION)


def _kept(folder: StudyFolder, names: Sequence[str], trials: Sequence[Trial]) -> list[Trial]:
    """The runs; what code of the user's own prints in them is kept under these names."""
    return [replace(one, output=folder.output_of(one.method, name)) for name, one in zip(names, trials, strict=True)]


def _run(
    folder: StudyFolder,
    stage: str,
    trials: Sequence[Trial],
    data: Sequence[Prepared],
    shop: Workshop,
    *,
    again: bool = False,
) -> list[Result]:
    """Does the runs that are not on record; `stage` is what the progress calls them."""
    source = Repeats(
        folder.repeats,
        trials,
        on_done=lambda done, total: shop.progress(stage, done, total),
        note=folder.note,
        again=again,
    )
    if not source.exhausted:
        shop.run(source, data)
    return source.results


def best_facts(study: Study, best: Repeated, rows: Sequence[Repeated]) -> dict[str, Any]:
    """What `best.yaml` holds.

    Args:
        best: the winner.
        rows: all finalists.
    """
    assert best.candidate.number is not None
    record = study.records[best.candidate.number]
    return {
        "trial": record.number,
        "epoch": record.best_epoch,
        "val_map": record.best_value,
        "config": dict(record.trial.config),
        "retrain_epochs": best.epoch,
        "finalists": [
            {
                "trial": "default" if row.candidate.number is None else row.candidate.number,
                "default": dict(row.candidate.config) == study.space.defaults(),
                "epoch": row.epoch,
                "val_map_mean": row.mean if row.failure is None else None,
                "val_map_sd": row.spread if row.failure is None else None,
                "seeds": list(row.values),
                **({"failure": row.failure} if row.failure is not None else {}),
            }
            for row in sorted(rows, key=lambda row: -row.mean if row.failure is None else 1.0)
        ],
    }


def ended_by_horizon(horizon: Horizon, row: Repeated) -> bool:
    """Whether a finalist's mean curve still rose when it had no epochs left."""
    whole = 0 < len(row.curve) >= horizon.epochs(row.candidate.config)
    return whole and still_rises(list(row.curve.values()))


def _retrain(
    folder: StudyFolder,
    horizon: Horizon,
    dataset: Dataset,
    best: Repeated,
    rows: Sequence[Repeated],
    shop: Workshop,
    *,
    count_in: StudyFolder,
    protocol: str,
) -> dict[str, Any]:
    space = horizon.space
    way = retraining(horizon, dataset, protocol)
    way.about = {**way.about, "study": study_mark(count_in)}
    seeds = [retraining_seed(space, index) for index in range(space.final.seeds)]
    default = next((row for row in rows if dict(row.candidate.config) == space.defaults() and not row.failure), None)
    entries = {"test": best} | ({"default": default} if default is not None and default is not best else {})
    with using(folder.seeds):
        folder.final.mkdir(exist_ok=True)
        folder.seeds.mkdir(exist_ok=True)
    runs = [
        way.trial(row.candidate.config, seed, row.epoch, len(row.curve)) for row in entries.values() for seed in seeds
    ]
    # Named by the run: no file of another one is taken for its.
    trials = [replace(run, save_to=str((folder.seeds / f"{run_key(run)}.safetensors").absolute())) for run in runs]
    trials = _kept(
        count_in,
        [f"retrained_{row.candidate.called}_seed_{i}" for row in entries.values() for i in range(len(seeds))],
        trials,
    )
    results = _run(folder, way.stage, trials, [way.data], shop, again=True)  # one that failed ends the search
    failure = next((result.failure for result in results if result.failure is not None), None)
    if failure is not None:
        raise NoWinner(f"retraining failed: {failure}")
    done = list(zip(trials, [result.curve for result in results], strict=True))
    parts = {name: done[place * len(seeds) : (place + 1) * len(seeds)] for place, name in enumerate(entries)}
    scores = {name: [way.scores(*run) for run in part] for name, part in parts.items()}
    fresh = [way.untrained(best.candidate.config, seed) for seed in seeds]
    if all(one is not None for one in fresh):
        scores["untrained"] = [one for one in fresh if one is not None]

    published = protocol == PUBLISHED
    metrics: dict[str, Any] = {
        "dataset": {"name": dataset.name, "digest": dataset.digest, "test_clips": len(dataset.test)},
        "problems": list(examine(dataset).problems),
        "method": space.method,
        "trial": best.candidate.number,
        "epochs": trials[0].epochs,
        "seeds": seeds,
        "precision": way.precision,
        "protocol": protocol,
        "selected_on": ("test" if published else "validation") if rows else "nothing: chosen by hand",
        "times_test_was_scored": count_configuration(
            count_in,
            best.candidate.number,
            best.candidate.config,
            [best.epoch] if protocol == VALIDATION else [best.epoch, protocol],
            seeds,
        ),
        "test": over_seeds(scores["test"], space.search.seed),
    }
    tied = sum(one.tied for one in scores["test"]) / len(seeds)
    if tied:
        metrics["tied_queries"] = tied
    if published:
        metrics["label"] = SELECTED_ON_TEST
        metrics["best_epochs"] = [way.best_epoch(*run) for run in parts["test"]]
    # The default configuration is a reference: its curve does not matter unless it wins.
    others = [row for row in rows if row is not best and dict(row.candidate.config) != space.defaults()]
    for row in (best, *others):
        if ended_by_horizon(horizon, row):
            metrics["still_rises"] = {
                "trial": row.candidate.number,
                "epochs": len(row.curve),
                "command": longer_command(folder, horizon),
            }
            break
    if best.values:
        metrics["validation"] = {"map": {"mean": best.mean, "sd": best.spread, "seeds": list(best.values)}}
    if default is best:
        metrics["default"] = metrics["test"]
        metrics["default_is_winner"] = True
    elif "default" in scores:
        metrics["default"] = over_seeds(scores["default"], space.search.seed)
        metrics["default"]["epochs"] = parts["default"][0][0].epochs
    if "untrained" in scores:
        metrics["untrained"] = over_seeds(scores["untrained"], space.search.seed)
    metrics["retraining_seconds"] = sum(result.seconds for result in results[: len(seeds)])
    write_bytes(folder.query_ap, per_query(scores))
    way.save(*done[0], folder.final)
    write_text(folder.model_card, model_card(dataset, space, best.candidate.config, metrics))
    # The last file: a study whose metrics are there is finished.
    write_metrics(folder, metrics | {"files": file_digests(folder)})
    shutil.rmtree(folder.seeds, ignore_errors=True)
    return metrics
