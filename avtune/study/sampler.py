"""Asks Optuna for configurations and tells it what came of them. Only this file and `window.py` know Optuna."""

from __future__ import annotations

import itertools
import math
import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from avtune.core.errors import UserError
from avtune.core.files import append_line, using
from avtune.core.hyper import Value
from avtune.core.schema import is_number, is_whole
from avtune.core.seeds import mix
from avtune.space.space import Space
from avtune.study.window import BEST, Window

_NAME = "avtune"  # in memory
_NUMBER = "trial"
_STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAIL}
# What Optuna raises on a journal that it did not write.
_DAMAGE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RecursionError,
    optuna.exceptions.OptunaError,
)


class _Journal(JournalFileBackend):
    """Optuna's journal file without its lock, which would outlive a killed driver (the study folder is locked as a
    whole), and without its wait for the disk at every line."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        for log in logs:
            append_line(self._path, log, checksum=False)  # lines that Optuna reads

    def sync(self) -> None:
        """What has been written survives a power loss."""
        with using(self._path):
            handle = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _good(ended: int) -> int:
    """How many of the best trials TPE takes for good ones: one in 20, 25 at most.

    Optuna takes one in 10. It suggests one trial at a time; here many are under way, and a suggestion does not know
    what comes of them. Fewer good ones, closer to the best, make up for that."""
    return min(-(-ended // 20), BEST)


class _Tpe(optuna.samplers.TPESampler):
    """Optuna's TPE with a measure of good trials of its own, and told which axes its trials share, which it would look
    up trial by trial: here it is all of them."""

    def __init__(self, distributions: Mapping[str, BaseDistribution], **settings: Any) -> None:
        super().__init__(**settings)
        self._gamma = _good  # Optuna's argument of that name is deprecated, and nothing has taken its place
        self._axes = {name: one for name, one in sorted(distributions.items()) if not one.single()}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._axes


def _only_study(journal: JournalStorage, name: str) -> int:
    """The id of the journal's study. A new one has the name of its folder, for those who open the journal with Optuna;
    a folder that was moved keeps the one it had, and older journals say `avtune`.

    Raises:
        ValueError: there are several.
    """
    studies = journal.get_all_studies()
    if not studies:
        optuna.create_study(storage=journal, study_name=name, direction="maximize")
        studies = journal.get_all_studies()
    if len(studies) > 1:
        raise ValueError(f"it holds {len(studies)} studies")
    return studies[0]._study_id


class Proposals:
    """The configurations of one study, kept in Optuna's journal.

    The sampler is made anew for every suggestion with a seed from the study's seed and the trial's number, so there
    is no sampler state to lose: a continued study goes on with the suggestions it would have made. It works in memory,
    where `Window` says what it sees; a configuration reaches the journal in one write once it is a trial.

    Args:
        journal: the journal file; a last line torn by a kill is cut off.
        space: what is searched.

    Raises:
        UserError: the journal is damaged, or holds trials of another space.
    """

    def __init__(self, journal: Path, space: Space) -> None:
        self._space = space
        self._distributions = space.distributions()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with using(journal):
            self.repaired = _cut_torn_line(journal)
            self._file = _Journal(journal)
        self._window = Window()
        self._study = optuna.create_study(storage=self._window, study_name=_NAME, direction="maximize")
        self._window_id = self._window.get_study_id_from_name(_NAME)
        self._ids: dict[int, tuple[int, int]] = {}  # of each trial, in the journal and in the window
        self._told: dict[int, TrialState] = {}
        self._params: dict[int, dict[str, Value]] = {}
        with _readable(journal):
            self._journal = JournalStorage(self._file)
            self._journal_id = _only_study(self._journal, journal.absolute().parent.name)
            for trial in self._journal.get_all_trials(self._journal_id, deepcopy=False):
                number = trial.user_attrs.get(_NUMBER)
                if number is None:  # of a journal written in smaller steps: a proposal that never became a trial
                    continue
                self._check(number, trial)
                self._keep(number, trial.params, trial._trial_id, self._window.create_new_trial(self._window_id, trial))
                if trial.state.is_finished():
                    self._told[number] = trial.state
            if sorted(self._params) != list(range(len(self._params))):
                raise ValueError("the numbers of its trials have gaps")
        self._seen = {_key(params) for params in self._params.values()}
        self._grid = _grid_size(self._distributions)

    @property
    def used_up(self) -> bool:
        """Whether every configuration of a finite space has been proposed."""
        return self._grid is not None and len(self._seen) >= self._grid

    def past(self) -> list[dict[str, Value]]:
        """The configurations proposed so far, by trial number."""
        return [self._config(self._params[number]) for number in range(len(self._params))]

    def ask(self, number: int) -> dict[str, Value] | None:
        """A configuration that has not been proposed before, kept as trial `number`; None when the space is used up.

        The method's default configuration, where the space allows it, comes after the random ones: it is often better
        than they are, and as the first it would stop those that have not shown yet what they lead to. A search of
        random ones alone begins with it.
        """
        if self.used_up:
            return None
        default = {axis.name: axis.default for axis in self._space.axes}
        settings = self._space.search
        if (
            number == (settings.startup_trials if settings.trials > settings.startup_trials else 0)
            and all(axis.contains(axis.default) for axis in self._space.axes)
            and _key(default) not in self._seen
        ):
            self._study.enqueue_trial(default)
        for attempt in itertools.count():
            self._study.sampler = self._sampler(mix(self._space.search.seed, "suggest", number, attempt))
            trial = self._study.ask(fixed_distributions=self._distributions)
            params: dict[str, Value] = dict(trial.params)
            if _key(params) not in self._seen:
                break
            self._study.tell(trial, state=TrialState.FAIL)
            self._study.enqueue_trial(self._unseen(mix(self._space.search.seed, "unseen", number, attempt)))
        proposed = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=self._distributions,
            user_attrs={_NUMBER: number},
        )
        self._keep(number, params, self._journal.create_new_trial(self._journal_id, proposed), trial.number)
        self._file.sync()  # before the curves name it; what is told later can be told again
        self._seen.add(_key(params))
        return self._config(params)

    def tell(self, number: int, state: str, value: float | None, rungs: Mapping[int, float]) -> None:
        """Tells the sampler how a trial ended; again changes nothing. What Optuna has as ended is so for good: where a
        failed trial was trained again and did not fail, a further one with its number takes its place.

        Args:
            state: COMPLETE, PRUNED or FAIL.
            value: its best validation MAP.
            rungs: best validation MAP up to each rung that it reached.
        """
        told = self._told.get(number)
        if told is not None and (told != TrialState.FAIL or state == "FAIL"):
            return
        if state == "PRUNED" and rungs:
            value = rungs[max(rungs)]  # as Optuna has it
        values = None if value is None or state == "FAIL" else [value]
        if told is not None:
            self._replace(number, _STATES[state], values, rungs)
            return
        for storage, trial_id in zip((self._journal, self._window), self._ids[number], strict=True):
            for epoch, seen in rungs.items():
                storage.set_trial_intermediate_value(trial_id, epoch, seen)
            storage.set_trial_state_values(trial_id, _STATES[state], values)
        self._told[number] = _STATES[state]

    def _replace(
        self, number: int, state: TrialState, values: Sequence[float] | None, rungs: Mapping[int, float]
    ) -> None:
        """A trial in the place of the failed one, written at once with its end."""
        params = self._params[number]
        ended = optuna.trial.create_trial(
            state=state,
            values=values,
            params=params,
            distributions=self._distributions,
            user_attrs={_NUMBER: number},
            intermediate_values=dict(rungs),
        )
        journal_id = self._journal.create_new_trial(self._journal_id, ended)
        self._keep(number, params, journal_id, self._window.create_new_trial(self._window_id, ended))
        self._told[number] = state

    def _check(self, number: Any, trial: FrozenTrial) -> None:
        """Raises:
        ValueError: what the journal says of a trial is not what we wrote.
        """
        if not is_whole(number) or (number in self._params and self._told.get(number) != TrialState.FAIL):
            raise ValueError("a trial's number is missing or there twice")
        if number in self._params and self._params[number] != {
            name: trial.params[name] for name in self._distributions
        }:
            raise ValueError(f"trial {number} is there with two configurations")
        if trial.distributions != self._distributions or not all(
            axis.contains(trial.params[axis.name]) for axis in self._space.axes
        ):
            raise ValueError(f"trial {number} is of another space")
        values = [*(trial.values or []), *trial.intermediate_values.values()]
        if not all(map(is_number, values)) or (trial.state == TrialState.COMPLETE and len(trial.values or []) != 1):
            raise ValueError(f"the value of trial {number} is no number")

    def _keep(self, number: int, params: Mapping[str, Value], journal_id: int, window_id: int) -> None:
        self._ids[number] = (journal_id, window_id)
        self._params[number] = {name: params[name] for name in self._distributions}

    def _config(self, params: Mapping[str, Value]) -> dict[str, Value]:
        return {**{name: params[name] for name in self._distributions}, **self._space.fixed}

    def _sampler(self, seed: int) -> optuna.samplers.BaseSampler:
        settings = self._space.search
        if settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return _Tpe(
                self._distributions,
                seed=seed % 2**32,
                n_startup_trials=settings.startup_trials,
                multivariate=True,
                constant_liar=True,
            )

    def _unseen(self, seed: int) -> dict[str, Any]:
        """A configuration at random: in a finite space one that has not been proposed yet."""
        if self._grid is None:
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed % 2**32))
            return dict(study.ask(fixed_distributions=self._distributions).params)
        draw = random.Random(seed)
        place, stride = draw.randrange(self._grid), draw.randrange(1, self._grid + 1)
        while math.gcd(stride, self._grid) > 1:  # without a common divisor the walk comes by every configuration
            stride += 1
        while _key(params := self._at(place)) in self._seen:
            place = (place + stride) % self._grid
        return params

    def _at(self, place: int) -> dict[str, Any]:
        """The configuration of a finite space with that place, from 0 to below `_grid`."""
        params = {}
        for name, distribution in self._distributions.items():
            values = _values(distribution)
            place, index = divmod(place, len(values))
            params[name] = values[index]
        return params


def _key(params: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    return tuple(sorted(params.items()))


def _values(distribution: BaseDistribution) -> Sequence[Any]:
    """All values of a finite distribution, as the samplers write them."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    if isinstance(distribution, IntDistribution):
        return range(distribution.low, distribution.high + 1, distribution.step)
    assert isinstance(distribution, FloatDistribution)
    assert distribution.step is not None
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [min(distribution.low + index * distribution.step, distribution.high) for index in range(count)]


def _grid_size(distributions: Mapping[str, BaseDistribution]) -> int | None:
    """How many configurations there are; None when a continuous axis makes them countless."""
    if any(isinstance(one, FloatDistribution) and one.step is None for one in distributions.values()):
        return None
    return math.prod(len(_values(one)) for one in distributions.values())


def _cut_torn_line(path: Path) -> bool:
    """Cuts off a last line without a line end; returns whether there was one."""
    if not path.exists():
        return False
    if not path.is_file():
        raise UserError(f"{path} is no regular file; restore it from a copy")
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return False
    os.truncate(path, end)
    return True


@contextmanager
def _readable(journal: Path) -> Iterator[None]:
    """Turns what a damaged journal leads to into a sentence."""
    try:
        yield
    except UserError:
        raise
    except _DAMAGE as error:
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(f"{journal} is damaged ({said}); restore it from a copy") from error
