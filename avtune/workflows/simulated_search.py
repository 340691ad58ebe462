"""A whole search on a virtual clock: the study, its rungs and its sampler as they are, then finals and retraining.

No torch and no Ray here. What trials come to is known from curves, what things take from costs, see
`runners.simulate`.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from avtune.core.hyper import Value
from avtune.core.run_key import run_key
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.finals.repeats import finalists
from avtune.finals.run_record import Result
from avtune.finals.select import Do, Repeated, default_among, retraining_seed, winner
from avtune.finals.turns import in_turns
from avtune.runners._base import Placement
from avtune.runners.costs import Costs
from avtune.runners.simulate import Clock, Curves, FromCurves, Simulation
from avtune.study.horizon import Horizon
from avtune.study.results_to_sampler import Suggestions
from avtune.study.rungs import RungPolicy
from avtune.study.simulated import SimulatedFolder
from avtune.study.study import Study

Choose = Callable[[Study, Do], tuple[Repeated | None, Sequence[Repeated]]]
"""Chooses the winner: from a study whose trials have ended, and what does further runs, the winner and all rows."""
_IN_MEMORY = Path("/dev/shm")


def usual_finals(study: Study, do: Do) -> tuple[Repeated | None, Sequence[Repeated]]:
    """Those of the space: every finalist over every seed, or a race."""
    rows = finalists(study, set(), do)
    return winner(rows), rows


@dataclass(frozen=True)
class Setting:
    """What is simulated.

    Attributes:
        horizon: of the trials, with the space that is searched.
        curves: what trials come to.
        costs: of the search and of the repeats.
        retraining: of the retraining.
        placement: of all of them.
        deterministic: of the study.
        like: configurations that are tried after the default one, see `Study`.
        suggestions: makes another source of configurations from the space; None for the study's own sampler.
        rungs: makes another policy of stopping; None for the study's own.
        choose: the finals; None for a search without.
    """

    horizon: Horizon
    curves: Curves
    costs: Costs
    retraining: Costs
    placement: Placement
    deterministic: bool = False
    like: Sequence[Mapping[str, Value]] = ()
    suggestions: Callable[[], Suggestions] | None = None
    rungs: Callable[[], RungPolicy] | None = None
    choose: Choose | None = usual_finals


@dataclass(frozen=True)
class Stage:
    """One part of a search.

    Attributes:
        seconds: of the virtual clock.
        epochs: lane-epochs that were trained.
        device_seconds: in which engines trained.
    """

    seconds: float
    epochs: int
    device_seconds: float


@dataclass(frozen=True)
class Simulated:
    """What a simulated search came to.

    Attributes:
        search, repeats, retraining: its stages; the search with the start-up.
        rest: seconds of scoring and of what is written at the end.
        trials, stopped, failed: how many trials there were, and how they ended.
        first: configuration of the trial with the highest validation MAP.
        winner: the configuration that the finals chose; `first` without finals.
        epochs: lane-epochs of the search that count: not those trained past a rung that stopped the trial.
    """

    search: Stage
    repeats: Stage
    retraining: Stage
    rest: float
    trials: int
    stopped: int
    failed: int
    first: Mapping[str, Value] | None
    winner: Mapping[str, Value] | None
    epochs: int

    @property
    def seconds(self) -> float:
        """Of the whole command."""
        return self.search.seconds + self.repeats.seconds + self.retraining.seconds + self.rest


def simulate(given: Setting) -> Simulated:
    """Simulates a search, from its start to the end of its finals. The same setting always gives the same."""
    clock = Clock()
    space = given.horizon.space
    memory = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="avtune-simulated-", dir=memory) as scratch:
        study = Study(
            SimulatedFolder(Path(scratch)),
            space,
            deterministic=given.deterministic,
            horizon=given.horizon,
            like=given.like,
            suggestions=None if given.suggestions is None else given.suggestions(),
            rungs=None if given.rungs is None else given.rungs(),
        )
        work = FromCurves(given.curves)
        with Simulation(work, given.costs, clock).opened(given.placement, 0) as run:
            run(study, ())
        search = _since(clock, Clock())
        best = study.best
        runs = _Runs(given, clock)
        row = None
        if given.choose is not None and best is not None:
            row, rows = given.choose(study, runs.do)
        repeats = _since(clock, Clock(search.seconds, search.device_seconds, search.epochs))
        before = replace(clock)
        scored = _retrain(given, clock, row, rows) if row is not None else 0
        return Simulated(
            search,
            repeats,
            _since(clock, before),
            scored * given.costs.scoring + given.costs.finish if row is not None else 0.0,
            len(study.records),
            study.count("PRUNED"),
            study.count("FAIL"),
            None if best is None else best.trial.config,
            row.candidate.config if row is not None else None if best is None else best.trial.config,
            sum(record.values.last for record in study.records),
        )


def _since(clock: Clock, before: Clock) -> Stage:
    return Stage(clock.now - before.now, clock.epochs - before.epochs, clock.busy - before.busy)


def _retrain(given: Setting, clock: Clock, best: Repeated, rows: Sequence[Repeated]) -> int:
    """Retrains the winner and, with `final.default`, the default configuration; returns how many models are scored on
    the test split."""
    space, horizon = given.horizon.space, given.horizon
    default = default_among([row.candidate.config for row in rows], space)
    whole = [row for row in rows if row is not best and row.failure is None and space.final.default]
    others = [row for row in whole if dict(row.candidate.config) == default]
    trials = [
        Trial(0, space.method, row.candidate.config, seed, row.epoch, horizon=horizon.schedule(row.candidate.config))
        for row in [best, *others]
        for seed in (retraining_seed(space, index) for index in range(space.final.seeds))
    ]
    costs = replace(given.retraining, start=0.0)
    source = _List(trials, costs)
    with Simulation(FromCurves(given.curves), costs, clock).opened(given.placement, 0) as run:
        run(source, ())
    return len(trials) + space.final.seeds  # and the untrained network


class _Runs:
    """Does the runs of the finals, none of them twice."""

    def __init__(self, given: Setting, clock: Clock) -> None:
        self._given, self._clock = given, clock
        self._done: dict[str, Result] = {}

    def do(self, stage: str, names: Sequence[str], trials: Sequence[Trial]) -> list[Result]:
        """See `finals.select.Do`."""
        keys = [run_key(trial) for trial in trials]
        missing = {key: trial for key, trial in zip(keys, trials, strict=True) if key not in self._done}
        costs = replace(self._given.costs, start=0.0)
        source = _List(list(missing.values()), costs)
        with Simulation(FromCurves(self._given.curves), costs, self._clock).opened(self._given.placement, 0) as run:
            run(source, ())
        self._done |= dict(zip(missing, source.results, strict=True))
        return [self._done[key] for key in keys]


class _List:
    """A list of runs for a runner, see `runners.Source`; each trains to its own end."""

    def __init__(self, trials: Sequence[Trial], costs: Costs) -> None:
        order = in_turns(trials, costs.group_of)
        self._queue = deque(replace(trials[number], number=number) for number in order)
        self.independent = len(self._queue)
        self._curves: list[dict[int, float]] = [{} for _ in trials]
        self._seconds = [0.0] * len(trials)
        self._failures: dict[int, str | None] = {}

    def ask(self) -> Trial | None:
        return self._queue.popleft() if self._queue else None

    def trained_on(self, number: int, where: TrainedOn) -> None:
        """It is not kept."""

    def report(self, number: int, epoch: int, metrics: Mapping[str, float]) -> bool:
        self._curves[number][epoch] = metrics["val_map"]
        self._seconds[number] += metrics["seconds"]
        return True

    def should_stop(self, number: int) -> bool:
        return number in self._failures

    def tell(self, number: int, failure: str | None = None, details: str = "") -> None:
        self._failures[number] = failure

    def note(self, text: str, *, shown: bool = False) -> None:
        """There is no log."""

    @property
    def exhausted(self) -> bool:
        return len(self._failures) == len(self._curves)

    @property
    def results(self) -> list[Result]:
        """In the order of the trials."""
        return [
            Result(curve, seconds, self._failures[number])
            for number, (curve, seconds) in enumerate(zip(self._curves, self._seconds, strict=True))
        ]
