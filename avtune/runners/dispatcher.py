"""Gives a source's trials to engines, takes their reports, and passes the source's decisions on. No Ray here.

A trial given to an engine is leased to it. When an engine dies, its trials go back to the head of the queue and go on
from their last lane file, or start again. Any of them may have been the cause: the last of the attempts that a trial
has is made alone on an engine, so that a trial fails for the deaths that it causes and not for a neighbour's. The death
of an engine's whole machine (preempted, drained, unplugged) is no attempt, up to a limit that only a trial which takes
machines down reaches.
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.engine.messages import Message, Orders
from avtune.runners._base import Placement, Source

_LOG = logging.getLogger(__name__)
_LANES_PER_SPARE, _MOST_SPARE = 8, 2  # one spare trial for so many lanes; most spare trials for each engine


def spare_trials(placement: Placement) -> int:
    """How many trials are asked for ahead of need, so that engines do not wait for suggestions: few, because each is
    suggested without knowing what comes of the trials that end meanwhile."""
    return min(_MOST_SPARE * placement.count, max(1, placement.count * placement.lanes // _LANES_PER_SPARE))


MOST_MACHINES = 10
"""Machines that may die with a trial alone on an engine of theirs before it fails."""


class Dispatcher:
    """Serves any number of engines. One thread calls it.

    Args:
        source: a study, or a list of runs.
        spare: trials asked for before an engine wants them, so that suggestions are made while engines train.
        max_failures: how many engines may die with a trial before it fails.
        engines: how many there are, or will be.

    Attributes:
        spare, engines: as given; another number may be set.
    """

    def __init__(self, source: Source, *, spare: int, max_failures: int, engines: int = 1) -> None:
        self._source = source
        self.spare = spare
        self.engines = engines
        self._asked = 0
        self._max_failures = max_failures
        self._ready: deque[Trial] = deque()
        self._alone: deque[Trial] = deque()  # trials on their last attempt, for engines without other trials
        self._leases: dict[str, dict[int, Trial]] = {}
        self._deaths: Counter[int] = Counter()
        self._machines: Counter[int] = Counter()  # that have died with a trial which was alone on its engine
        self._known: dict[int, int] = {}
        self._where: dict[str, TrainedOn] = {}  # engines train

    def runs_on(self, engine: str, where: TrainedOn) -> None:
        """An engine has begun there."""
        self._where[engine] = where

    def exchange(self, engine: str, message: Message, *, leaves: bool = False) -> Orders:
        """Takes what an engine says and returns its orders.

        Args:
            leaves: its machine is about to go: it is to return its trials, and gets none.
        """
        mine = self._leases.setdefault(engine, {})
        for number, epoch, metrics in message.reports:
            if number in mine:
                if engine in self._where:
                    self._source.trained_on(number, self._where[engine])
                self._source.report(number, epoch, metrics)
                self._known[number] = max(epoch, self._known.get(number, 0))
        for number, failure, details in message.ends:
            if mine.pop(number, None) is not None:
                self._source.tell(number, failure, details)
        for note in message.notes:
            self._source.note(f"{engine}: {note}")
        for number in message.returned:
            if number in mine:
                self._return(mine.pop(number))
        stop = [number for number in mine if self._source.should_stop(number)]
        for number in stop:
            del mine[number]
            self._source.tell(number)
        trials = [] if leaves else self._take(message.want + len(stop), mine)
        mine.update((trial.number, trial) for trial in trials)
        if stop or trials:
            _LOG.debug(
                "%s, with room for %d: stops trials %s, takes %s, has %d",
                engine, message.want, stop, [trial.number for trial in trials], len(mine),
            )  # fmt: skip
        if leaves and mine:
            _LOG.debug("%s leaves its trials %s: its machine is about to go", engine, sorted(mine))
        return Orders(stop, trials, over=not mine and self._source.exhausted, leave=leaves)

    def prepare(self) -> bool:
        """Asks for one trial ahead of need; returns whether there was anything to do."""
        if len(self._ready) >= self.spare:
            return False
        trial = self._ask()
        if trial is not None:
            self._ready.append(trial)
        return trial is not None

    def _ask(self) -> Trial | None:
        trial = self._source.ask()
        self._asked += trial is not None
        return trial

    def lost_machine(self, engine: str) -> int:
        """An engine has died with its machine: its trials return to the queue, which counts as no attempt.

        Returns:
            How many trials failed of it: one at most, whose machines die again and again while it is trained alone.
        """
        returned = self._leases.pop(engine, {})
        if len(returned) == 1:
            (number,) = returned
            self._machines[number] += 1
            if self._machines[number] >= MOST_MACHINES:
                self._source.tell(number, f"{MOST_MACHINES} machines died while it was trained alone on them")
                return 1
        for number in sorted(returned, reverse=True):
            self._return(returned[number])
        _LOG.debug("%s has died with its machine; its trials %s return", engine, sorted(returned))
        return 0

    def died(self, engine: str, why: str = "died", details: str = "") -> int:
        """An engine has died: its trials return to the queue.

        Args:
            why: for the reason of a trial that has no attempt left: its engine `why`, and what to do after a semicolon.
            details: for the log.

        Returns:
            How many trials failed of it.
        """
        failed = 0
        returned = self._leases.pop(engine, {})
        for number in sorted(returned, reverse=True):
            self._deaths[number] += 1
            if self._deaths[number] >= self._max_failures:
                times = f" ({self._deaths[number]} times)" if self._deaths[number] > 1 else ""
                first, mark, rest = why.partition("; ")
                self._source.tell(number, f"its engine {first}{times}{mark}{rest}", details)
                failed += 1
            else:
                self._return(returned[number])
        _LOG.debug("%s %s; of its trials %s, %d failed and the others return", engine, why, sorted(returned), failed)
        return failed

    def give_back(self, engine: str) -> None:
        """An engine does not have the trials leased to it: they return to the queue, which counts as no attempt."""
        returned = self._leases.pop(engine, {})
        for number in sorted(returned, reverse=True):
            self._return(returned[number])

    def _return(self, trial: Trial) -> None:
        """Puts a trial back at the head of the queue."""
        known = max(trial.known, self._known.get(trial.number, 0))
        queue = self._alone if self._is_last_attempt(trial.number) else self._ready
        queue.appendleft(replace(trial, known=known))

    def _is_last_attempt(self, number: int) -> bool:
        return 0 < self._deaths[number] == self._max_failures - 1

    def _take(self, count: int, mine: Mapping[int, Trial]) -> Sequence[Trial]:
        """The next trials of an engine that has `mine` and room for `count` more."""
        if any(self._is_last_attempt(number) for number in mine):
            return []
        if self._alone and not mine:
            return [self._alone.popleft()] if count else []
        if self._source.independent:
            count = min(count, self._share(mine))
        taken: list[Trial] = []
        while len(taken) < count:
            trial = self._ready.popleft() if self._ready else self._ask()
            if trial is None:
                break
            taken.append(trial)
        return taken

    def _share(self, mine: Mapping[int, Trial]) -> int:
        """How many further runs an engine that has `mine` is given, so that it has about as much to train as the
        others; at least one where it has none. A run counts by the part of its epochs that is left."""
        waiting = self._source.independent - self._asked + len(self._ready)
        under_way = sum(self._left(trial) for trials in self._leases.values() for trial in trials.values())
        own = sum(map(self._left, mine.values()))
        return max(math.floor((waiting + under_way) / self.engines - own + 0.5), 0 if mine else 1)

    def _left(self, trial: Trial) -> float:
        return 1 - max(trial.known, self._known.get(trial.number, 0)) / trial.epochs
