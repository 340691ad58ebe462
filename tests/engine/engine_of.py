"""An engine over toy trials, with a queue in the place of the dispatcher: what came of every trial."""

from collections import deque
from dataclasses import dataclass, field, replace

from toy import toy_prepared

from avtune.core.trial import Trial
from avtune.engine.engine import Engine
from avtune.engine.messages import Orders
from avtune.runners.lane_files import LaneFiles

SMALL = {"hidden_dim": 8, "embedding_dim": 4, "batch_size": 16}


@dataclass
class EngineRun:
    """
    Attributes:
        values: the `val_map` of each trial's epochs, by number and epoch.
        ends: why each trial failed; None for one that did not.
        epochs: those reported, in order, as (number, epoch).
    """

    trials: list
    capacity: int
    folds: int = 1
    values: dict = field(default_factory=dict)
    ends: dict = field(default_factory=dict)
    epochs: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    wanted: list = field(default_factory=list)
    weights: dict = field(default_factory=dict)

    def run(self, most_steps=1000, stop=lambda engine: False):
        def save(trial, params, buffers, epochs):
            self.weights[trial.number] = params

        data = [toy_prepared(seed) for seed in range(self.folds)]
        self.engine = Engine(data, capacity=self.capacity, device="cpu", save=save, lane_files=LaneFiles())
        queue, message = deque(self.trials), self.engine.start()
        by_number = {trial.number: trial for trial in self.trials}
        for _ in range(most_steps):
            self.wanted.append(message.want)
            given = [queue.popleft() for _ in range(min(message.want, len(queue)))]
            message = self.engine.step(Orders([], given, over=False))
            for number, epoch, metrics in message.reports:
                self.epochs.append((number, epoch))
                self.values.setdefault(number, {})[epoch] = metrics["val_map"]
            for number, failure, _ in message.ends:
                assert number not in self.ends, "told once"
                self.ends[number] = failure
            self.notes += message.notes
            for number in reversed(message.returned):
                queue.appendleft(replace(by_number[number], known=len(self.values.get(number, ()))))
            if len(self.ends) == len(self.trials) or stop(self):
                return self
        raise AssertionError("it does not come to an end")


def make_trials(method, margins, epochs=3, **changes):
    """Trials by number, with a margin each."""
    return [
        Trial(number, method, SMALL | {"margin": margin}, number, epochs, save_to=str(number), **changes)
        for number, margin in margins.items()
    ]


def alone(trials, folds=1):
    """Each trial in an engine of its own: (values, final weights) by number."""
    engines = [EngineRun([trial], 1, folds).run() for trial in trials]
    assert all(engine.ends == {engine.trials[0].number: None} for engine in engines)
    return (
        {number: values for engine in engines for number, values in engine.values.items()},
        {number: weights for engine in engines for number, weights in engine.weights.items()},
    )
