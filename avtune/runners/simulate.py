"""Trials on a virtual clock: the same source, dispatcher and order of events as with real engines, and no training.

Time passes in jumps from event to event: an event is the end of an epoch of one engine. What an epoch gives comes from
a `Workload` (recorded curves, curves of a surrogate, or real training), what it costs from `costs.Costs`. Nothing
sleeps and nothing runs at the same time as anything else, so a simulation of a given source, workload and placement
always gives the same. One engine for each process of the placement, with its lanes; an engine trains all its trials for
an epoch, then reports them to the dispatcher and takes its orders, as `engine.engine` does. The driver makes one
suggestion at a time, ahead of need where it may (`dispatcher.spare_trials`); engines that need one wait for it.

Not simulated: engines that die, lack of memory, the network, and the polling of engines without work.
"""

from __future__ import annotations

import heapq
import logging
import traceback
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from avtune.core.errors import StorageError
from avtune.core.trial import Trial, TrialFailed
from avtune.data.prepare import Prepared
from avtune.engine.failures import one_line
from avtune.engine.messages import Message, Orders
from avtune.runners._base import Placement, Run, Source
from avtune.runners.costs import Costs
from avtune.runners.dispatcher import Dispatcher, spare_trials

_LOG = logging.getLogger(__name__)


Epoch = tuple[dict[str, float], bool]
"""The metrics of an epoch, and whether the trial's training is over by itself."""


class Workload(Protocol):
    """What trials give."""

    def begin(self, trial: Trial, data: Sequence[Prepared]) -> Iterator[Epoch]:
        """The epochs of a trial from the first, as far as they are asked for; what is raised fails the trial."""


class Curves(Protocol):
    """Validation curves, e.g. recorded ones."""

    def values(self, trial: Trial) -> Iterator[float]:
        """Validation MAP of a trial by epoch, from the first, without end."""


@dataclass(frozen=True)
class FromCurves:
    """A workload of trials whose curves are known; each ends as training would end it."""

    curves: Curves

    def begin(self, trial: Trial, data: Sequence[Prepared]) -> Iterator[Epoch]:
        values: list[float] = []
        for value in self.curves.values(trial):
            values.append(value)
            over = trial.ends(values)
            yield {"val_map": value}, over
            if over:
                return


@dataclass
class Clock:
    """The virtual time, and what it was spent on.

    Attributes:
        now: seconds since the run began, the start-up included.
        busy: device seconds in which engines trained.
        epochs: lane-epochs trained, those that no longer counted included.
        suggestions: trials that the source gave out.
    """

    now: float = 0.0
    busy: float = 0.0
    epochs: int = 0
    suggestions: int = 0


@dataclass(frozen=True)
class Simulation:
    """Opens the runner; its calls share a clock, and the first one waits for the start-up.

    Attributes:
        workload: what trials give.
        costs: what they take.
        clock: moved on by every call.
    """

    workload: Workload
    costs: Costs
    clock: Clock = field(default_factory=Clock)

    @contextmanager
    def opened(self, placement: Placement, data_bytes: int) -> Iterator[Run]:
        """See `_base.Runner`."""
        self.clock.now += self.costs.start

        def run(source: Source, data: Sequence[Prepared]) -> None:
            _Simulated(self, placement, source, data).run()

        yield run


@dataclass
class _Lane:
    """A trial that an engine trains."""

    trial: Trial
    epochs: Iterator[Epoch]
    group: Hashable
    done: int = 0
    seconds: float = 0.0  # its share of the epoch that it trains


class _Simulated:
    """One call of a run."""

    def __init__(self, given: Simulation, placement: Placement, source: Source, data: Sequence[Prepared]) -> None:
        self._workload, self._costs, self._clock = given.workload, given.costs, given.clock
        self._source = _Asked(source, self._clock, self._costs.suggestion)
        self._data = data
        self._capacity = placement.lanes_for(source.independent)
        self._dispatcher = Dispatcher(
            self._source,
            spare=spare_trials(placement),
            max_failures=placement.max_failures,
            engines=placement.count,
        )
        self._lanes: list[dict[int, _Lane]] = [{} for _ in range(placement.count)]
        self._events: list[tuple[float, int]] = []  # when an engine's epoch ends; equal times in the engines' order
        self._idle: deque[int] = deque(range(placement.count))

    def run(self) -> None:
        """Until the source is exhausted."""
        self._wake()
        while self._events:
            self._clock.now, engine = heapq.heappop(self._events)
            self._exchange(engine, self._trained(engine))
            self._wake()
        assert self._source.exhausted, "every engine waits, and the source is not exhausted"

    def _wake(self) -> None:
        """Engines without work ask for it, until one gets none. Then the driver asks ahead of need."""
        while self._idle and not self._exchange(self._idle.popleft(), Message(self._capacity)):
            pass
        while self._dispatcher.prepare():
            pass

    def _exchange(self, engine: int, message: Message) -> bool:
        """An engine says what happened, takes its orders and begins an epoch. Returns whether it has no work now."""
        orders = self._dispatcher.exchange(str(engine), message)
        self._follow(engine, orders)
        if not self._lanes[engine]:
            self._idle.append(engine)
            return True
        seconds = self._seconds(engine)
        self._clock.busy += seconds
        begins = max((self._source.suggested(trial) for trial in orders.trials), default=0.0)
        heapq.heappush(self._events, (max(begins, self._clock.now) + seconds, engine))
        return False

    def _follow(self, engine: int, orders: Orders) -> None:
        lanes = self._lanes[engine]
        for number in orders.stop:
            lanes.pop(number, None)
        for trial in orders.trials:
            _LOG.debug("trial %d: %s, simulated, at most %d epochs", trial.number, trial.method, trial.epochs)
            lanes[trial.number] = _Lane(trial, self._workload.begin(trial, self._data), self._costs.group_of(trial))

    def _seconds(self, engine: int) -> float:
        """Of an epoch of an engine's trials, one group after the other."""
        groups: dict[Hashable, list[_Lane]] = {}
        for lane in self._lanes[engine].values():
            groups.setdefault(lane.group, []).append(lane)
        total = 0.0
        for lanes in groups.values():
            seconds = self._costs.epoch_of(lanes[0].trial).seconds(len(lanes))
            total += seconds
            for lane in lanes:
                lane.seconds = seconds / len(lanes)
        return total

    def _trained(self, engine: int) -> Message:
        """What an engine says after an epoch of its trials. Those that are over leave their lanes."""
        lanes, message = self._lanes[engine], Message(0)
        self._clock.epochs += len(lanes)
        for number, lane in list(lanes.items()):
            failure, details = None, ""
            try:
                metrics, over = next(lane.epochs)
                lane.done += 1
                message.reports.append((number, lane.done, metrics | {"seconds": lane.seconds}))
            except StorageError:
                raise
            except TrialFailed as error:
                over, failure = True, str(error)
            except Exception as error:
                over, failure, details = True, one_line(error), traceback.format_exc()
            if over:
                message.ends.append((number, failure, details))
                del lanes[number]
        message.want = self._capacity - len(lanes)
        return message


class _Asked:
    """A source that takes the driver's time for each suggestion, one after the other.

    Args:
        source: which is asked.
        clock: counts the suggestions.
        seconds: of one.
    """

    def __init__(self, source: Source, clock: Clock, seconds: float) -> None:
        self._source, self._clock, self._seconds = source, clock, seconds
        self._driver = 0.0  # until then it is busy
        self._times: dict[int, float] = {}
        self.independent = source.independent
        self.report, self.should_stop = source.report, source.should_stop
        self.tell, self.note, self.trained_on = source.tell, source.note, source.trained_on

    def ask(self) -> Trial | None:
        trial = self._source.ask()
        if trial is not None:
            self._clock.suggestions += 1
            self._driver = max(self._driver, self._clock.now) + self._seconds
            self._times[trial.number] = self._driver
        return trial

    def suggested(self, trial: Trial) -> float:
        """When a trial that was just given to an engine had been suggested."""
        return self._times.pop(trial.number, 0.0)

    @property
    def exhausted(self) -> bool:
        return self._source.exhausted
