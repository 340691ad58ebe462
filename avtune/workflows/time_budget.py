"""`--time 2h`: a search that ends early enough for its finals, planned from what its trials have cost so far."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic

from avtune.core.errors import UserError, shown
from avtune.core.schema import is_number
from avtune.report.text import duration
from avtune.runners.placement_text import Places
from avtune.study.study import Study
from avtune.study.summary import summary
from avtune.study.time_left import epochs_left, finals_cost

MARGIN = 1.4
"""The finals are given so many times what they are expected to take."""
_AGAIN = 2.0
"""With an open horizon seeds are trained again as long as the longest where their mean still rises: repeats may count
so many times."""
_UNITS = {"d": 86_400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(d|h|min|m|s)")
_LONGEST = 366 * 86_400.0


def seconds_of(given: object) -> float:
    """A span of time in seconds.

    Args:
        given: `2h`, `90m`, `1h30m`, `45s`, `1d`; or, from Python, a number of seconds.

    Raises:
        UserError: it is none.

    >>> seconds_of("1h30m"), seconds_of("45 s"), seconds_of(90)
    (5400.0, 45.0, 90.0)
    """
    seconds = 0.0
    if isinstance(given, str) and re.fullmatch(f"(?:{_PART.pattern})+\\s*", given):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(given))
    elif is_number(given):
        assert isinstance(given, int | float)
        seconds = float(given)
    if not 0 < seconds <= _LONGEST:
        raise UserError(f"--time is {shown(given)}; give a span with its unit, such as 2h, 90m, 1h30m or 45s")
    return seconds


@dataclass
class TimeBudget:
    """What is left of a span of time, and whether the finals of a search still fit into it.

    Attributes:
        seconds: the span.
        clock: seconds of any origin.
        begun: when it began, by the clock; see `begin`.
        expected: wall seconds that the finals were expected to take when the last trial had ended; None where nothing
            was known of them.
        searched: seconds from the beginning until then.
    """

    seconds: float
    clock: Callable[[], float] = field(default_factory=lambda: monotonic)
    begun: float = field(init=False)
    expected: float | None = None
    searched: float | None = None

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The span begins now: a search does it that starts, also where it is one of several."""
        self.begun = self.clock()

    @property
    def spent(self) -> float:
        return self.clock() - self.begun

    @property
    def plan(self) -> str:
        """What will be done, in words."""
        return (
            f"--time {duration(self.seconds)}, finals and retraining included: trials end as soon as the finals are "
            f"expected to take what is left (measured from trials as they run, times {MARGIN:g})"
        )

    def is_over(self, study: Study, places: Places | None, protocol: str) -> bool:
        """Whether the search must end now."""
        left = self.seconds - self.spent
        if left <= 0 or places is None:
            return left <= 0
        return left <= self._needed(study, places, protocol)

    def search_is_over(self, study: Study, places: Places | None, protocol: str) -> None:
        """The last trial has ended."""
        self.searched = self.spent
        self.expected = None if places is None else _finals(study, places, protocol)

    def report(self, study: Study) -> str:
        """What it came to, in words."""
        spent = self.spent
        over = spent - self.seconds
        lines = f"{duration(spent)} of {duration(self.seconds)}" + (f", {duration(over)} too long" if over >= 1 else "")
        if self.searched is None:  # nothing was left to train
            return lines
        known = "" if self.expected is None else f" (expected: {duration(self.expected)})"
        asked = study.space.search.trials
        return (
            f"{lines}: {len(study.records)} of {asked} trials in {duration(self.searched)}, finals in "
            f"{duration(spent - self.searched)}{known}"
        )

    def _needed(self, study: Study, places: Places, protocol: str) -> float:
        """Wall seconds that are needed once no further trial is suggested: for the epochs under way, and the finals."""
        done = summary(study.records, len(study.records), None)
        if not done.epochs:
            return 0.0
        each = done.seconds / done.epochs / places.processes
        trials = 2.0 * places.at_a_time  # each ends with its next epoch
        if study.deterministic:
            trials = epochs_left(study.records, len(study.records), study.horizon).epochs
        return each * trials + MARGIN * _finals(study, places, protocol)


def _finals(study: Study, places: Places, protocol: str) -> float:
    """Wall seconds that the finals are expected to take. Where no trial has trained to its end yet, one is taken to
    train as long after its best epoch as the one that trained longest."""
    done = summary(study.records, len(study.records), None)
    cost = finals_cost(done, study.records, study.space, protocol, patience=_patience(study))
    if cost is None:
        return 0.0
    return ((_AGAIN if study.horizon.open else 1.0) * cost.repeats + cost.retrainings) / places.processes


def _patience(study: Study) -> int:
    """Epochs that a trial of the default configuration trains after its best one, or all, where that is a number."""
    stopping = study.space.early_stopping
    return stopping.epochs if isinstance(stopping.epochs, int) else study.horizon.patience(study.space.defaults())
