"""What the sampler sees of a study that grows."""

from __future__ import annotations

import copy
from bisect import insort
from collections.abc import Container, Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from avtune.core.hyper import Value

SEEN = 1000
"""Ended trials that the sampler sees at most."""
BEST = 25
"""Of these, the best. TPE never counts more trials as good."""
GP_SEEN = 200
"""Ended trials that a Gaussian process sees at most: a fit takes time with the cube of them."""


class Window(InMemoryStorage):
    """Keeps every trial of one study and shows the sampler a bounded part.

    TPE fits one density to the good trials and one to the others, so that a suggestion costs time in proportion to the
    trials seen. Up to `SEEN` that have ended, it sees all. Beyond, it sees the `BEST` best and the most recent of the
    others, `SEEN` in all, and every trial that is running: its density of good configurations is that of the whole
    study, the other one is that of recent trials, to which it gives most weight anyway. Which ones depends on numbers,
    states and values only, not on when they came in: a continued study sees the same.

    Failed trials are never shown; TPE leaves them out.

    Args:
        most: ended trials that are shown; None for `SEEN`.
        ended: show trials that a rung has stopped as complete, with the value that they had there: a Gaussian process
            takes no others, and most trials are stopped.
        filled: values, with their distributions, that are shown of a trial that has none of that name: a Gaussian
            process takes no trial without them.
    """

    def __init__(
        self,
        most: int | None = None,
        *,
        ended: bool = False,
        filled: Mapping[str, tuple[Value, BaseDistribution]] | None = None,
    ) -> None:
        super().__init__()
        self._filled = dict(filled or {})
        self._most = SEEN if most is None else most
        self._as_ended = ended
        self._running: set[int] = set()
        self._ended: list[int] = []  # ascending
        self._best: list[tuple[float, ...]] = []  # (*rank, number), best first

    def seen(self) -> list[int]:
        """The numbers of the trials that the sampler sees, ascending."""
        most = self._most
        if len(self._ended) <= most:
            ended = self._ended
        else:
            best = {int(rank[-1]) for rank in self._best}
            others = [number for number in self._ended[-most:] if number not in best]
            ended = [*best, *others[-(most - len(best)) :]]
        return sorted([*ended, *self._running])

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if states == (TrialState.WAITING,):  # Optuna looks for enqueued trials, which no sampler sees
            return super().get_all_trials(study_id, deepcopy, states)
        every = super().get_all_trials(study_id, deepcopy=False)
        trials = [every[number] for number in self.seen()]
        if self._as_ended:
            trials = [self._with_all(_as_ended(trial)) for trial in trials]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def _with_all(self, trial: FrozenTrial) -> FrozenTrial:
        """The trial with the values that it lacks."""
        lacking = {name: one for name, one in self._filled.items() if name not in trial.params}
        if not lacking:
            return trial
        shown = copy.copy(trial)
        shown.params = {**trial.params, **{name: value for name, (value, _) in lacking.items()}}
        shown.distributions = {**trial.distributions, **{name: one for name, (_, one) in lacking.items()}}
        return shown

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        number: int = super().create_new_trial(study_id, template_trial)
        self._sort_in(number)
        return number

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        changed: bool = super().set_trial_state_values(trial_id, state, values)
        self._sort_in(trial_id)
        return changed

    def _sort_in(self, number: int) -> None:
        """Puts a trial where it belongs now. Of one study alone, its id is its number."""
        trial = self.get_trial(number)
        assert trial.number == number
        if trial.state == TrialState.RUNNING:
            self._running.add(number)
        elif trial.state.is_finished():
            self._running.discard(number)
            if trial.state != TrialState.FAIL:
                insort(self._ended, number)
                insort(self._best, (*_rank(trial), number))
                del self._best[BEST:]


def _as_ended(trial: FrozenTrial) -> FrozenTrial:
    """A stopped trial as a complete one with its last value; any other as it is."""
    if trial.state != TrialState.PRUNED or trial.value is None:
        return trial
    shown = copy.copy(trial)
    shown.state = TrialState.COMPLETE
    return shown


def _rank(trial: FrozenTrial) -> tuple[float, float]:
    """Better trials come first, in TPE's order: complete ones by value, then stopped ones by epochs and by value."""
    if trial.state == TrialState.COMPLETE:
        assert trial.value is not None
        return (float("-inf"), -trial.value)
    if trial.intermediate_values:
        epoch, value = max(trial.intermediate_values.items())
        return (-epoch, -value)
    return (1.0, 0.0)
