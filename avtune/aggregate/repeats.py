"""A fixed list of training runs for a runner: finalists over seeds, and the retraining. Finished runs are kept on
disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from avtune.errors import UserError
from avtune.study.files import append_line, read_lines
from avtune.study.shape import fitting
from avtune.trial import Trial

Curve = dict[int, float]
"""Validation MAP by epoch; empty when a run has no validation rows."""

_LINE = {"run": str, "curve": {str: float}, "seconds": float, "failure?": str}


@dataclass(frozen=True)
class Result:
    """What a run gave: its curve, or the failure that ended it; and the seconds it took on its device."""

    curve: Curve
    seconds: float
    failure: str | None = None


def failed_runs(path: Path) -> int:
    """How many of the runs on record failed when they were done last.

    Raises:
        UserError: the file is damaged.
    """
    lines, _ = read_lines(path, repair=False)
    last = {fitting(line, _LINE, path)["run"]: "failure" in line for line in lines}
    return sum(last.values())


class Repeats:
    """A `runners.Source` that gives out every run once and lets each train to its own end.

    Args:
        path: file of JSON lines with the runs that are done; a run found there is not done again.
        stage: a word that keeps the runs of different purposes apart.
        trials: the runs. Their numbers are replaced by their places in this list.
        on_done: called after each run, with the number done and the number of all.
        note: takes the details of a failure.
        again: run those that failed again.
    """

    def __init__(
        self,
        path: Path,
        stage: str,
        trials: Sequence[Trial],
        *,
        on_done: Callable[[int, int], None],
        note: Callable[[str], None],
        again: bool = False,
    ) -> None:
        self._path = path
        self._trials = [replace(trial, number=number) for number, trial in enumerate(trials)]
        self._keys = [run_key(stage, trial) for trial in self._trials]
        self._curves: list[Curve] = [{} for _ in trials]
        self._seconds = [0.0 for _ in trials]
        self._results: dict[int, Result] = {}
        self._on_done = on_done
        self._note = note
        done = {key: line for key, line in _known(path).items() if not (again and "failure" in line)}
        for number, (trial, key) in enumerate(zip(self._trials, self._keys, strict=True)):
            if key in done and (trial.save_to is None or Path(trial.save_to).is_file()):
                line = done[key]
                epochs = len(line["curve"])
                whole = "failure" in line or epochs in (0, trial.epochs) or (trial.patience and epochs >= trial.least)
                if not whole or list(line["curve"]) != [str(epoch) for epoch in range(1, epochs + 1)]:
                    raise UserError(f"{path} is damaged: a curve lacks epochs; restore it from a copy")
                curve = {int(epoch): value for epoch, value in line["curve"].items()}
                self._results[number] = Result(curve, line["seconds"], line.get("failure"))
        self._queue = deque(trial for trial in self._trials if trial.number not in self._results)
        self.independent = len(self._queue)

    def ask(self) -> Trial | None:
        return self._queue.popleft() if self._queue else None

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        self._seconds[number] += metrics["seconds"]
        value = metrics.get("val_map")
        if value is not None:
            if not math.isfinite(value):
                self.tell(number, f"val_map is {value!r} after epoch {epoch}")
                return False
            self._curves[number][epoch] = value
        return True

    def should_stop(self, number: int) -> bool:
        return number in self._results

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        if number in self._results:
            return
        result = Result(self._curves[number], self._seconds[number], failure)
        line = {"run": self._keys[number], "curve": result.curve, "seconds": result.seconds}
        if failure is not None:
            line["failure"] = failure
            self._note(f"a repeated run failed: {failure}\n{details}")
        append_line(self._path, line, sync=True)
        self._results[number] = result
        self._on_done(len(self._results), len(self._trials))

    def note(self, text: str) -> None:
        self._note(text)

    @property
    def exhausted(self) -> bool:
        return len(self._results) == len(self._trials)

    @property
    def results(self) -> list[Result]:
        """In the order of the trials given; all runs must be done."""
        assert self.exhausted
        return [self._results[number] for number in range(len(self._trials))]


def runs_that_ended_well(path: Path) -> set[str]:
    """The keys, see `run_key`, of the runs on record that did not fail."""
    return {key for key, line in _known(path).items() if "failure" not in line}


def _known(path: Path) -> dict[str, dict[str, Any]]:
    """The last line of each run."""
    lines, _ = read_lines(path, repair=True)
    return {fitting(line, _LINE, path)["run"]: line for line in lines}


def run_key(stage: str, trial: Trial) -> str:
    """Names a run by what decides its result."""
    facts = [stage, trial.method, sorted(trial.config.items()), trial.seed, trial.epochs, trial.precision]
    if trial.horizon or trial.patience:
        facts.append(trial.horizon)
    if trial.patience:
        facts += [trial.patience, trial.least]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
