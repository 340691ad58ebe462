"""Rules that stop trials and are not shipped, for `benchmarks.rungs`: policies as `avtune.study.rungs` has them.

- `RoundsDown`: ASHA as Optuna's `SuccessiveHalvingPruner` has it, 1 in `factor` rounded down, at least one.
- `Hyperband`: ASHA in brackets (Li et al. 2018, 2020). A trial of bracket s is first compared at rung s, with its
  bracket's trials alone; brackets share the trials as Hyperband's rounds do.
- `Pasha`: Bohdal et al. 2023, in ASHA's stopping form: trials end at the topmost rung in use; one more is used as soon
  as the rungs below it rank the trials of the topmost one otherwise, where differences within the curves' noise do not
  count. What ended there cannot go on, since trials are not paused.
- `Median`: Golovin et al. 2017 (Vizier), from the first rung on after every epoch: a trial stops whose best value is
  below the median of the other trials' mean values up to that epoch.
- `LearningCurve`: after Domhan et al. 2015, with one family of curves: at every rung, and at epochs between that are a
  third apart, power laws a - b e^-c are fitted by least squares for a range of c, weighted by their likelihood; a trial
  stops when what they say of its last epoch exceeds the best value so far with a probability below 5 %.

In all of them what is compared at a rung is the best value so far, as in ASHA.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from statistics import fmean, median

import numpy as np

from avtune.core.patience import noise
from avtune.study.asha import Asha
from avtune.study.record import Record
from avtune.study.rungs import RungPolicy


class RoundsDown(Asha):
    """The best 1/factor go on, rounded down, at least one."""

    def decide(self, rung: int, value: float) -> bool:
        self.add(rung, value)
        seen = self._seen[rung]
        better = sum(one > value for one in seen)
        return better < max(1, len(seen) // self._factor)


class _AtOnce(RungPolicy):
    """Decides as soon as there is something to decide, like `Asynchronous`."""

    def __init__(self, factor: int) -> None:
        super().__init__(Asha(factor))
        self.records: list[Record] = []

    def added(self, record: Record) -> None:
        self.records.append(record)

    def changed(self, record: Record) -> None:
        while record.awaits(record.rungs_decided):
            rung = record.rungs_decided
            record.rungs_decided = rung + 1
            if record.reached(rung) and not record.ended_flat and not self.goes_on(record, rung):
                record.stop(record.trial.save_at[rung])
        if record.is_wanted and record.values.last not in record.trial.save_at and not self.between(record):
            record.stop(record.values.last)

    def settled(self, record: Record) -> list[Record]:
        return [record] if record.is_over else []

    @abstractmethod
    def goes_on(self, record: Record, rung: int) -> bool:
        """Whether a trial that has reached a rung goes on."""

    def between(self, record: Record) -> bool:
        """Whether a trial goes on after an epoch between rungs."""
        return True


class Hyperband(_AtOnce):
    """See the head of this file.

    Args:
        factor: of the study.
        brackets: how many.
    """

    def __init__(self, factor: int, brackets: int = 3) -> None:
        super().__init__(factor)
        self._ashas = [Asha(factor) for _ in range(brackets)]
        shares = [math.ceil(brackets / (s + 1)) * factor**s for s in range(brackets)]
        self._order = _interleaved(list(reversed(shares)))  # most trials where stopping is earliest

    def goes_on(self, record: Record, rung: int) -> bool:
        bracket = self._order[record.number % len(self._order)]
        return rung < bracket or self._ashas[bracket].decide(rung, record.value_at(rung))


class Pasha(_AtOnce):
    """See the head of this file."""

    def __init__(self, factor: int) -> None:
        super().__init__(factor)
        self._top = 1

    def goes_on(self, record: Record, rung: int) -> bool:
        going = self.asha.decide(rung, record.value_at(rung))
        if rung == self._top and not self._stable():
            self._top += 1
        return going and rung < self._top

    def _stable(self) -> bool:
        """Whether the two topmost rungs rank the trials that have reached both alike."""
        there = [one for one in self.records if one.reached(self._top)]
        for place, one in enumerate(there):
            for other in there[:place]:
                early = one.value_at(self._top - 1) - other.value_at(self._top - 1)
                late = one.value_at(self._top) - other.value_at(self._top)
                within = max(noise(list(one.values.values())), noise(list(other.values.values())))
                if early * late < 0 and min(abs(early), abs(late)) > within:
                    return False
        return True


class Median(_AtOnce):
    """See the head of this file.

    Args:
        least: other trials that must have come as far.
    """

    def __init__(self, factor: int, least: int = 3) -> None:
        super().__init__(factor)
        self._least = least

    def goes_on(self, record: Record, rung: int) -> bool:
        return self._is_above(record)

    def between(self, record: Record) -> bool:
        return record.rungs_decided == 0 or self._is_above(record)

    def _is_above(self, record: Record) -> bool:
        epoch = record.values.last
        others = [
            fmean(list(one.values.values())[:epoch])
            for one in self.records
            if one is not record and one.values.last >= epoch
        ]
        best = record.best_value
        assert best is not None
        return len(others) < self._least or best >= median(others)


class LearningCurve(_AtOnce):
    """See the head of this file.

    Args:
        chance: the least probability of becoming the best with which a trial goes on.
    """

    _POWERS = np.linspace(0.2, 2.0, 10)

    def __init__(self, factor: int, chance: float = 0.05) -> None:
        super().__init__(factor)
        self._chance = chance
        self._next: dict[int, float] = {}

    def goes_on(self, record: Record, rung: int) -> bool:
        return self._may_win(record)

    def between(self, record: Record) -> bool:
        if record.rungs_decided == 0 or record.values.last < self._next.get(record.number, 0):
            return True
        return self._may_win(record)

    def _may_win(self, record: Record) -> bool:
        self._next[record.number] = 4 / 3 * record.values.last
        values = np.array(list(record.values.values()))
        best = max((one.best_value or 0.0 for one in self.records if one is not record), default=0.0)
        if len(values) < 4 or values.max() >= best:
            return True
        middle, width = self._at_the_end(values, min(record.trial.epochs, 8 * len(values)))
        return 0.5 * math.erfc((best - middle) / (width * math.sqrt(2))) >= self._chance

    def _at_the_end(self, values: np.ndarray, last: int) -> tuple[float, float]:
        """What the fitted curves say of an epoch: mean and standard deviation."""
        epochs = np.arange(1, len(values) + 1)
        said, errors = [], []
        for power in self._POWERS:
            basis = np.stack([np.ones(len(values)), -(epochs**-power)], axis=1)
            found, *_ = np.linalg.lstsq(basis, values, rcond=None)
            errors.append(float(np.square(basis @ found - values).sum()))
            said.append(float(found[0] - found[1] * last**-power))
        variance = max(min(errors) / max(1, len(values) - 3), 1e-8)
        weights = np.exp(-(np.array(errors) - min(errors)) / (2 * variance))
        weights /= weights.sum()
        middle = float(weights @ np.array(said))
        width = float(weights @ np.square(np.array(said) - middle)) + variance
        return middle, math.sqrt(width)


def _interleaved(shares: list[int]) -> list[int]:
    """Places 0, 1, ... each as often as its share, spread evenly."""
    whole = sum(shares)
    given, order = [0] * len(shares), []
    for step in range(1, whole + 1):
        lacks = [share * step / whole - done for share, done in zip(shares, given, strict=True)]
        place = lacks.index(max(lacks))
        given[place] += 1
        order.append(place)
    return order
