"""What can be asked of a study and changes nothing: the configurations that are known beforehand, and what came of its
trials."""

from __future__ import annotations

from abc import ABC, abstractmethod

from avtune.core.hyper import Value
from avtune.space.space import Space
from avtune.study.record import Record, State
from avtune.study.results_to_sampler import Suggestions
from avtune.study.sampler import first_turn


class StudyFacts(ABC):
    """A part of `study.Study`, which makes the attributes.

    Attributes:
        space: what is searched.
        records: of the trials suggested so far, by number.
    """

    space: Space
    records: list[Record]
    _sampler: Suggestions

    @property
    @abstractmethod
    def is_suggested(self) -> bool:
        """Whether there will be no further trial: all have been given out, or the search has been ended."""

    # -- configurations that are known beforehand -------------------------------------------------------------------

    @property
    def configurations(self) -> int | None:
        """How many the space has; None where they are not counted."""
        return self._sampler.configurations

    @property
    def known(self) -> list[dict[str, Value]]:
        """The configurations that the user named, and those of earlier studies; values of the axes each."""
        return self._sampler.known

    @property
    def enqueued(self) -> int:
        """How many configurations a script of the user's has put into the journal that come next."""
        return sum(not one.problem for one in self._sampler.enqueued())

    @property
    def left_out(self) -> list[str]:
        """Of others that it has put there, why they are not tried."""
        return [one.text for one in self._sampler.enqueued() if one.problem]

    # -- what came of it -------------------------------------------------------------------------------------------

    @property
    def best(self) -> Record | None:
        """The trial with the highest validation MAP over its evaluated epochs; the lowest number of equals."""
        return next(iter(self.ranking()), None)

    def ranking(self) -> list[Record]:
        """Trials that did not fail, best first."""
        ended = [record for record in self.records if record.state != "FAIL" and record.values]
        return sorted(ended, key=lambda record: (-(record.best_value or 0.0), record.number))

    @property
    def waiting(self) -> int:
        """How many configurations that the user named, or earlier studies gave, have not been suggested yet."""
        return len(self._sampler.waiting)

    @property
    def fitting(self) -> int:
        """How many of these fit into the trials that are still to be suggested."""
        search, begins = self.space.search, first_turn(self.space)
        begins = max(len(self.records) + self.enqueued, begins)
        left = 0 if self.is_suggested else search.trials - begins
        return sum(place <= left for place in self._sampler.waiting)

    @property
    def trials_for_all(self) -> int:
        """With how many trials all of them would be tried."""
        begins = len(self.records) + self.enqueued
        most, startup = max(self._sampler.waiting, default=0), self.space.search.startup_trials
        # More trials than random ones have the random ones come first.
        return begins + most if begins + most <= startup else max(begins, startup) + most

    def count(self, state: State) -> int:
        """How many trials have that state."""
        return sum(record.state == state for record in self.records)

    def times(self) -> dict[int, tuple[float, float | None]]:
        """When each trial was suggested, and when the sampler was told its end (None before), in seconds since 1970."""
        return self._sampler.times()
