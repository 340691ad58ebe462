"""What an engine does: takes trials, trains them in lanes, reports every epoch, frees the lanes that are stopped.

Knows nothing of where its orders come from: `exchange` takes a message and returns the orders. No Ray here.
"""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch

from avtune.data.prepare import Prepared
from avtune.hyper import Value
from avtune.lanes.engine import Lanes, mean_metrics
from avtune.lanes.modules import Tensors
from avtune.lanes.room import Need, free_bytes, need
from avtune.methods import check_config, get, static_values
from avtune.seeds import mix
from avtune.trial import Trial

Save = Callable[[Trial, Tensors, Tensors], None]


class LaneFiles(Protocol):
    """Keeps the states of lanes for another engine."""

    def save(self, trial: Trial, epoch: int, folds: Sequence[Tensors]) -> None:
        """Keeps the state of a trial's lanes, one for each fold, after `epoch` epochs, in place of an earlier one."""

    def load(self, trial: Trial) -> tuple[int, Sequence[Tensors]] | None:
        """What was kept last for this very trial, None for nothing usable."""


_LONGEST_WAIT = 0.25
_Key = tuple[Any, ...]
"""What a group's trials agree on: method, precision and static hyper-parameters."""


@dataclass
class Message:
    """What an engine says: how many more trials it has room for, and what happened since it last spoke.

    Attributes:
        want: free lanes.
        reports: (number, epoch, metrics) of every trial that has trained an epoch.
        ends: (number, failure or None, details) of every trial that has ended by itself.
        returned: numbers of trials that it cannot hold after all, to be trained again from their start.
        notes: for whoever wants to know how the engine works.
    """

    want: int
    reports: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    ends: list[tuple[int, str | None, str]] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Orders:
    """What an engine is told.

    Attributes:
        stop: numbers of trials to leave.
        trials: trials to train.
        over: no trial will come any more, and none of this engine's is wanted.
    """

    stop: Sequence[int]
    trials: Sequence[Trial]
    over: bool


@dataclass
class _Group:
    """The lanes of one group, one set for each fold; a trial has the same place in all.

    Attributes:
        epochs: how many each trial has done.
        best: the highest `val_map` so far and the weights it came with, of trials that keep those.
    """

    folds: list[Lanes]
    trials: dict[int, tuple[Trial, list[Trial]]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    best: dict[int, tuple[float, Tensors, Tensors]] = field(default_factory=dict)


class Worker:
    """An engine over one device.

    Args:
        data: the folds that every trial trains on.
        capacity: trials at a time, or fewer where the device has no memory for so many.
        device: where.
        save: called with the trained weights of a trial that wants them kept.
        lane_files: where trials that name a lane file save their state, and go on from it.
    """

    def __init__(
        self, data: Sequence[Prepared], *, capacity: int, device: str, save: Save, lane_files: LaneFiles | None = None
    ) -> None:
        self._data = list(data)
        self._capacity = capacity
        self._device = device
        self._save = save
        self._lane_files = lane_files
        self._groups: dict[_Key, _Group] = {}
        self._needs: dict[_Key, Need] = {}

    @property
    def num_trials(self) -> int:
        return sum(len(group.trials) for group in self._groups.values())

    def run(self, exchange: Callable[[Message], Orders]) -> None:
        """Works until the orders say that it is over."""
        wait = 0.001
        message = self.start()
        while True:
            orders = exchange(message)
            if orders.over:
                return
            message = self.step(orders)
            if message.reports or message.ends or message.returned:
                wait = 0.001
            else:  # other engines have what is left, or what the next suggestion must see first
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def start(self) -> Message:
        """The first message."""
        return Message(self._capacity)

    def step(self, orders: Orders) -> Message:
        """Follows the orders and trains every trial for an epoch."""
        for number in orders.stop:
            self._leave(number)
        self._save_lanes()
        message = Message(0)
        for trial in orders.trials:
            self._admit(trial, message)
        for group in list(self._groups.values()):
            if group.trials:
                self._train(group, message)
        message.want = max(0, self._capacity - self.num_trials)
        return message

    def _admit(self, trial: Trial, message: Message) -> None:
        try:
            kind = get(trial.method)
            config = check_config(kind, trial.config)
            static = static_values(kind, config)
            key = (trial.method, trial.precision, *sorted(static.items()))
            lane_trials = [
                Trial(
                    trial.number,
                    trial.method,
                    config,
                    trial.seed if index == 0 else mix(trial.seed, "fold", index),
                    trial.epochs,
                    horizon=trial.horizon,
                )
                for index in range(len(self._data))
            ]
            if key not in self._groups:
                self._groups[key] = self._new_group(key, static, lane_trials, trial.precision, message)
            group = self._groups[key]
            if self.num_trials >= self._capacity or len(group.trials) >= group.folds[0].capacity:
                message.returned.append(trial.number)
                return
            found = self._lane_files.load(trial) if self._lane_files and trial.lane_file else None
            epoch, states = found if found is not None and found[0] <= trial.known else (0, [None] * len(self._data))
            try:
                _enter(group, lane_trials, states, epoch)
            except ValueError:  # a damaged file: the trial starts again, with the same result
                if not epoch:
                    raise
                epoch = 0
                _enter(group, lane_trials, [None] * len(self._data), epoch)
            group.trials[trial.number] = (trial, lane_trials)
            group.epochs[trial.number] = epoch
        except Exception as error:
            if is_out_of_memory(error) and self._capacity > 1:
                self._drop_empty()
                self._narrow(self.num_trials or self._capacity // 2, "no memory for another", message)
                message.returned.append(trial.number)
            else:
                message.ends.append((trial.number, one_line(error), traceback.format_exc()))

    def _new_group(
        self, key: _Key, static: dict[str, Value], trials: Sequence[Trial], precision: str, message: Message
    ) -> _Group:
        """A group with as many lanes as the device has memory for, `capacity` at most; `trials` are the lanes of its
        first trial. Where there are fewer, this engine holds fewer trials from now on."""

        def make(fold: Prepared, lanes: int) -> Lanes:
            return Lanes(trials[0].method, static, fold, capacity=lanes, device=self._device, precision=precision)

        capacity = self._capacity
        if capacity > 1:
            if key not in self._needs:
                self._needs[key] = need(partial(make, self._data[0]), trials, self._device)
            if self._needs[key].lanes(free_bytes(self._device)) < capacity:
                self._drop_empty()
            free, one = free_bytes(self._device), self._needs[key]
            capacity = max(1, min(capacity, one.lanes(free)))
            why = f"{trials[0].method} takes {one.first >> 20} MiB and {one.further >> 20} for each further trial, "
            self._narrow(self.num_trials + capacity, why + f"{max(free, 0) >> 20} MiB are free", message)
        return _Group([make(fold, capacity) for fold in self._data])

    def _narrow(self, capacity: int, why: str, message: Message) -> None:
        """From now on no more trials at a time than so many."""
        if capacity < self._capacity:
            message.notes.append(f"{capacity} trials at a time, not {self._capacity}: {why}")
            self._capacity = capacity

    def _drop_empty(self) -> None:
        """Groups without trials give back their memory."""
        self._groups = {key: group for key, group in self._groups.items() if group.trials}

    def _save_lanes(self) -> None:
        """Saves the trials that have just passed an epoch at which they are saved. The orders that came in between have
        taken away those that were stopped there."""
        if self._lane_files is None:
            return
        for group in self._groups.values():
            for number, (trial, lane_trials) in group.trials.items():
                epoch = group.epochs[number]
                if trial.lane_file is not None and epoch in trial.save_at:
                    states = [lanes.state(one) for lanes, one in zip(group.folds, lane_trials, strict=True)]
                    self._lane_files.save(trial, epoch, states)

    def _train(self, group: _Group, message: Message) -> None:
        """One epoch of a group's trials."""
        try:
            by_fold = [{r.trial.number: r for r in lanes.train_epoch()} for lanes in group.folds]
        except Exception as error:
            self._give_up(group, error, message)
            return
        for number, (trial, lane_trials) in list(group.trials.items()):
            results = [fold[number] for fold in by_fold]
            failed = next((result.failed for result in results if result.failed), None)
            if failed is not None:
                message.ends.append((number, failed, ""))
                self._leave(number)
                continue
            epoch = group.epochs[number] = results[0].epoch
            metrics = mean_metrics(results)
            if trial.keep_best and metrics["val_map"] > group.best.get(number, (-math.inf,))[0]:
                group.best[number] = (metrics["val_map"], *group.folds[0].weights(lane_trials[0]))
            message.reports.append((number, epoch, metrics))
            if epoch >= trial.epochs:
                self._finish(number, message)

    def _give_up(self, group: _Group, error: Exception, message: Message) -> None:
        """The group's stacks are in the middle of an epoch and lost. Out of memory with several trials: they start
        again, half as many at a time. Anything else is an error in the method, and fails them."""
        details = traceback.format_exc()
        again = is_out_of_memory(error) and self._capacity > 1 and len(group.trials) > 1
        for number in list(group.trials):
            if again:
                message.returned.append(number)
            else:
                message.ends.append((number, one_line(error), details))
        for key, one in list(self._groups.items()):
            if one is group:
                del self._groups[key]
        if again:
            self._narrow(len(group.trials) // 2, "out of memory", message)

    def _finish(self, number: int, message: Message) -> None:
        group, trial, lane_trials = self._find(number)
        if trial.save_to is not None:
            _, params, buffers = group.best.get(number) or (0.0, *group.folds[0].weights(lane_trials[0]))
            self._save(trial, params, buffers)
        message.ends.append((number, None, ""))
        self._leave(number)

    def _leave(self, number: int) -> None:
        """Frees the trial's lanes; a trial that has left already is no news."""
        for group in self._groups.values():
            if number in group.trials:
                _, lane_trials = group.trials.pop(number)
                del group.epochs[number]
                group.best.pop(number, None)
                for lanes, one in zip(group.folds, lane_trials, strict=True):
                    lanes.release(one)

    def _find(self, number: int) -> tuple[_Group, Trial, list[Trial]]:
        group = next(group for group in self._groups.values() if number in group.trials)
        return group, *group.trials[number]


def _enter(group: _Group, trials: Sequence[Trial], states: Sequence[Tensors | None], epoch: int) -> None:
    """Puts a trial into a lane of every fold, or into none.

    Raises:
        ValueError: the states are not those of such lanes.
    """
    admitted: list[tuple[Lanes, Trial]] = []
    try:
        for lanes, one, state in zip(group.folds, trials, states, strict=True):
            lanes.admit(one, state, epoch)
            admitted.append((lanes, one))
    except Exception:
        for lanes, one in admitted:
            lanes.release(one)
        raise


def one_line(error: Exception) -> str:
    """An exception as one line: its type and the first line of its text."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device, or the machine, had no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
