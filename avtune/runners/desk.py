"""Where engines are served: gives out a source's trials, takes their reports, passes on its decisions. No Ray here.

A trial given to an engine is leased to it. When an engine dies, its trials go back to the head of the queue and go on
from their last lane file, or start again; a trial that has been on two engines when they died is held to be the cause
and fails.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

from avtune.lanes.worker import Message, Orders
from avtune.runners._base import Source
from avtune.trial import Trial

_MOST_DEATHS = 2


class Desk:
    """Serves engines from one thread.

    Args:
        source: a study, or a list of runs.
        spare: trials asked for before an engine wants them, so that suggestions are made while engines train.
    """

    def __init__(self, source: Source, *, spare: int) -> None:
        self._source = source
        self._spare = spare
        self._ready: deque[Trial] = deque()
        self._leases: dict[str, dict[int, Trial]] = {}
        self._deaths: Counter[int] = Counter()
        self._known: dict[int, int] = {}

    def exchange(self, engine: str, message: Message) -> Orders:
        """Takes what an engine says and returns its orders."""
        mine = self._leases.setdefault(engine, {})
        for number, epoch, metrics in message.reports:
            if number in mine:
                self._source.report(number, epoch, metrics)
                self._known[number] = max(epoch, self._known.get(number, 0))
        for number, failure, details in message.ends:
            if mine.pop(number, None) is not None:
                self._source.tell(number, failure, details)
        for number in message.returned:
            if number in mine:
                self._return(mine.pop(number))
        stop = [number for number in mine if self._source.should_stop(number)]
        for number in stop:
            del mine[number]
            self._source.tell(number)
        trials = self._take(message.want + len(stop))
        mine.update((trial.number, trial) for trial in trials)
        return Orders(stop, trials, over=not mine and self._source.exhausted)

    def prepare(self) -> bool:
        """Asks for one trial ahead of need; returns whether there was anything to do."""
        if len(self._ready) >= self._spare:
            return False
        trial = self._source.ask()
        if trial is not None:
            self._ready.append(trial)
        return trial is not None

    def died(self, engine: str) -> None:
        """An engine is gone without a word: its trials return to the queue."""
        returned = self._leases.pop(engine, {})
        for number in sorted(returned, reverse=True):
            self._deaths[number] += 1
            if self._deaths[number] >= _MOST_DEATHS:
                self._source.tell(number, f"its engine died {_MOST_DEATHS} times")
            else:
                self._return(returned[number])

    def _return(self, trial: Trial) -> None:
        """Puts a trial back at the head of the queue."""
        known = max(trial.known, self._known.get(trial.number, 0))
        self._ready.appendleft(replace(trial, known=known))

    def _take(self, count: int) -> Sequence[Trial]:
        taken: list[Trial] = []
        while len(taken) < count:
            trial = self._ready.popleft() if self._ready else self._source.ask()
            if trial is None:
                break
            taken.append(trial)
        return taken
