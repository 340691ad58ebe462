"""A study in MLflow: a parent run, a child run a trial, its curve at rungs, the final model as artefacts.

The server is asked once which runs it has, by their tags. All else is sent so that MLflow takes it once only: a metric
has a time of its own, made of the study's and its epoch, and MLflow keeps one of equal ones.
A parameter cannot be changed: only those that a run lacks are sent, and what a study that was continued has another
value for is a tag beside it.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from avtune.core.hyper import Value
from avtune.report.tracking import Seen, SeenTrial, files_by_folder

_STUDY, _TRIAL, _ATTEMPT, _DONE, _STATE = (
    f"avtune.{name}" for name in ("study", "trial", "attempt", "complete", "state")
)
_PARENT = "mlflow.parentRunId"
_NOW = "avtune.now."  # and the name of a setting whose parameter has an earlier value
_LONGEST, _LONGEST_NAME = 5000, 240  # letters of a tag, and of a name
_BATCH = 500  # metrics a call; MLflow takes 1,000
_PARAMS = 100  # as many as it takes
_ILLEGAL = re.compile(r"[^/\w.\- :]")  # what a name of MLflow's cannot have
_LOG = logging.getLogger(__name__)
_ENDS = {"COMPLETE": "FINISHED", "PRUNED": "FINISHED", "FAIL": "FAILED"}


class MlflowTracker:
    """A `tracking.Tracker`.

    Args:
        uri: of the server or store; None for what MLflow's own variables say.
        say: takes lines for the user.
    """

    def __init__(self, uri: str | None, say: Callable[[str], None] = _LOG.warning) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._names = _Names(say)
        self._parent: Any = None
        self._runs: dict[int, tuple[str, int]] = {}  # run and attempt, by number
        self._done: dict[int, str] = {}  # the ends that are there, see `_end_of`, by number
        self._sent: dict[int, set[int]] = {}  # epochs of those that run
        self._params: dict[str, dict[str, str]] = {}  # that are there, by the id of the run
        self._complete = False
        self._facts: Mapping[str, Value] | None = None  # None before the first were sent
        self._scores: dict[str, float] | None = None

    def sync(self, seen: Seen, *, ended: bool) -> None:
        if self._parent is None:
            self._find(seen)
        for trial in seen.trials.values():  # all of them, so that a name is sent as the same one by every process
            self._names.meet([*trial.config, *(name for said in trial.epochs[:1] for name in said)])
        for number in sorted(seen.trials):
            self._trial(seen, seen.trials[number], ended=ended)
        self._study(seen, ended=ended)

    def _find(self, seen: Seen) -> None:
        """Takes the runs that are there, and makes the parent if there is none."""
        experiment = self._client.get_experiment_by_name("avtune")
        experiment_id = self._client.create_experiment("avtune") if experiment is None else experiment.experiment_id
        runs = self._search(experiment_id, f"tags.`{_STUDY}` = '{seen.id}'")
        parent = next((run for run in runs if _TRIAL not in run.data.tags), None)
        if parent is None:
            parent = self._client.create_run(experiment_id, tags={_STUDY: seen.id}, run_name=seen.name)
        else:
            self._client.update_run(parent.info.run_id, status="RUNNING")
        self._complete = parent.data.tags.get(_DONE) == _mark(seen)
        for run in runs:
            self._params[run.info.run_id] = dict(run.data.params)
            tags = run.data.tags
            if _TRIAL in tags:
                number, attempt = int(tags[_TRIAL]), int(tags[_ATTEMPT])
                self._runs[number] = run.info.run_id, attempt
                if run.info.status != "RUNNING":  # a kill may have come between the two
                    self._done[number] = tags.get(_DONE, "")
        self._parent = parent

    def _search(self, experiment_id: str, condition: str) -> list[Any]:
        runs: list[Any] = []
        token: str | None = None
        while True:
            page = self._client.search_runs([experiment_id], condition, max_results=1000, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def _trial(self, seen: Seen, trial: SeenTrial, *, ended: bool) -> None:
        end = _end_of(trial)
        if self._done.get(trial.number) == end and end:
            return
        run_id, params = self._run_of(seen, trial)
        sent = self._sent.setdefault(trial.number, set())
        points = {epoch: said for epoch, said in trial.points(seen.rungs).items() if epoch not in sent}
        values = [(name, value, epoch) for epoch, said in points.items() for name, value in said.items()]
        tags: dict[str, str] = {}
        if end:
            values += [(name, value, len(trial.epochs)) for name, value in trial.summary.items()]
            tags = {_STATE: trial.state, _DONE: end}
            tags |= {"avtune.failure": trial.reason[:_LONGEST]} if trial.reason else {}
        self._send(run_id, values, params, tags)
        sent |= points.keys()
        if end or ended:
            self._client.set_terminated(run_id, _ENDS.get(trial.state, "KILLED"))
            self._sent.pop(trial.number)  # a trial without an end may go on, in another process or in this one
        if end:
            self._done[trial.number] = end

    def _run_of(self, seen: Seen, trial: SeenTrial) -> tuple[str, Mapping[str, Value]]:
        """The run of a trial, and the hyper-parameters that it lacks; one of an earlier attempt, which failed, goes."""
        known = self._runs.get(trial.number)
        if known is not None and known[1] == trial.attempt:
            if trial.number not in self._sent:
                self._client.update_run(known[0], status="RUNNING")
                return known[0], trial.config  # again: a kill may have come before them
            return known[0], {}
        if known is not None:
            self._client.delete_run(known[0])
        info = self._parent.info
        tags = {_STUDY: seen.id, _TRIAL: str(trial.number), _ATTEMPT: str(trial.attempt), _PARENT: info.run_id}
        name = f"trial_{trial.number:05d}"
        run_id: str = self._client.create_run(info.experiment_id, tags=tags, run_name=name).info.run_id
        self._runs[trial.number] = run_id, trial.attempt
        return run_id, trial.config

    def _study(self, seen: Seen, *, ended: bool) -> None:
        run_id = self._parent.info.run_id
        over = sum(trial.state != "RUNNING" for trial in seen.trials.values())
        if seen.facts != self._facts:
            self._send(run_id, [], seen.facts, self._changed(seen.facts))
            self._facts = seen.facts
        if seen.scores != self._scores:
            self._send(run_id, [(name, value, over) for name, value in seen.scores.items()], {}, {})
            self._scores = seen.scores
        if seen.results is None:
            if ended:
                self._client.set_terminated(run_id, "KILLED")
            return
        if ended and not self._complete:  # what comes after the scores, as the report, is there then
            for folder, paths in files_by_folder(seen.artefacts, seen.folder.root).items():
                for path in paths:
                    self._client.log_artifact(run_id, str(path), folder or None)
            self._client.set_tag(run_id, _DONE, _mark(seen))
            self._complete = True
        if ended:
            self._client.set_terminated(run_id, "FINISHED")

    def _changed(self, facts: Mapping[str, Value]) -> dict[str, str]:
        """Tags for the settings whose parameters have an earlier value, and for those that had such a tag before."""
        there, tags = self._params.get(self._parent.info.run_id, {}), self._parent.data.tags
        found = {self._names.sent(name): str(value) for name, value in facts.items()}
        return {
            _NOW + name: value[:_LONGEST]
            for name, value in found.items()
            if there.get(name, value) != value or _NOW + name in tags
        }

    def _send(
        self, run_id: str, values: list[tuple[str, float, int]], params: Mapping[str, Value], tags: Mapping[str, str]
    ) -> None:
        """Sends metrics with their steps, the parameters that the run lacks, and tags. The time of a metric is the
        study's begin plus as many milliseconds as its step."""
        began = self._parent.info.start_time
        metrics = [Metric(self._names.sent(name), value, began + step, step) for name, value, step in values]
        there = self._params.setdefault(run_id, {})
        found = {self._names.sent(name): str(value) for name, value in params.items()}
        lacking = {name: value for name, value in found.items() if name not in there}
        facts = [Param(name, value) for name, value in lacking.items()]
        while len(metrics) > _BATCH or len(facts) > _PARAMS:
            self._client.log_batch(run_id, metrics=metrics[:_BATCH], params=facts[:_PARAMS])
            metrics, facts = metrics[_BATCH:], facts[_PARAMS:]
        marks = [RunTag(name, value) for name, value in tags.items()]
        if metrics or facts or marks:
            self._client.log_batch(run_id, metrics=metrics, params=facts, tags=marks)
        there |= lacking


class _Names:
    """The names that metrics and parameters have in MLflow, which takes letters, digits and a few signs.

    Args:
        say: is told once of each that is another one there.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._sent: dict[str, str] = {}
        self._say = say

    def meet(self, names: Iterable[str]) -> None:
        """Gives names to those that have none, in this order."""
        for name in names:
            self.sent(name)

    def sent(self, name: str) -> str:
        """What it is called there; two names are never called the same."""
        if name not in self._sent:
            legal = wanted = _legal(name)
            count = 1
            while legal in self._sent.values():
                count += 1
                legal = f"{wanted}_{count}"
            self._sent[name] = legal
            if legal != name:
                self._say(f"MLflow does not take the name {name!r}; it is called {legal!r} there")
        return self._sent[name]


def _legal(name: str) -> str:
    """The name with `_` for what MLflow does not take: most signs, and what is no plain path."""
    legal = _ILLEGAL.sub("_", name)[:_LONGEST_NAME]
    if legal in ("", ".") or legal.startswith(("..", "/")) or posixpath.normpath(legal) != legal:
        legal = legal.replace("/", "_").lstrip(".") or "_"
    return legal


def _mark(seen: Seen) -> str:
    """What a complete parent says: another result makes it incomplete."""
    return "" if seen.results is None else str(seen.results.sha256 or "yes")


def _end_of(trial: SeenTrial) -> str:
    """What a complete child says; empty for a trial that runs. One that was given more epochs has another end."""
    return "" if trial.state == "RUNNING" else f"{trial.attempt} {trial.state} {len(trial.epochs)}"
