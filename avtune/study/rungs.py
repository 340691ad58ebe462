"""When a trial is compared at its rungs, and with which others: one class a policy, named in `rung_policy`.

A rung is known by its index, from 0: the k-th rungs of all trials belong together (`study.horizon` says at which epochs
they lie). What a trial is compared by, and how many go on, is the same for every policy (`study.asha`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from avtune.study.asha import Asha
from avtune.study.record import Record


class RungPolicy(ABC):
    """Decides at rungs. A subclass says when: it calls `_decide` for every rung that a record awaits, in their order.

    All that happens to a trial comes by here, in a running study and when its files are read again. A policy may use
    nothing else, such as the time, or a study that is opened again would decide otherwise.

    Args:
        asha: the values at the rungs so far.
    """

    def __init__(self, asha: Asha) -> None:
        self.asha = asha

    @abstractmethod
    def added(self, record: Record) -> None:
        """A trial joins the study; they come in the order of their numbers."""

    @abstractmethod
    def changed(self, record: Record) -> None:
        """A trial has trained a further epoch, or its training is over: decides what can be decided now."""

    @abstractmethod
    def settled(self, record: Record) -> list[Record]:
        """After `changed`: the trials whose training is over and whose rungs are all decided since, which have their
        end now. Not called while files are read."""

    def restarted(self, record: Record) -> None:
        """A failed trial is about to begin again: its values are taken back, decisions made with them stand."""
        for rung in range(record.rungs_decided):
            self.asha.forget(rung, record.value_at(rung))

    def _decide(self, record: Record, rung: int) -> None:
        """Compares a trial at the rung that it awaits; it goes on, or is stopped."""
        value = record.value_at(rung)
        record.rungs_decided = rung + 1
        if not record.reached(rung):
            assert record.ended_flat
            self.asha.add(rung, value)
        elif not self.asha.decide(rung, value):
            record.stop(record.trial.save_at[rung])


class Asynchronous(RungPolicy):
    """ASHA: a trial is compared as soon as it reaches a rung, with all that have reached it before."""

    def added(self, record: Record) -> None:
        pass

    def changed(self, record: Record) -> None:
        while record.awaits(record.rungs_decided):
            self._decide(record, record.rungs_decided)

    def settled(self, record: Record) -> list[Record]:
        return [record] if record.is_over else []


class Deterministic(RungPolicy):
    """At a rung a trial is compared with the trials of lower number only, so that no decision depends on which trial
    was quicker. A trial whose comparison is open trains on meanwhile; nothing waits, so there is no
    deadlock."""

    def __init__(self, asha: Asha) -> None:
        super().__init__(asha)
        self._records: list[Record] = []
        self._next: list[int] = []  # by rung: the number of the trial to decide next
        self._unsettled = 0  # every trial of lower number has been given out by `settled`, or is still training

    def added(self, record: Record) -> None:
        assert record.number == len(self._records)
        self._records.append(record)
        self._next += [0] * (len(record.trial.save_at) - len(self._next))

    def changed(self, record: Record) -> None:
        for rung in range(len(self._next)):
            while self._next[rung] < len(self._records):
                one = self._records[self._next[rung]]
                if one.awaits(rung):
                    self._decide(one, rung)
                elif one.may_await(rung):
                    break
                self._next[rung] += 1

    def settled(self, record: Record) -> list[Record]:
        decided = min(self._next, default=len(self._records))
        news = self._records[self._unsettled : decided]
        if record.number < self._unsettled:  # its rungs were decided before its training was over
            news.append(record)
        self._unsettled = max(self._unsettled, decided)
        return [one for one in news if one.is_over and one.state == "RUNNING"]

    def restarted(self, record: Record) -> None:
        super().restarted(record)
        self._next = [min(number, record.number) for number in self._next]
        self._unsettled = min(self._unsettled, record.number)


def rung_policy(*, deterministic: bool, factor: int) -> RungPolicy:
    """The policy of a study: the one place that names them.

    Args:
        deterministic: of the study.
        factor: one trial in `factor` goes on at a rung.
    """
    return (Deterministic if deterministic else Asynchronous)(Asha(factor))
