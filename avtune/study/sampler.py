"""The sampler of one study: configurations from Optuna, and what came of them back to it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import optuna
from optuna.trial import TrialState

from avtune.core.hyper import Value
from avtune.core.seeds import mix
from avtune.space.drawing import legal_point
from avtune.space.space import Space
from avtune.study.enqueued import Enqueued
from avtune.study.grid import Key, key_of, unseen, unseen_of
from avtune.study.journal import Journal, readable
from avtune.study.optuna_private import Gp, Tpe
from avtune.study.points import legal_quasi_random
from avtune.study.remaining import Remaining
from avtune.study.window import GP_SEEN, Window

_NAME = "avtune"  # in memory
_TRIES = 20  # suggestions for the axes that an enqueued configuration leaves out, until one is new
_NOT_COMPLETED = (
    f"in {_TRIES + 1} suggestions for the values that it leaves out none was new and fulfilled the constraints"
)
_AGAIN = {"gp": 2}  # suggestions until one fulfils the constraints, by sampler; a Gaussian process is slow. Else _TRIES
_DRAWN = 100  # random points that have been tried, one after another, before one is taken that is known to be left
_STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAIL}


def first_turn(space: Space) -> int:
    """The number of the first trial whose configuration is known beforehand: after the random start-up trials, or 0 in
    a search of such alone."""
    settings = space.search
    return settings.startup_trials if settings.trials > settings.startup_trials else 0


def _window(space: Space) -> Window:
    """What Optuna's sampler of a space sees."""
    if space.search.sampler != "gp":
        return Window()
    filled = {axis.name: (axis.middle, axis.distribution()) for axis in space.axes if axis.when}
    return Window(GP_SEEN, ended=True, filled=filled)


class Sampler:
    """Suggests the configurations of one study and keeps them in its journal.

    Optuna's sampler is made anew for every suggestion with a seed from the study's seed and the trial's number, so
    there is no state to lose: a continued study goes on with the suggestions it would have made. It works in memory,
    where `Window` says what it sees; a configuration reaches the journal in one write once it is a trial.

    Args:
        journal: the journal file; a last line torn by a kill is cut off.
        space: what is searched.
        start: configurations that the user named, values of the axes each; they come before the default one.
        like: configurations of earlier studies; they come after it.

    Raises:
        UserError: the journal is damaged, or holds trials of another space.
    """

    def __init__(
        self,
        journal: Path,
        space: Space,
        start: Sequence[Mapping[str, Value]] = (),
        like: Sequence[Mapping[str, Value]] = (),
    ) -> None:
        self._space = space
        self._path = journal
        self._start = [dict(params) for params in start]
        self._like = [dict(params) for params in like]
        self._distributions = space.distributions()
        self._always = {axis.name: self._distributions[axis.name] for axis in space.axes if not axis.when}
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._window = _window(space)
        self._study = optuna.create_study(storage=self._window, study_name=_NAME, direction="maximize")
        self._window_id = self._window.get_study_id_from_name(_NAME)
        self._window_ids: dict[int, int] = {}  # by our numbers
        self._journal = Journal(journal, space)
        self.repaired = self._journal.repaired
        with readable(journal):
            for number, trial in self._journal.read():
                self._window_ids[number] = self._window.create_new_trial(self._window_id, trial)
        self._seen = {self._key(params) for params in self._journal.params.values()}
        self._remaining = Remaining(space)

    @property
    def used_up(self) -> bool:
        """Whether every configuration of a finite space has been suggested, see `Remaining`."""
        return self._remaining.used_up(self._seen)

    @property
    def configurations(self) -> int | None:
        """How many there are; None where they are not counted."""
        return self._remaining.size

    def past(self) -> list[dict[str, Value]]:
        """The configurations suggested so far, by trial number."""
        params = self._journal.params
        return [self._space.configuration(params[number]) for number in range(len(params))]

    def times(self) -> dict[int, tuple[float, float | None]]:
        """When each trial was suggested and when it ended, see `Journal.times`."""
        return self._journal.times()

    def ask(self, number: int) -> dict[str, Value] | None:
        """A configuration that has not been suggested before, kept as trial `number`; None when the space is used up.

        Those that the user named, and then the method's default configuration, where the space allows it, come after
        the random ones: they are often better, and as the first they would stop random ones that have not shown yet
        what they lead to. A search of random ones alone begins with them.
        """
        while not self.used_up:
            enqueued = self._next_enqueued()
            found = self._new(number, enqueued)
            if found is not None:
                trial, params = found
                self._journal.add(number, params, None if enqueued is None else enqueued.number)
                self._window_ids[number] = trial.number  # of the one study in memory, ids are numbers
                self._seen.add(self._key(params))
                return self._space.configuration(params)
            assert enqueued is not None
            self._journal.leave_out(enqueued.number, _NOT_COMPLETED)
        return None

    def _new(self, number: int, enqueued: Enqueued | None) -> tuple[optuna.Trial, dict[str, Value]] | None:
        """A configuration that is new and fulfils the constraints, with Optuna's trial of it: the one that a script
        has enqueued, completed by the sampler, where there is one. None where that cannot be completed."""
        known = None if enqueued is None else self._completed(enqueued, number, 0)
        if known is None and number >= first_turn(self._space):
            known = next(self._known(), None)
        known = known or self._by_number(number)
        if known is not None:
            self._study.enqueue_trial(known)
        for attempt in itertools.count():
            self._study.sampler = self._optunas(mix(self._space.search.seed, "suggest", number, attempt))
            trial = self._asked()
            params: dict[str, Value] = self._space.active_part(trial.params)
            legal = self._space.violated(params) is None
            if legal and self._key(params) not in self._seen:
                return trial, params
            self._study.tell(trial, state=TrialState.FAIL)
            if enqueued is not None:
                if attempt >= _TRIES or not enqueued.lacks_values(self._space):
                    return None
                self._study.enqueue_trial(self._completed(enqueued, number, attempt + 1))
            elif legal or attempt >= _AGAIN.get(self._space.search.sampler, _TRIES):
                seed = mix(self._space.search.seed, "unseen", number, attempt)
                left = self._remaining.drawn(self._seen) if self._is_nearly_used_up(attempt) else None
                self._study.enqueue_trial(left or self._unseen(seed))
        raise AssertionError

    def _completed(self, enqueued: Enqueued, number: int, attempt: int) -> dict[str, Value]:
        """An enqueued configuration with the choices that its values need; the rest is the sampler's."""
        draw = random.Random(mix(self._space.search.seed, "condition", number, attempt))
        return enqueued.with_conditions(self._space, draw)

    def _is_nearly_used_up(self, attempt: int) -> bool:
        """Whether further draws at random, of a space whose points are neither countless nor listed, may go on giving
        what has been tried: then one that is known to be left is taken."""
        return attempt >= _DRAWN and self._remaining.size is None and not self._space.is_plain

    def _asked(self) -> optuna.Trial:
        """A trial of Optuna's with a value of every axis whose condition holds."""
        trial = self._study.ask(fixed_distributions=self._always)
        for axis in self._space.axes:
            if axis.when and axis.is_searched(trial.params):
                axis.suggest(trial)
        return trial

    def tell(
        self,
        number: int,
        state: str,
        value: float | None,
        rungs: Mapping[int, float],
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        """Tells how a trial ended; again changes nothing, unless it had failed and was trained again.

        Args:
            state: COMPLETE, PRUNED or FAIL.
            value: its best validation MAP.
            rungs: best validation MAP up to each rung that it reached, by the rung's epoch.
            facts: what else those who open the journal with Optuna's tools shall see, by name.
        """
        told = self._journal.ended.get(number)
        if told is not None and (told != TrialState.FAIL or state == "FAIL"):
            return
        if state == "PRUNED" and rungs:
            value = rungs[max(rungs)]  # as Optuna has it
        values = None if value is None or state == "FAIL" else [value]
        if told is not None and (begun := self._journal.begin_again(number)) is not None:
            self._window_ids[number] = self._window.create_new_trial(self._window_id, begun)
        self._journal.end(number, _STATES[state], values, rungs, facts or {})
        window_id = self._window_ids[number]
        for epoch, seen in rungs.items():
            self._window.set_trial_intermediate_value(window_id, epoch, seen)
        self._window.set_trial_state_values(window_id, _STATES[state], values)

    @property
    def known(self) -> list[dict[str, Value]]:
        """The configurations that the user named, and those of earlier studies."""
        return [*self._start, *self._like]

    @property
    def waiting(self) -> list[int]:
        """The configurations that the user named, or earlier studies gave, and that have not been suggested yet: their
        places, from 1, among those that come without a suggestion."""
        coming = list(dict.fromkeys(map(self._key, self._known())))
        named = {self._key(params) for params in self.known}
        return [place for place, key in enumerate(coming, 1) if key in named]

    def enqueued(self) -> list[Enqueued]:
        """The configurations that a script of the user's has put into the journal with `optuna.Study.enqueue_trial`,
        and that no trial has yet, those that were left out included.

        Raises:
            UserError: the journal is damaged.
        """
        with readable(self._path):
            found = self._journal.enqueued()
        waiting = {number: Enqueued.of(number, params, self._space, self._seen) for number, params in found.items()}
        left_out = {number: Enqueued(number, {}, why) for number, why in self._journal.left_out.items()}
        return [one for _, one in sorted((waiting | left_out).items())]

    def _next_enqueued(self) -> Enqueued | None:
        """The first that may be tried. It may leave out axes, which the sampler then chooses."""
        return next((one for one in self.enqueued() if not one.problem), None)

    def _known(self) -> Iterator[dict[str, Value]]:
        """Configurations that need no suggestion and have not been tried, in the order in which they come."""
        default = self._space.default_point()
        for params in (*self._start, *([] if default is None else [default]), *self._like):
            if self._key(params) not in self._seen:
                yield params

    def _key(self, params: Mapping[str, Value]) -> Key:
        """What tells a configuration from others, whatever it was read from."""
        return key_of(self._space.fitted(params))

    def _by_number(self, number: int) -> dict[str, Value] | None:
        """The configuration that follows from the trial's number alone; None where the sampler is another."""
        name, seed = self._space.search.sampler, self._space.search.seed
        if not self._distributions or name not in ("grid", "qmc"):
            return None
        if name == "grid":  # in an order of its own: ASHA expects good and bad ones to be mixed
            return self._unseen(mix(seed, "grid"), number)
        return legal_quasi_random(self._space, number, mix(seed, "qmc") % 2**32)

    def _optunas(self, seed: int) -> optuna.samplers.BaseSampler:
        """Optuna's sampler for one suggestion."""
        settings = self._space.search
        if settings.sampler == "gp":
            return Gp(self._space, seed=seed % 2**32, startup_trials=settings.startup_trials)
        if settings.sampler != "tpe":
            return optuna.samplers.RandomSampler(seed=seed % 2**32)
        return Tpe(self._space, seed=seed % 2**32, startup_trials=settings.startup_trials)

    def _unseen(self, seed: int, steps: int = 0) -> dict[str, Value]:
        """A configuration at random: in a finite space one that has not been suggested yet.

        Args:
            steps: see `grid.unseen`.
        """
        if self._remaining.points is not None:
            return unseen_of(self._remaining.points, self._seen, seed, steps)
        if self._remaining.size is not None:
            return unseen(self._distributions, self._seen, seed, steps)
        if not self._space.is_plain:
            return legal_point(self._space, random.Random(seed))
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed % 2**32))
        return dict(study.ask(fixed_distributions=self._distributions).params)
