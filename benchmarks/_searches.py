"""A search that is one cell of a table: a study in a folder, its winner retrained on the rows of the search.

`avtune search` retrains on all training rows, validation rows included. Where the labels of these are clean and those
of the others are not, this would mend the very thing that is examined, so the winner is trained on the rows of the
search alone here. All else is the product's: study, sampler, rungs, engine, run record, count of looks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from avtune.core.environment import environment
from avtune.core.files import write_text
from avtune.core.hyper import Value
from avtune.core.protocol import VALIDATION
from avtune.core.run_key import run_key
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.data import Dataset
from avtune.data.prepare import for_search
from avtune.engine.precision import fast_precision
from avtune.finals.looks import count_configuration
from avtune.finals.retraining import retraining
from avtune.finals.run_record import RunRecord
from avtune.space.space import Space
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.study import Study
from avtune.workflows.open_study import FORMAT, basis_of, horizon_of, open_space
from benchmarks._here import run

FILE = "result.json"
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """What a search gave.

    Attributes:
        validation: best validation MAP of the winner.
        test: test MAP of the winner by the seed of its retraining.
        epochs: that it was retrained for.
        trials: that were searched.
        config: of the winner.
        seconds: that all took, over all calls.
    """

    validation: float
    test: tuple[float, ...]
    epochs: int
    trials: int
    config: dict[str, Value]
    seconds: float

    @property
    def map(self) -> float:
        """Test MAP, mean over the seeds."""
        return float(np.mean(self.test))


def found_in(root: Path) -> Found | None:
    """The result of a search that has ended; None for one that has not."""
    path = root / FILE
    if not path.is_file():
        return None
    facts = json.loads(path.read_text())
    return Found(**facts | {"test": tuple(facts["test"])})


def search(root: Path, space: Space, dataset: Dataset) -> Found:
    """Runs a search, or continues it where it was killed.

    Args:
        root: folder of the study.
        space: `final.seeds` says over how many seeds the winner is retrained.
        dataset: with a validation split.
    """
    begun = time.perf_counter()
    known = found_in(root)
    if known is not None:
        return known
    folder = StudyFolder(root)
    folds = for_search(dataset, fraction=None, folds=None, given=True, seed=space.search.seed)
    if not folder.exists:
        root.parent.mkdir(parents=True, exist_ok=True)
        folder.create(_settings(space, dataset, len(folds[0].train)), environment())
    elif other := open_space(folder).difference(space):
        raise SystemExit(f"{root} was begun with other settings ({other[0]}); give another --work")
    with folder.locked():
        folder.clear_torn()
        horizon = horizon_of(space, len(folds[0].train))
        precision = str(folder.settings()["precision"])
        study = Study(folder, space, precision=precision, horizon=horizon, basis=basis_of(space, dataset))
        if not study.exhausted:
            run(study, folds)
        study.close()
        best = study.best
        if best is None:
            raise SystemExit(f"{root}: every trial failed; its log.txt says why")
        test = _tested(study, best, dataset)
        spent = sum(one.seconds for one in study.records)
        made = Found(
            float(best.best_value or 0.0),
            tuple(test),
            int(best.best_epoch or 0),
            len(study.records),
            dict(best.trial.config),
            round(max(spent, time.perf_counter() - begun), 1),
        )
        write_text(root / FILE, json.dumps(asdict(made), indent=2, allow_nan=False) + "\n")
    return made


def _settings(space: Space, dataset: Dataset, rows: int) -> dict[str, object]:
    return {
        "format": FORMAT,
        "dataset": {"name": dataset.name, "digest": dataset.digest},
        "space": space.as_dict(),
        "deterministic": False,
        "rows": rows,
        "precision": fast_precision(0),
        "runner": "inline",
        "protocol": VALIDATION,
    }


def _tested(study: Study, best: Record, dataset: Dataset) -> list[float]:
    """Test MAP of the best trial's configuration, trained again on the rows of the search for its best epoch."""
    folder, space = study.folder, study.space
    rows = np.setdiff1d(np.arange(len(dataset.train)), dataset.validation)
    way = retraining(study.horizon, replace(dataset, train=dataset.train.take(rows), validation=None), VALIDATION)
    seeds = [mix(space.search.seed, "retrained", index) for index in range(space.final.seeds)]
    folder.seeds.mkdir(parents=True, exist_ok=True)
    runs: list[Trial] = []
    for seed in seeds:
        one = way.trial(best.trial.config, seed, int(best.best_epoch or 0), best.values.last)
        runs.append(replace(one, save_to=str((folder.seeds / f"{run_key(one)}.safetensors").absolute())))
    record = RunRecord(folder.repeats, runs, on_done=lambda done, total: None, note=folder.note, again=True)
    if not record.exhausted:
        run(record, [way.data])
    failed = next((one.failure for one in record.results if one.failure is not None), None)
    if failed is not None:
        raise SystemExit(f"{folder.root}: the retraining failed: {failed}")
    count_configuration(folder, best.number, best.trial.config, [int(best.best_epoch or 0), "search rows"], seeds)
    scores = [float(way.scores(one, {}).map) for one in runs]
    folder.clear_seeds()
    return scores


def within(minutes: float, items: Iterable[T], is_done: Callable[[T], bool], do: Callable[[T], object]) -> int:
    """Does what is not done, one after the other, and begins nothing that would not end in time, by the longest so far.

    Returns:
        How many were left out.
    """
    start, longest, left = time.monotonic(), 0.0, 0
    for item in items:
        if is_done(item):
            continue
        begun = time.monotonic()
        if minutes <= 0 or begun - start + longest > 60 * minutes:
            left += 1
            continue
        do(item)
        longest = max(longest, time.monotonic() - begun)
    return left
