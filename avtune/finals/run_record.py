"""The run record: the training runs of the finals (finalists over seeds, retrainings) that are done, each a line of
`repeats.jsonl` under the name that `run_key` gives it, so that none is done twice."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import append_line
from avtune.core.objective import value_key, value_of
from avtune.core.run_files import origin, read_origin
from avtune.core.run_key import run_key
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.study.run_lines import read_runs

Curve = dict[int, float]
"""Validation MAP by epoch, or what the search maximises in its place; empty when a run has no validation rows."""


@dataclass(frozen=True)
class Result:
    """What a run gave: its curve, or the failure that ended it; and the seconds it took on its device."""

    curve: Curve
    seconds: float
    failure: str | None = None


def _result(line: Mapping[str, Any], trial: Trial, path: Path) -> Result:
    """What a line says of a run.

    Raises:
        UserError: it is none of this run.
    """
    epochs = len(line["curve"])
    whole = "failure" in line or epochs in (0, trial.epochs) or (trial.patience and epochs >= trial.least)
    if not whole or list(line["curve"]) != [str(epoch) for epoch in range(1, epochs + 1)]:
        raise UserError(f"{path} is damaged: a curve lacks epochs; restore it from a copy")
    curve = {int(epoch): value for epoch, value in line["curve"].items()}
    return Result(curve, line["seconds"], line.get("failure"))


def _is_there(trial: Trial, curve: Curve) -> bool:
    """Whether what the run leaves is on disk, and of this run."""
    if trial.save_to is None:
        return True
    epochs = max(curve, key=lambda epoch: (curve[epoch], -epoch)) if trial.keep_best else trial.epochs
    return read_origin(Path(trial.save_to)) == origin(trial, epochs)


def failed_runs(path: Path) -> int:
    """How many of the runs on record failed when they were done last.

    Raises:
        UserError: the file is damaged.
    """
    return sum("failure" in line for line in _known(path, repair=False).values())


class RunRecord:
    """A list of training runs for a runner, see `runners._base.Source`: gives out every run that is not on record, lets
    each train to its own end and records it.

    Args:
        path: the file of JSON lines, `repeats.jsonl`.
        trials: the runs. Their numbers are replaced by their places in this list.
        on_done: called after each run, with the number done and the number of all.
        note: takes lines for `log.txt`.
        warn: takes the details of a failure; None for `note`.
        again: run those that failed again.
        stage: what people call these runs, kept with each.
        order: the places of the runs as they are given out; None for that of the list.

    Raises:
        UserError: the file is damaged.
    """

    def __init__(
        self,
        path: Path,
        trials: Sequence[Trial],
        *,
        on_done: Callable[[int, int], None],
        note: Callable[[str], None],
        warn: Callable[[str], None] | None = None,
        again: bool = False,
        stage: str = "",
        order: Sequence[int] | None = None,
    ) -> None:
        self._path = path
        self._stage = stage
        self._begun: dict[int, float] = {}
        self._where: dict[int, TrainedOn] = {}
        self._trials = [replace(trial, number=number) for number, trial in enumerate(trials)]
        self._keys = [run_key(trial) for trial in self._trials]
        self._curves: list[Curve] = [{} for _ in trials]
        self._seconds: list[dict[int, float]] = [{} for _ in trials]  # by epoch
        self._results: dict[int, Result] = {}
        self._on_done = on_done
        self._note = note
        self._warn = warn or note
        done = {key: line for key, line in _known(path).items() if not (again and "failure" in line)}
        for number, (trial, key) in enumerate(zip(self._trials, self._keys, strict=True)):
            if key in done:
                result = _result(done[key], trial, path)
                if result.failure is not None or _is_there(trial, result.curve):
                    self._results[number] = result
        places = range(len(trials)) if order is None else order
        self._queue = deque(self._trials[number] for number in places if number not in self._results)
        self.independent = len(self._queue)

    def ask(self) -> Trial | None:
        if not self._queue:
            return None
        trial = self._queue.popleft()
        self._begun[trial.number] = time.time()
        return trial

    def trained_on(self, number: int, where: TrainedOn) -> None:
        self._where[number] = where

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        # A run that is started again, because its process died, reports its epochs again: the last time counts, since
        # that is where its weights come from.
        self._seconds[number][epoch] = metrics["seconds"]
        value = value_of(metrics)
        if value is not None:
            if not math.isfinite(value):
                self.tell(number, f"{value_key(metrics)} is {value!r} after epoch {epoch}")
                return False
            self._curves[number][epoch] = value
        return True

    def should_stop(self, number: int) -> bool:
        return number in self._results

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        if number in self._results:
            return
        result = Result(self._curves[number], sum(self._seconds[number].values()), failure)
        line = {"run": self._keys[number], "curve": result.curve, "seconds": result.seconds, **self._when(number)}
        if failure is not None:
            line["failure"] = failure
            self._warn(f"a repeated run failed: {failure}\n{details}")
        append_line(self._path, line, sync=True)
        self._results[number] = result
        self._on_done(len(self._results), len(self._trials))

    def _when(self, number: int) -> dict[str, Any]:
        """For people: what a run belongs to, when it was under way, and where it was trained."""
        facts: dict[str, Any] = {"stage": self._stage} if self._stage else {}
        if number in self._begun:
            facts |= {"begun": round(self._begun[number], 2), "ended": round(time.time(), 2)}
        return facts | ({"on": self._where[number].to_json()} if number in self._where else {})

    def note(self, text: str, *, shown: bool = False) -> None:
        self._note(text)

    @property
    def exhausted(self) -> bool:
        return len(self._results) == len(self._trials)

    @property
    def results(self) -> list[Result]:
        """In the order of the trials given; all runs must be done."""
        assert self.exhausted
        return [self._results[number] for number in range(len(self._trials))]


def on_record(path: Path, trials: Sequence[Trial]) -> list[Result]:
    """The results of runs that are done, in their order.

    Raises:
        UserError: one of them is not on record, or the file is damaged.
    """
    known = _known(path)
    results = []
    for trial in trials:
        key = run_key(trial)
        if key not in known:
            raise UserError(f"{path} lacks the run {key} of the finals; restore it from a copy")
        results.append(_result(known[key], trial, path))
    return results


def runs_that_ended_well(path: Path) -> set[str]:
    """The keys, see `run_key`, of the runs on record that did not fail."""
    return {key for key, line in _known(path).items() if "failure" not in line}


def _known(path: Path, *, repair: bool = True) -> dict[str, dict[str, Any]]:
    """The last line of each run."""
    return {line["run"]: line for line in read_runs(path, repair=repair)}
