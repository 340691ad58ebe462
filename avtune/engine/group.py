"""One epoch loop for every training: the trials of a lane group, their folds, their curves and the weights they keep.

An engine has several groups with many trials each; `engine.trainer.train` has one group with one trial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from avtune.core.objective import value_of
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.engine.lane_trainer import LaneTrainer, mean_metrics
from avtune.lanes.modules import Tensors
from avtune.methods import check_config, get


@dataclass(frozen=True)
class Outcome:
    """What an epoch gave one trial.

    Attributes:
        number: of the trial.
        epoch: epochs done, from 1.
        metrics: means over the folds.
        failed: why the trial cannot be trained further; None where it can. Its metrics are then no result.
        ended: the trial's training is over.
    """

    number: int
    epoch: int
    metrics: dict[str, float]
    failed: str | None
    ended: bool


@dataclass(frozen=True)
class Best:
    """The weights of the first fold that came with the highest value so far, of what is maximised."""

    value: float
    params: Tensors
    buffers: Tensors
    epoch: int


@dataclass
class _Member:
    """A trial of a group.

    Attributes:
        trial: as the source gave it.
        lane_trials: the trial of its lane in each fold.
        values: what is maximised, of every epoch done; 0 without validation rows.
        best: of a trial that keeps its best epoch.
    """

    trial: Trial
    lane_trials: list[Trial]
    values: list[float]
    best: Best | None = None


@dataclass(eq=False)
class Group:
    """Trials that share fused tensors: one `LaneTrainer` for each fold, in which a trial has the same lane.

    Attributes:
        folds: the lanes of each fold.
        most: trials that the engine holds at a time while this group is there; None for no limit.
    """

    folds: list[LaneTrainer]
    most: int | None = None
    _members: dict[int, _Member] = field(default_factory=dict)

    @property
    def capacity(self) -> int:
        """Most trials at a time."""
        return self.folds[0].store.capacity

    @property
    def trials(self) -> list[Trial]:
        """Its trials, as the source gave them, in the order in which they came."""
        return [member.trial for member in self._members.values()]

    def __contains__(self, number: int) -> bool:
        return number in self._members

    def __len__(self) -> int:
        return len(self._members)

    def values(self, number: int) -> list[float]:
        """What is maximised, of every epoch that the trial has done."""
        return self._members[number].values

    def states(self, number: int) -> list[Tensors]:
        """The states of the trial's lanes, one for each fold."""
        lane_trials = self._members[number].lane_trials
        return [fold.store.state(one) for fold, one in zip(self.folds, lane_trials, strict=True)]

    def enter(
        self, trial: Trial, lane_trials: list[Trial], states: Sequence[Tensors | None], values: Sequence[float]
    ) -> None:
        """Puts a trial into a lane of every fold, or into none.

        Args:
            trial: as the source gave it.
            lane_trials: see `lane_trials_of`.
            states: those of its lanes after as many epochs as there are `values`; None to start.

        Raises:
            ValueError: the states are not those of such lanes.
            UserError: no validation rows of its own are found.
        """
        admitted: list[tuple[LaneTrainer, Trial]] = []
        try:
            for fold, one, state in zip(self.folds, lane_trials, states, strict=True):
                fold.admit(one, state, len(values))
                admitted.append((fold, one))
        except BaseException:
            for fold, one in admitted:
                fold.store.release(one)
            raise
        self._members[trial.number] = _Member(trial, lane_trials, list(values))

    def leave(self, number: int) -> None:
        """Frees a trial's lanes."""
        for fold, one in zip(self.folds, self._members.pop(number).lane_trials, strict=True):
            fold.store.release(one)

    def train_epoch(self) -> list[Outcome]:
        """Trains all trials for an epoch on every fold. Whatever it raises, the group cannot be used afterwards: its
        lanes are in the middle of an epoch."""
        by_fold = [{result.trial.number: result for result in fold.train_epoch()} for fold in self.folds]
        outcomes = []
        for number, member in self._members.items():
            results = [fold[number] for fold in by_fold]
            failed = next((result.failed for result in results if result.failed), None)
            if failed is not None:
                outcomes.append(Outcome(number, results[0].epoch, {}, failed, ended=True))
                continue
            metrics = mean_metrics(results)
            self._note(member, metrics)
            assert len(member.values) == results[0].epoch
            ended = member.trial.ends(member.values)
            outcomes.append(Outcome(number, results[0].epoch, metrics, None, ended))
        return outcomes

    def _note(self, member: _Member, metrics: dict[str, float]) -> None:
        """Adds an epoch to a trial's curve; keeps its weights where they are the best and wanted."""
        value = value_of(metrics)
        member.values.append(0.0 if value is None else value)
        if member.trial.keep_best and (member.best is None or value > member.best.value):
            params, buffers = self.folds[0].store.weights(member.lane_trials[0])
            member.best = Best(value, params, buffers, len(member.values))

    def trained(self, number: int) -> tuple[Tensors, Tensors, int]:
        """(parameters, buffers, epochs) of a trial on the first fold, on the CPU without lane axis: after its best
        epoch if the trial keeps that, else after the last."""
        member = self._members[number]
        if member.best is not None:
            return member.best.params, member.best.buffers, member.best.epoch
        return *self.folds[0].store.weights(member.lane_trials[0]), len(member.values)


def lane_trials_of(trial: Trial, folds: int) -> list[Trial]:
    """The trial of its lane in each fold: with a complete configuration, and a seed for each fold. The first fold has
    the trial's own seed, which decides the rows of all folds where trials have rows of their own.

    Raises:
        UserError: the configuration is not legal for the method.
    """
    config = check_config(get(trial.method), trial.config)
    seeds = [trial.seed, *(mix(trial.seed, "fold", index) for index in range(1, folds))]
    one = Trial(trial.number, trial.method, config, trial.seed, trial.epochs, horizon=trial.horizon)
    return [replace(one, seed=seed, rows_seed=trial.seed) for seed in seeds]
