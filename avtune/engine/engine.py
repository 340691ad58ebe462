"""What an engine does: takes trials, trains them in lanes, reports every epoch, frees the lanes that are stopped.

Knows nothing of where its orders come from: `exchange` takes a message and returns the orders. No Ray here.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from avtune.core.errors import is_out_of_memory
from avtune.core.output import Output
from avtune.core.seeds import mix
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine.checksum import verified, with_checksum
from avtune.engine.groups import Group, Groups, NoRoom
from avtune.engine.lane_trainer import mean_metrics
from avtune.lanes.modules import Tensors
from avtune.methods import check_config, get

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
_Into = Callable[[Sequence[Trial], str], Group]
"""Gives the group for a trial, from its lane's trial in each fold and its precision."""


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


@dataclass(frozen=True)
class _Again:
    """Trials that start again in a group of their own, from their lane files where they have them.

    Attributes:
        short: they ran out of memory when there were more of them.
    """

    trials: Sequence[Trial]
    short: bool


class Engine:
    """An engine over one device.

    Args:
        data: the folds that every trial trains on.
        capacity: trials at a time, or fewer where the device has no memory for so many.
        device: where.
        save: called with the trained weights of a trial that wants them kept.
        lane_files: where trials that name a lane file save their state, and go on from it.
        name: of this engine; what a user's own method prints is kept in a file of that name, see `Trial.output`.
        exact: see `Lanes`.
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
        exact: bool = False,
    ) -> None:
        self._folds = len(data)
        self._capacity = capacity
        self._told = capacity  # what the notes have said
        self._save = save
        self._lane_files = lane_files
        self._name = name
        self._outputs: dict[Path, Output] = {}
        self._groups = Groups(data, lanes=capacity, device=device, exact=exact)
        self._lacked: Counter[int] = Counter()  # how often a trial ran out of memory by itself, beside others

    @property
    def num_trials(self) -> int:
        return self._groups.num_trials

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
        for again in self._train_all(message):
            self._start_again(again, message)
        for output in self._outputs.values():
            output.check()
        self._tell_capacity(message)
        message.want = max(0, self._groups.capacity - self.num_trials)
        return message

    def _tell_capacity(self, message: Message) -> None:
        now = self._groups.capacity
        if now < self._told:
            message.notes.append(f"{now} trials at a time, not {self._capacity}: {self._groups.why}")
        elif now > self._told:
            message.notes.append(f"{now} trials at a time again")
        self._told = now

    def _captured(self, trials: Sequence[Trial]) -> AbstractContextManager[None]:
        """Keeps what a user's own method prints in the block, where it trains these."""
        named = [Path(trial.output) for trial in trials if trial.output is not None]
        if not named:
            return contextlib.nullcontext()
        path = named[0].with_stem(self._name.replace(" ", "_"))
        output = self._outputs.setdefault(path, Output(path))
        return output.titled(", ".join(one.stem for one in named)).captured()

    def _admit(self, trial: Trial, message: Message, into: _Into | None = None) -> bool:
        """Puts a trial into a lane; returns whether it is not to be tried again elsewhere.

        Args:
            into: gives the group; None for any that fits.
        """
        with self._captured([trial]):
            try:
                if into is None and self.num_trials >= self._groups.capacity:
                    message.returned.append(trial.number)
                    return False
                lane_trials = self._lane_trials(trial)
                group = into(lane_trials, trial.precision) if into else self._group_for(trial, lane_trials)
                self._enter(group, trial, lane_trials)
                return True
            except BaseException as error:
                if is_interrupt(error):
                    raise
                if is_out_of_memory(error) and self._make_room(trial, error, self._groups.capacity):
                    message.returned.append(trial.number)
                    return False
                self._groups.drop_empty()
                message.ends.append((trial.number, one_line(error), traceback.format_exc()))
                return True

    def _group_for(self, trial: Trial, lane_trials: list[Trial]) -> Group:
        """A group with a free lane. A trial that ran out of memory beside others twice waits for an empty engine, and
        has it for itself.

        Raises:
            NoRoom: there is none now.
        """
        if self._lacked[trial.number] < 2:
            return self._groups.for_trial(lane_trials, trial.precision)
        why = f"trial {trial.number} ran out of memory beside others"
        if self.num_trials:
            raise NoRoom(f"{why}, and waits for them")
        group = self._groups.add(lane_trials, trial.precision, 1)
        self._groups.narrow(1, why, group)
        return group

    def _make_room(self, trial: Trial, error: BaseException, lanes: int) -> bool:
        """There was no memory for a trial beside those that the engine holds, in a group of so many lanes. Returns
        whether there is hope with fewer."""
        fewer = self.num_trials or lanes // 2
        self._groups.drop_empty()
        if fewer:
            self._lacked[trial.number] += not isinstance(error, NoRoom)
            self._groups.narrow(fewer, str(error) if isinstance(error, NoRoom) else "no memory for another")
        return fewer > 0

    def _lane_trials(self, trial: Trial) -> list[Trial]:
        """The trial of its lane in each fold."""
        config = check_config(get(trial.method), trial.config)
        seeds = [trial.seed, *(mix(trial.seed, "fold", index) for index in range(1, self._folds))]
        return [Trial(trial.number, trial.method, config, seed, trial.epochs, horizon=trial.horizon) for seed in seeds]

    def _enter(self, group: Group, trial: Trial, lane_trials: list[Trial]) -> None:
        values, states = self._kept(trial)
        try:
            group.enter(trial, lane_trials, states, values)
        except Exception as error:  # the states are of other lanes: the trial starts again, with the same result
            if not values or is_out_of_memory(error):
                raise
            group.enter(trial, lane_trials, [None] * self._folds, [])

    def _kept(self, trial: Trial) -> tuple[Sequence[float], Sequence[Tensors | None]]:
        """What a trial goes on from: its values and its lanes' states; none where its file is missing or damaged."""
        if self._lane_files is not None and trial.lane_file is not None:
            with contextlib.suppress(Exception):
                found = self._lane_files.load(trial)
                if found is not None and len(found[0]) <= trial.known:
                    return found[0], verified(*found)
        return [], [None] * self._folds

    def _save_lanes(self) -> None:
        """Saves the trials that have just passed an epoch at which they are saved. The orders that came in between have
        taken away those that were stopped there."""
        if self._lane_files is None:
            return
        for group in self._groups:
            for number, (trial, lane_trials) in group.trials.items():
                values = group.values[number]
                if trial.lane_file is not None and len(values) in trial.save_at:
                    states = [lanes.state(one) for lanes, one in zip(group.folds, lane_trials, strict=True)]
                    self._lane_files.save(trial, values, with_checksum(values, states))

    def _train_all(self, message: Message) -> list[_Again]:
        """One epoch of every trial. Returns those that start again. The groups that they were in are gone by then, with
        their memory."""
        return [again for group in self._groups for again in self._train(group, message)]

    def _train(self, group: Group, message: Message) -> list[_Again]:
        """One epoch of a group's trials."""
        try:
            with self._captured([trial for trial, _ in group.trials.values()]):
                by_fold = [{r.trial.number: r for r in lanes.train_epoch()} for lanes in group.folds]
        except BaseException as error:
            if is_interrupt(error):
                raise
            return self._give_up(group, error, message)
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
                self._finish(group, number, message)
        return []

    def _give_up(self, group: Group, error: BaseException, message: Message) -> list[_Again]:
        """The group's stacks are in the middle of an epoch and lost. A trial that was alone in it fails, unless other
        groups took the memory that it lacked. Of several, any may be the cause: they start again half by half, until
        the one that causes it is alone. Out of memory, the second half waits for the first to end."""
        line, details, short = one_line(error), traceback.format_exc(), is_out_of_memory(error)
        trials = [replace(trial, known=len(group.values[number])) for number, (trial, _) in group.trials.items()]
        self._groups.drop(group)
        if len(trials) == 1:
            if short and self._make_room(trials[0], error, group.lanes):
                message.returned.append(trials[0].number)
            else:
                message.ends.append((trials[0].number, line, details))
            return []
        numbers = ", ".join(str(trial.number) for trial in trials)
        message.notes.append(f"trials {numbers} start again in two halves: {line}")
        half = -(-len(trials) // 2)
        if short:
            message.returned += [trial.number for trial in trials[half:]]
            return [_Again(trials[:half], short)]
        return [_Again(trials[:half], short), _Again(trials[half:], short)]

    def _start_again(self, again: _Again, message: Message) -> None:
        made: list[Group] = []

        def into(lane_trials: Sequence[Trial], precision: str) -> Group:
            if not made or made[-1] not in self._groups:
                made.append(self._groups.add(lane_trials, precision, len(again.trials)))
            return made[-1]

        for done, trial in enumerate(again.trials, start=1):
            if not self._admit(trial, message, into):
                message.returned += [other.number for other in again.trials[done:]]
                break
        if again.short and made and made[-1].trials:
            self._groups.narrow(self.num_trials, "out of memory", made[-1])

    def _finish(self, group: Group, number: int, message: Message) -> None:
        trial, lane_trials = group.trials[number]
        if trial.save_to is not None:
            _, params, buffers = group.best.get(number) or (0.0, *group.folds[0].weights(lane_trials[0]))
            values = group.values[number]
            epochs = 1 + values.index(max(values)) if number in group.best else len(values)
            self._save(trial, params, buffers, epochs)
        message.ends.append((number, None, ""))
        self._leave(number)

    def _leave(self, number: int) -> None:
        """Frees the trial's lanes; a trial that has left already is no news. A group without trials goes."""
        group = self._groups.find(number)
        if group is not None:
            group.leave(number)
            if not group.trials:
                self._groups.drop(group)


def is_interrupt(error: BaseException) -> bool:
    """Whether it may be Ctrl-C, which reaches the main thread only; engines train in another one."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its text."""
    text = str(error).strip()
    line = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    return f"out of memory ({line}); lower batch_size or the widths" if is_out_of_memory(error) else line
