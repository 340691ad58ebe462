"""Asks Optuna for configurations and tells it what came of them. The only file that knows Optuna's study."""

from __future__ import annotations

import itertools
import os
import random
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from avtune.hyper import Value
from avtune.seeds import mix
from avtune.space import Space

_NUMBER = "trial"
_MAX_GRID = 100_000
_STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAIL}


class _OurLock(JournalFileOpenLock):
    """The study folder is locked as a whole; Optuna's own lock file would outlive a killed driver."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


class Proposals:
    """The configurations of one study, kept in Optuna's journal.

    The sampler is made anew for every suggestion with a seed from the study's seed and the trial's number, so there
    is no sampler state to lose: a continued study goes on with the suggestions it would have made.

    Args:
        journal: the journal file; a last line torn by a kill is cut off.
        space: what is searched.
    """

    def __init__(self, journal: Path, space: Space) -> None:
        self._space = space
        self._distributions = space.distributions()
        self.repaired = _cut_torn_line(journal)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=_OurLock(str(journal))))
        self._study = optuna.create_study(
            storage=storage, study_name="avtune", direction="maximize", load_if_exists=True, sampler=self._sampler(0)
        )
        self._ids: dict[int, int] = {}
        self._told: set[int] = set()
        self._params: dict[int, dict[str, Value]] = {}
        for trial in self._study.get_trials(deepcopy=False):
            number = trial.user_attrs.get(_NUMBER)
            if number is None:
                # Its proposal was cut off before it became a trial; an enqueued one still waits to be used.
                if trial.state == TrialState.RUNNING:
                    self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            self._ids[number] = trial.number
            self._params[number] = {name: trial.params[name] for name in self._distributions}
            if trial.state.is_finished():
                self._told.add(number)
        self._seen = {_key(params) for params in self._params.values()}
        self._grid = _grid_size(self._distributions)

    @property
    def used_up(self) -> bool:
        """Whether every configuration of a finite space has been proposed."""
        return self._grid is not None and len(self._seen) >= self._grid

    def past(self) -> list[dict[str, Value]]:
        """The configurations proposed so far, by trial number."""
        assert sorted(self._params) == list(range(len(self._params))), "trial numbers have gaps"
        return [self._config(self._params[number]) for number in range(len(self._params))]

    def ask(self, number: int) -> dict[str, Value] | None:
        """A configuration that has not been proposed before, kept as trial `number`; None when the space is used up.

        The first is the method's default configuration where the space allows it.
        """
        if self.used_up:
            return None
        if number == 0 and all(axis.contains(axis.default) for axis in self._space.axes):
            self._study.enqueue_trial({axis.name: axis.default for axis in self._space.axes}, skip_if_exists=True)
        for attempt in itertools.count():
            self._study.sampler = self._sampler(mix(self._space.search.seed, "suggest", number, attempt))
            trial = self._study.ask(fixed_distributions=self._distributions)
            params: dict[str, Value] = dict(trial.params)
            if _key(params) not in self._seen:
                break
            self._study.tell(trial, state=TrialState.FAIL)
            self._study.enqueue_trial(self._unseen(mix(self._space.search.seed, "unseen", number, attempt)))
        trial.set_user_attr(_NUMBER, number)
        self._ids[number] = trial.number
        self._params[number] = {name: params[name] for name in self._distributions}
        self._seen.add(_key(params))
        return self._config(params)

    def tell(self, number: int, state: str, value: float | None, rungs: Mapping[int, float]) -> None:
        """Tells the sampler how a trial ended; again changes nothing.

        Args:
            state: COMPLETE, PRUNED or FAIL.
            value: its best validation MAP.
            rungs: best validation MAP up to each rung that it reached.
        """
        if number in self._told:
            return
        trial = optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[self._ids[number]]._trial_id)
        for epoch, seen in rungs.items():
            trial.report(seen, epoch)
        self._study.tell(trial, value if state == "COMPLETE" else None, state=_STATES[state])
        self._told.add(number)

    def _config(self, params: Mapping[str, Value]) -> dict[str, Value]:
        return {**{name: params[name] for name in self._distributions}, **self._space.fixed}

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        settings = self._space.search
        if settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed % 2**32, n_startup_trials=settings.startup_trials, multivariate=True, constant_liar=True
            )

    def _unseen(self, seed: int) -> dict[str, Any]:
        """A configuration not proposed yet: from the rest of a small finite space, else at random."""
        draw = random.Random(seed)
        if self._grid is not None and self._grid <= _MAX_GRID:
            names = list(self._distributions)
            grid = itertools.product(*(_values(self._distributions[name]) for name in names))
            rest = [dict(zip(names, values, strict=True)) for values in grid]
            return draw.choice([params for params in rest if _key(params) not in self._seen])
        sampler = optuna.samplers.RandomSampler(seed=seed % 2**32)
        study = optuna.create_study(sampler=sampler)
        return dict(study.ask(fixed_distributions=self._distributions).params)


def _key(params: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(params.items()))


def _values(distribution: BaseDistribution) -> list[Any]:
    """All values of a finite distribution."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [distribution.low + index * distribution.step for index in range(count)]


def _grid_size(distributions: Mapping[str, BaseDistribution]) -> int | None:
    """How many configurations there are; None when a continuous axis makes them countless."""
    size = 1
    for distribution in distributions.values():
        if isinstance(distribution, FloatDistribution) and distribution.step is None and not distribution.single():
            return None
        size *= 1 if distribution.single() else len(_values(distribution))
    return size


def _cut_torn_line(path: Path) -> bool:
    """Cuts off a last line without a line end; returns whether there was one."""
    if not path.exists():
        return False
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return False
    os.truncate(path, end)
    return True
