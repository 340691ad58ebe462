"""How long the trials of a study train, and at which epochs they are compared.

Two kinds. With a number of epochs, all trials have the same horizon and rungs at `grace * factor^k` epochs below it.
With `early_stopping.epochs: auto` the horizon is open and counted in optimiser steps, so that it means the same for
sets and batches of any size: an epoch of 1,155 clips in batches of 256 is four steps, one of 20,000 clips is 80. A
trial then ends when its curve is flat (`avtune.core.patience`), and at the latest after `early_stopping.steps`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from avtune.core.hyper import Value
from avtune.core.trial import Trial
from avtune.space.space import Space
from avtune.study.asha import rung_epochs

GRACE_STEPS = 15
"""Before the first rung of an open horizon a trial trains `grace` epochs, and at least so many steps."""
PATIENCE_STEPS = 80
"""A trial is given so many steps, or three epochs, to become better. See `benchmarks/patience.py`."""
_PATIENCE_EPOCHS = 3
SCHEDULE_STEPS = 135
"""Over so many steps, or 27 epochs, schedules of an open horizon are laid out; then they keep their last value."""
LEAST_EPOCHS = 27
"""Epochs that a trial with an open horizon may train however many steps they take."""
FEW_STEPS = 10
"""An epoch of fewer steps is one that the plan points out."""


def _no_schedule(config: Mapping[str, Value]) -> bool:
    return False


@dataclass(frozen=True)
class Horizon:
    """How long the trials of a space train on so many rows.

    Attributes:
        space: whose `early_stopping` it is.
        rows: training rows of a run; of the smallest fold, where there are several. 0 is enough for a number of epochs.
        lays_out: whether a configuration has a schedule over its epochs, which it must go through before it can be
            called flat; see `methods.Method.lays_out`.
    """

    space: Space
    rows: int = 0
    lays_out: Callable[[Mapping[str, Value]], bool] = _no_schedule

    def __post_init__(self) -> None:
        assert self.rows or not self.open, "an open horizon counts steps, which take rows"

    @property
    def open(self) -> bool:
        """Whether trials end by their curves and not by a number of epochs."""
        return self.space.early_stopping.open

    def steps(self, config: Mapping[str, Value]) -> int:
        """Optimiser steps of an epoch; 1 for a method that is solved at once."""
        batch = config.get("batch_size")
        return max(1, self.rows // int(batch)) if batch is not None else 1

    def epochs(self, config: Mapping[str, Value]) -> int:
        """Epochs that a trial trains at most."""
        stopping = self.space.early_stopping
        if isinstance(stopping.epochs, int):
            return stopping.epochs
        return max(LEAST_EPOCHS, self._epochs_of(stopping.steps, config)) if _trains(config) else 1

    def patience(self, config: Mapping[str, Value]) -> int:
        """Epochs that a trial waits for a better value before it ends; 0 for one that trains to its horizon."""
        if not self.open or not _trains(config):
            return 0
        return max(_PATIENCE_EPOCHS, self._epochs_of(PATIENCE_STEPS, config))

    def least(self, config: Mapping[str, Value]) -> int:
        """Epochs that a trial trains before it can be flat: those of its schedule, if it has one."""
        return self.schedule(config) if self.open and self.lays_out(self.space.complete(config)) else 0

    def schedule(self, config: Mapping[str, Value]) -> int:
        """Epochs over which a trial's schedules are laid out."""
        stopping = self.space.early_stopping
        if isinstance(stopping.epochs, int):
            return stopping.schedule or stopping.epochs
        return max(LEAST_EPOCHS, self._epochs_of(SCHEDULE_STEPS, config)) if _trains(config) else 1

    def trial(self, number: int, config: Mapping[str, Value], seed: int, precision: str, basis: str) -> Trial:
        """A run of the search: it trains until its own end, and keeps nothing.

        Args:
            number, config, seed, precision, basis: as in `Trial`.
        """
        epochs, schedule = self.epochs(config), self.schedule(config)
        return Trial(
            number,
            self.space.method,
            config,
            seed,
            epochs,
            precision,
            horizon=schedule if schedule != epochs else 0,
            patience=self.patience(config),
            least=self.least(config),
            basis=basis,
        )

    def rungs(self, config: Mapping[str, Value]) -> tuple[int, ...]:
        """The epochs at which a trial is compared, ascending. The k-th ones of all trials belong together: with an open
        horizon they are the first epochs after `grace * factor^k` epochs of the default batch size, in steps."""
        stopping = self.space.early_stopping
        epochs = self.epochs(config)
        if isinstance(stopping.epochs, int):
            return rung_epochs(epochs, stopping.grace, stopping.factor)
        return tuple(takewhile(lambda epoch: epoch < epochs, self._open_rungs(config)))

    def _open_rungs(self, config: Mapping[str, Value]) -> Iterator[int]:
        stopping = self.space.early_stopping
        steps = max(GRACE_STEPS, stopping.grace * self.steps(self.space.defaults()))
        epoch = 0
        while True:
            epoch = max(epoch + 1, self._epochs_of(steps, config))  # two rungs never fall on one epoch
            yield epoch
            steps *= stopping.factor

    def _epochs_of(self, steps: int, config: Mapping[str, Value]) -> int:
        return math.ceil(steps / self.steps(config))


def _trains(config: Mapping[str, Value]) -> bool:
    """Whether the method takes steps; a closed form is solved at once."""
    return "batch_size" in config
