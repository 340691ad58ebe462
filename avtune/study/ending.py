"""When a search suggests no further trial although it was asked for more: its best value has become flat, or someone
has ended it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from avtune.study.record import Record

if TYPE_CHECKING:  # a study's folder needs this file, and a command that only helps needs no spaces
    from avtune.study.origins import Origins

By = Literal["finish", "time"]
_WORDS = {"finish": "ended by avtune finish", "time": "its time was over"}


@dataclass(frozen=True)
class Stopped:
    """A search that was ended from outside, as `study.yaml` has it. What was running then ended with its next epoch, or
    in a deterministic study by itself.

    Attributes:
        trials: how many had been suggested.
        by: `avtune finish`, or `--time`.
        seconds: what `--time` was, in seconds; 0 for `avtune finish`.
        running: how many of them were running, where all that were asked for had been suggested and these ended with
            their next epoch.
        again: failed trials that were begun again since; they train as if nobody had ended the search.
    """

    trials: int
    by: By
    seconds: float = 0.0
    again: tuple[int, ...] = ()
    running: int = 0

    def to_json(self) -> dict[str, Any]:
        facts = asdict(self) | {"again": list(self.again)}
        return {key: value for key, value in facts.items() if key not in ("again", "running") or value}

    def sparing(self, trials: Iterable[int]) -> Stopped:
        """The same, with these trials begun again."""
        return replace(self, again=tuple(sorted({*self.again, *trials})))

    @staticmethod
    def of(settings: Mapping[str, Any]) -> Stopped | None:
        """What the settings of a study say; None where nobody has ended it."""
        found = settings.get("stopped")
        if found is None:
            return None
        again, running = tuple(found.get("again", ())), found.get("running", 0)
        return Stopped(found["trials"], found["by"], found.get("seconds", 0.0), again, running)

    def text(self, trials: int) -> str:
        """In words, of a search that was asked for so many trials."""
        if self.running:
            return f"{_WORDS[self.by]} while {self.running} of {trials} trials were running"
        return f"stopped after {self.trials} of {trials} trials: {_WORDS[self.by]}"


STOPPED = {"trials": int, "by": ("finish", "time"), "seconds?": float, "again?": [int], "running?": int}
"""The shape of `stopped` in `study.yaml`."""


class Flat(Protocol):
    """Whether the best value of a search has not risen for a number of ended trials."""

    def ended(self, record: Record) -> None:
        """A trial has ended; also called for each end on record, in their order, when a study is opened."""

    def restarted(self, record: Record) -> None:
        """A failed trial is about to begin again."""

    def is_flat(self, number: int) -> bool:
        """Whether the trial with that number, the next one, is not suggested for it."""


class _Count:
    """Counts ended trials since the best value rose. Trials that were not suggested raise it, but do not count: the
    random start-up and the configurations that are known beforehand say nothing of what suggestions bring."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._best: float | None = None
        self._counted: set[int] = set()
        self.since = 0

    def add(self, record: Record) -> None:
        value = record.best_value
        if record.state == "FAIL" or value is None:
            return
        if self._best is None or value > self._best:
            self._best, self.since = value, 0
        elif record.number not in self._counted:
            self.since += self._origins.is_suggested(record)
        self._counted.add(record.number)


class FlatAtOnce:
    """Counts trials as they end. A trial that was running meanwhile may raise the best value, and the search goes on.

    Args:
        patience: so many trials.
        origins: of the trials. What is known beforehand is tried before the search is flat.
    """

    def __init__(self, patience: int, origins: Origins) -> None:
        self._patience = patience
        self._origins = origins
        self._count = _Count(origins)

    def ended(self, record: Record) -> None:
        self._count.add(record)

    def restarted(self, record: Record) -> None:
        pass

    def is_flat(self, number: int) -> bool:
        return self._count.since >= self._patience and not self._origins.waits


class FlatInOrder:
    """Counts trials in the order of their numbers, and for suggestion `number` those that are at least `lag` lower,
    whichever were quicker.

    Args:
        patience, origins: as of `FlatAtOnce`.
        records: those of the study, which grow with it.
        lag: `search.lag`.
    """

    def __init__(self, patience: int, origins: Origins, records: Sequence[Record], lag: int) -> None:
        self._patience = patience
        self._origins = origins
        self._records = records
        self._lag = lag
        self._begin()

    def _begin(self) -> None:
        self._count, self._next = _Count(self._origins), 0

    def ended(self, record: Record) -> None:
        pass

    def restarted(self, record: Record) -> None:
        self._begin()

    def is_flat(self, number: int) -> bool:
        while self._next < number - self._lag + 1:
            past = self._records[self._next]
            if past.state == "RUNNING":
                return False
            self._count.add(past)
            self._next += 1
        return self._count.since >= self._patience and not self._origins.waits


class NeverFlat:
    """Of a search without `search.stop_when_flat`."""

    def ended(self, record: Record) -> None:
        pass

    def restarted(self, record: Record) -> None:
        pass

    def is_flat(self, number: int) -> bool:
        return False


def flat_search(patience: int, origins: Origins, records: Sequence[Record], lag: int | None) -> Flat:
    """Args:
    patience: `search.stop_when_flat`; 0 for never.
    lag: of a deterministic study; None for one that is not.
    """
    if not patience:
        return NeverFlat()
    return FlatAtOnce(patience, origins) if lag is None else FlatInOrder(patience, origins, records, lag)
