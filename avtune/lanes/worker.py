"""What an engine does: takes trials, trains them in lanes, reports every epoch, frees the lanes that are stopped.

Knows nothing of where its orders come from: `exchange` takes a message and returns the orders. No Ray here.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from avtune.data.prepare import Prepared
from avtune.errors import is_out_of_memory
from avtune.hyper import Value
from avtune.lanes.engine import Lanes, mean_metrics
from avtune.lanes.modules import Tensors
from avtune.lanes.room import Need, free_bytes, need
from avtune.methods import check_config, get, static_values
from avtune.output import Output
from avtune.seeds import mix
from avtune.trial import Trial

Save = Callable[[Trial, Tensors, Tensors, int], None]
"""Takes a trial, the weights and buffers that it leaves, and the epoch they are of."""


class LaneFiles(Protocol):
    """Keeps the states of lanes for another engine."""

    def save(self, trial: Trial, values: Sequence[float], folds: Sequence[Tensors]) -> None:
        """Keeps the state of a trial's lanes, one for each fold, in place of an earlier one.

        Args:
            values: its `val_map` after every epoch so far.
        """

    def load(self, trial: Trial) -> tuple[Sequence[float], Sequence[Tensors]] | None:
        """What was kept last for this very trial, (values, folds); None for nothing usable."""


_LONGEST_WAIT = 0.25
_Key = tuple[Any, ...]
"""What a group's trials agree on: method, precision and static hyper-parameters; before them the number of a trial that
is to be alone."""


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
        values: the `val_map` of every epoch that each trial has done; 0 without validation rows.
        best: the highest `val_map` so far and the weights it came with, of trials that keep those.
    """

    folds: list[Lanes]
    trials: dict[int, tuple[Trial, list[Trial]]] = field(default_factory=dict)
    values: dict[int, list[float]] = field(default_factory=dict)
    best: dict[int, tuple[float, Tensors, Tensors]] = field(default_factory=dict)


class Worker:
    """An engine over one device.

    Args:
        data: the folds that every trial trains on.
        capacity: trials at a time, or fewer where the device has no memory for so many.
        device: where.
        save: called with the trained weights of a trial that wants them kept.
        lane_files: where trials that name a lane file save their state, and go on from it.
        name: of this engine; what a user's own method prints is kept in a file of that name, see `Trial.output`.
    """

    def __init__(
        self,
        data: Sequence[Prepared],
        *,
        capacity: int,
        device: str,
        save: Save,
        lane_files: LaneFiles | None = None,
        name: str = "engine",
    ) -> None:
        self._data = list(data)
        self._capacity = capacity
        self._device = device
        self._save = save
        self._lane_files = lane_files
        self._name = name
        self._outputs: dict[Path, Output] = {}
        self._alone: set[int] = set()  # trials of a group that raised: one of them may be the cause
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
                for output in self._outputs.values():
                    output.close()
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
        for output in self._outputs.values():
            output.check()
        message.want = max(0, self._capacity - self.num_trials)
        return message

    def _captured(self, trials: Sequence[Trial]) -> AbstractContextManager[None]:
        """Keeps what a user's own method prints in the block, where it trains these."""
        named = [Path(trial.output) for trial in trials if trial.output is not None]
        if not named:
            return contextlib.nullcontext()
        path = named[0].with_stem(self._name.replace(" ", "_"))
        output = self._outputs.setdefault(path, Output(path))
        return output.titled(", ".join(one.stem for one in named)).captured()

    def _admit(self, trial: Trial, message: Message) -> None:
        with self._captured([trial]):
            self._place(trial, message)

    def _place(self, trial: Trial, message: Message) -> None:
        try:
            kind = get(trial.method)
            config = check_config(kind, trial.config)
            static = static_values(kind, config)
            key: _Key = (trial.method, trial.precision, *sorted(static.items()))
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
            if trial.number in self._alone:
                key = (trial.number, *key)
            if key not in self._groups:
                self._groups[key] = self._new_group(key, static, lane_trials, trial.precision, message)
            group = self._groups[key]
            if self.num_trials >= self._capacity or len(group.trials) >= group.folds[0].capacity:
                message.returned.append(trial.number)
                return
            found = self._lane_files.load(trial) if self._lane_files and trial.lane_file else None
            fresh: Sequence[None] = [None] * len(self._data)
            values, states = found if found is not None and len(found[0]) <= trial.known else ([], fresh)
            try:
                _enter(group, lane_trials, states, len(values))
            except ValueError:  # a damaged file: the trial starts again, with the same result
                if not values:
                    raise
                values = []
                _enter(group, lane_trials, fresh, 0)
            group.trials[trial.number] = (trial, lane_trials)
            group.values[trial.number] = list(values)
        except BaseException as error:
            if is_interrupt(error):
                raise
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

        capacity = 1 if trials[0].number in self._alone else self._capacity
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
                values = group.values[number]
                if trial.lane_file is not None and len(values) in trial.save_at:
                    states = [lanes.state(one) for lanes, one in zip(group.folds, lane_trials, strict=True)]
                    self._lane_files.save(trial, values, states)

    def _train(self, group: _Group, message: Message) -> None:
        """One epoch of a group's trials."""
        try:
            with self._captured([trial for trial, _ in group.trials.values()]):
                by_fold = [{r.trial.number: r for r in lanes.train_epoch()} for lanes in group.folds]
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._give_up(group, error, message)
            return
        for number, (trial, lane_trials) in list(group.trials.items()):
            results = [fold[number] for fold in by_fold]
            failed = next((result.failed for result in results if result.failed), None)
            if failed is not None:
                message.ends.append((number, failed, ""))
                self._leave(number)
                continue
            metrics = mean_metrics(results)
            values = group.values[number]
            values.append(metrics.get("val_map", 0.0))
            assert len(values) == results[0].epoch
            if trial.keep_best and metrics["val_map"] > group.best.get(number, (-math.inf,))[0]:
                group.best[number] = (metrics["val_map"], *group.folds[0].weights(lane_trials[0]))
            message.reports.append((number, len(values), metrics))
            if trial.ends(values):
                self._finish(number, message)

    def _give_up(self, group: _Group, error: BaseException, message: Message) -> None:
        """The group's stacks are in the middle of an epoch and lost. Out of memory with several trials: they start
        again, half as many at a time. Anything else is an error in the method, and fails its trial; of several, each
        starts again by itself, so that only those fail which cause it."""
        details = traceback.format_exc()
        trials = [replace(trial, known=len(group.values[number])) for number, (trial, _) in group.trials.items()]
        self._groups = {key: one for key, one in self._groups.items() if one is not group}
        if len(trials) == 1:
            message.ends.append((trials[0].number, one_line(error), details))
            self._alone.discard(trials[0].number)
        elif is_out_of_memory(error) and self._capacity > 1:
            message.returned += [trial.number for trial in trials]
            self._narrow(len(trials) // 2, "out of memory", message)
        else:
            numbers = [trial.number for trial in trials]
            message.notes.append(f"trials {', '.join(map(str, numbers))} start again one by one: {one_line(error)}")
            self._alone.update(numbers)
            for trial in trials:
                self._admit(trial, message)

    def _finish(self, number: int, message: Message) -> None:
        group, trial, lane_trials = self._find(number)
        if trial.save_to is not None:
            _, params, buffers = group.best.get(number) or (0.0, *group.folds[0].weights(lane_trials[0]))
            values = group.values[number]
            epochs = 1 + values.index(max(values)) if number in group.best else len(values)
            self._save(trial, params, buffers, epochs)
        message.ends.append((number, None, ""))
        self._leave(number)

    def _leave(self, number: int) -> None:
        """Frees the trial's lanes; a trial that has left already is no news."""
        for group in self._groups.values():
            if number in group.trials:
                _, lane_trials = group.trials.pop(number)
                del group.values[number]
                group.best.pop(number, None)
                for lanes, one in zip(group.folds, lane_trials, strict=True):
                    lanes.release(one)
        if number in self._alone:
            self._alone.remove(number)
            self._groups = {key: group for key, group in self._groups.items() if key[0] != number}

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


def is_interrupt(error: BaseException) -> bool:
    """Whether it may be Ctrl-C, which reaches the main thread only; engines train in another one."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its text."""
    text = str(error).strip()
    line = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    return f"out of memory ({line}); lower batch_size or the widths" if is_out_of_memory(error) else line
