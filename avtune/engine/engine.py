"""An engine is the process that owns one device and trains lanes: it takes trials, trains each for an epoch after the
other, reports every epoch, and frees the lanes of trials that are stopped.

It does not know where its orders come from: `exchange` takes a message and returns the orders. No Ray here.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from avtune.core.errors import is_out_of_memory
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine.failures import is_interrupt, one_line
from avtune.engine.group import Group, Outcome, lane_trials_of
from avtune.engine.groups import Groups, NoRoom
from avtune.engine.lane_states import LaneFiles, found_state, save_states
from avtune.engine.messages import Message, Orders
from avtune.engine.output import EngineOutput
from avtune.engine.warning_notes import WarningNotes
from avtune.lanes.modules import Tensors

Save = Callable[[Trial, Tensors, Tensors, int], None]
"""Takes a trial, the weights and buffers that it leaves, and the epoch they are of."""

_SHORTEST_WAIT, _LONGEST_WAIT = 0.001, 0.25  # seconds between messages of an engine without work
_GroupFor = Callable[[Sequence[Trial], str], Group]
"""Gives the group for a trial, from its lane's trial in each fold and its precision."""


@dataclass(frozen=True)
class _Restart:
    """Trials of a lost group that start again in a group of their own, from their lane files where they have them.

    Attributes:
        out_of_memory: the lost group ran out of memory.
    """

    trials: Sequence[Trial]
    out_of_memory: bool


class Engine:
    """Trains trials on one device.

    Args:
        data: the folds that every trial trains on.
        capacity: trials at a time, or fewer where the device has no memory for so many.
        device: where, e.g. `cpu` or `cuda:0`.
        save: called with the trained weights of a trial that wants them kept.
        lane_files: where trials that name a lane file save their state, and go on from it.
        name: of this engine; what a user's own method prints is kept in a file of that name, see `Trial.output`.
        exact: see `LaneTrainer`.
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
        self._num_folds = len(data)
        self._capacity = capacity
        self._noted_capacity = capacity
        self._save = save
        self._lane_files = lane_files
        self._output = EngineOutput(name)
        self._groups = Groups(data, lanes=capacity, device=device, exact=exact)
        self._warnings = WarningNotes()
        self._lacked: Counter[int] = Counter()  # how often a trial alone in its group ran out of memory beside others

    @property
    def num_trials(self) -> int:
        """Trials that hold lanes."""
        return self._groups.num_trials

    def run(self, exchange: Callable[[Message], Orders]) -> None:
        """Works until the orders say that it is over."""
        wait = _SHORTEST_WAIT
        message = self.start()
        while True:
            orders = exchange(message)
            if orders.over:
                self._output.close()
                return
            message = self.step(orders)
            if message.reports or message.ends or message.returned:
                wait = _SHORTEST_WAIT
            else:  # the trials left are other engines', or the next suggestion waits for their results
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    def start(self) -> Message:
        """The first message."""
        return Message(self._capacity)

    def step(self, orders: Orders) -> Message:
        """Follows the orders and trains every trial for an epoch."""
        for number in orders.stop:
            self._leave(number)
        if self._lane_files is not None:  # after the orders: trials that are stopped at this epoch are gone
            for group in self._groups:
                save_states(self._lane_files, group, every=orders.leave)
        message = Message(0)
        if orders.leave:
            message.returned = [trial.number for group in self._groups for trial in group.trials]
            for number in message.returned:
                self._leave(number)
            return message
        with self._warnings.kept():
            for trial in orders.trials:
                self._admit(trial, message)
            for restart in self._train_all(message):
                self._start_again(restart, message)
        message.notes += self._warnings.taken()
        self._output.check()
        self._note_capacity(message)
        message.want = max(0, self._groups.capacity - self.num_trials)
        return message

    def _note_capacity(self, message: Message) -> None:
        now = self._groups.capacity
        if now < self._noted_capacity:
            message.notes.append(f"{now} trials at a time, not {self._capacity}: {self._groups.why}")
        elif now > self._noted_capacity:
            message.notes.append(f"{now} trials at a time again")
        self._noted_capacity = now

    # --- giving lanes to trials and taking them back

    def _admit(self, trial: Trial, message: Message, group_for: _GroupFor | None = None) -> bool:
        """Puts a trial into a lane. Returns whether that is settled (also where the trial has failed): False where it
        was returned for lack of memory.

        Args:
            group_for: gives the group; None for any that fits.
        """
        with self._output.captured([trial]):
            try:
                if group_for is None and self.num_trials >= self._groups.capacity:
                    message.returned.append(trial.number)
                    return False
                lane_trials = lane_trials_of(trial, self._num_folds)
                group = group_for(lane_trials, trial.precision) if group_for else self._group_for(trial, lane_trials)
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
        is then alone on it.

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
        """There was no memory for a trial beside those that the engine holds, in a group of so many lanes: the engine
        holds fewer. Returns whether it can."""
        fewer = self.num_trials or lanes // 2
        self._groups.drop_empty()
        if fewer:
            self._lacked[trial.number] += not isinstance(error, NoRoom)
            self._groups.narrow(fewer, str(error) if isinstance(error, NoRoom) else "no memory for another")
        return fewer > 0

    def _enter(self, group: Group, trial: Trial, lane_trials: list[Trial]) -> None:
        found = found_state(self._lane_files, trial)
        if found is not None:
            values, states = found
            try:
                group.enter(trial, lane_trials, states, values)
                return
            except Exception as error:  # the states are of other lanes: the trial starts again, with the same result
                if is_out_of_memory(error):
                    raise
        group.enter(trial, lane_trials, [None] * self._num_folds, [])

    def _leave(self, number: int) -> None:
        """Frees the trial's lanes, unless it has left already. A group without trials goes."""
        group = self._groups.find(number)
        if group is not None:
            group.leave(number)
            if not len(group):
                self._groups.drop(group)

    # --- an epoch

    def _train_all(self, message: Message) -> list[_Restart]:
        """One epoch of every trial. Returns the trials that start again; the groups that they were in are dropped, with
        their memory."""
        return [restart for group in self._groups for restart in self._train(group, message)]

    def _train(self, group: Group, message: Message) -> list[_Restart]:
        """One epoch of a group's trials."""
        try:
            with self._output.captured(group.trials):
                outcomes = group.train_epoch()
        except BaseException as error:
            if is_interrupt(error):
                raise
            return self._give_up(group, error, message)
        trials = {trial.number: trial for trial in group.trials}
        for outcome in outcomes:
            self._take(group, trials[outcome.number], outcome, message)
        return []

    def _take(self, group: Group, trial: Trial, outcome: Outcome, message: Message) -> None:
        """Reports a trial's epoch; ends the trial where it is over."""
        if outcome.failed is None:
            message.reports.append((trial.number, outcome.epoch, outcome.metrics))
        if outcome.ended:
            if outcome.failed is None and trial.save_to is not None:
                self._save(trial, *group.trained(trial.number))
            message.ends.append((trial.number, outcome.failed, ""))
            self._leave(trial.number)

    # --- a group whose epoch raised

    def _give_up(self, group: Group, error: BaseException, message: Message) -> list[_Restart]:
        """The group's lanes are in the middle of an epoch and lost. A trial that was alone in it fails, unless other
        groups took the memory that it lacked. Of several, any may be the cause: they start again half by half, until
        the one that causes it is alone. Out of memory, the second half waits for the first to end."""
        line, details, short = one_line(error), traceback.format_exc(), is_out_of_memory(error)
        trials = [replace(trial, known=len(group.values(trial.number))) for trial in group.trials]
        self._groups.drop(group)
        if len(trials) == 1:
            if short and self._make_room(trials[0], error, group.capacity):
                message.returned.append(trials[0].number)
            else:
                message.ends.append((trials[0].number, line, details))
            return []
        numbers = ", ".join(str(trial.number) for trial in trials)
        message.notes.append(f"trials {numbers} start again in two halves: {line}")
        half = -(-len(trials) // 2)
        if short:
            message.returned += [trial.number for trial in trials[half:]]
            return [_Restart(trials[:half], short)]
        return [_Restart(trials[:half], short), _Restart(trials[half:], short)]

    def _start_again(self, restart: _Restart, message: Message) -> None:
        made: list[Group] = []

        def group_for(lane_trials: Sequence[Trial], precision: str) -> Group:
            if not made or made[-1] not in self._groups:
                made.append(self._groups.add(lane_trials, precision, len(restart.trials)))
            return made[-1]

        for done, trial in enumerate(restart.trials, start=1):
            if not self._admit(trial, message, group_for):
                message.returned += [other.number for other in restart.trials[done:]]
                break
        if restart.out_of_memory and made and len(made[-1]):
            self._groups.narrow(self.num_trials, "out of memory", made[-1])
