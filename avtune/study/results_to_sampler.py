"""When the sampler is told how trials ended: at once, or in the order of their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from avtune.core.hyper import Value
from avtune.study.record import Record

if TYPE_CHECKING:
    from avtune.study.enqueued import Enqueued


class Suggestions(Protocol):
    """Where the configurations of a study come from, and who hears what came of them: `sampler.Sampler`, or another in
    a simulation.

    Attributes:
        repaired: whether a line of its file was cut off.
        configurations: how many there are; None where they are not counted.
        known: the configurations that the user named, and those of earlier studies.
        waiting: those of these that have not been suggested yet, see `Sampler.waiting`.
    """

    repaired: bool

    @property
    def configurations(self) -> int | None: ...

    @property
    def known(self) -> list[dict[str, Value]]: ...

    @property
    def waiting(self) -> list[int]: ...

    def enqueued(self) -> Sequence[Enqueued]:
        """The configurations that a script of the user's has put into the journal, and that no trial has yet."""

    @property
    def used_up(self) -> bool:
        """Whether there will be no further configuration."""

    def past(self) -> list[dict[str, Value]]:
        """The configurations suggested so far, by trial number."""

    def times(self) -> dict[int, tuple[float, float | None]]:
        """When each trial was suggested and when it ended."""

    def ask(self, number: int) -> dict[str, Value] | None:
        """The configuration of a new trial; None where there is none left."""

    def tell(
        self,
        number: int,
        state: str,
        value: float | None,
        rungs: Mapping[int, float],
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        """How a trial ended."""


class ResultsToSampler(Protocol):
    """Passes the ends of trials on to the sampler. Telling an end again changes nothing."""

    def may_suggest(self, number: int) -> bool:
        """Whether the sampler knows all that suggestion `number` must see; tells it what it can be told now."""

    def ended(self, record: Record) -> None:
        """A trial has ended, or had ended when the study was opened."""

    def restarted(self, record: Record) -> None:
        """A failed trial is about to begin again."""


class AtOnce:
    """The sampler hears of every end as soon as there is one."""

    def __init__(self, sampler: Suggestions) -> None:
        self._sampler = sampler

    def may_suggest(self, number: int) -> bool:
        return True

    def ended(self, record: Record) -> None:
        _tell(self._sampler, record)

    def restarted(self, record: Record) -> None:
        pass


class InOrder:
    """Suggestion `number` sees the ends of all trials that are at least `lag` lower, and of no other, whichever were
    quicker.

    Args:
        sampler: that of the study.
        records: those of the study, which grow with it.
        lag: `search.lag`.
    """

    def __init__(self, sampler: Suggestions, records: Sequence[Record], lag: int) -> None:
        self._sampler = sampler
        self._records = records
        self._lag = lag
        self._told = 0  # trials of lower number
        self._again: set[int] = set()  # trials trained again, of whose new end the sampler is not told yet

    def may_suggest(self, number: int) -> bool:
        for again in sorted(one for one in self._again if one < self._told):
            if self._records[again].state == "RUNNING":
                return False
            _tell(self._sampler, self._records[again])
            self._again.remove(again)
        while self._told < number - self._lag + 1:
            past = self._records[self._told]
            if past.state == "RUNNING":
                return False
            _tell(self._sampler, past)
            self._told += 1
        return True

    def ended(self, record: Record) -> None:
        pass

    def restarted(self, record: Record) -> None:
        self._again.add(record.number)


def results_to_sampler(sampler: Suggestions, records: Sequence[Record], lag: int | None) -> ResultsToSampler:
    """Args:
    lag: of a deterministic study, see `InOrder`; None for one that is not.
    """
    return AtOnce(sampler) if lag is None else InOrder(sampler, records, lag)


def _tell(sampler: Suggestions, record: Record) -> None:
    sampler.tell(record.number, record.state, record.best_value, record.rung_values(), _facts(record))


def _facts(record: Record) -> dict[str, Value]:
    """What the journal says of a trial beside its value: attributes of Optuna's trial. `rung` is the epoch of the last
    rung that it reached, 0 for none."""
    facts: dict[str, Value] = {
        "epochs": record.values.last,
        "best_epoch": record.best_epoch or 0,
        "rung": max(record.rung_values(), default=0),
        "seconds": round(record.seconds, 3),
    }
    return facts | ({"failure": record.reason} if record.reason else {})
