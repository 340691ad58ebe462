"""What is known of a trial: its curve, where its training stands, which rungs are decided, and how it ended.

Only these methods change a record; the study, the rung policies and the replay call them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.study.curve import Curve
from avtune.study.curves import EndLine, EndState, EpochLine

State = Literal["RUNNING", EndState]
"""As the files have it. RUNNING until the end is on record, also where the training is over already and a rung is still
to be decided."""


class Training(Enum):
    """Where the training of a trial stands, whatever the rungs say."""

    OPEN = "open"  # not begun, or going on
    OVER = "over"  # at its last epoch, with a failure, or because it was stopped
    FLAT = "flat"  # over by itself before its last epoch, since its curve had become flat


@dataclass
class Record:
    """A trial and what is known of it.

    Attributes:
        trial: what is trained.
        state: RUNNING until its end is known.
        values: validation MAP by epoch, as far as it counts.
        seconds: device seconds of those epochs.
        reason: why it failed.
        training: where its training stands.
        stopped_at: epoch of the rung that stopped it, or at which its search was ended; None for none.
        rungs_decided: how many of its rungs are decided, in their order.
        places: (epoch, where), where it was trained from which epoch on; empty where that is not known.
        reopened: it had trained all its epochs, its study was given more, and it has trained none of them yet.
    """

    trial: Trial
    state: State = "RUNNING"
    values: Curve = field(default_factory=Curve)
    seconds: float = 0.0
    reason: str = ""
    training: Training = Training.OPEN
    stopped_at: int | None = None
    rungs_decided: int = 0
    places: list[tuple[int, TrainedOn]] = field(default_factory=list)
    reopened: bool = False
    _epoch_seconds: array[float] = field(default_factory=lambda: array("d"))  # until the end

    # -- what is known ---------------------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        return self.trial.number

    @property
    def best_epoch(self) -> int | None:
        """The first epoch with the highest validation MAP."""
        return self.values.best_epoch

    @property
    def best_value(self) -> float | None:
        return self.values.best_until(self.values.last)

    @property
    def is_over(self) -> bool:
        """Whether its training has ended, by itself or not."""
        return self.training is not Training.OPEN

    @property
    def is_wanted(self) -> bool:
        """Whether a further epoch would count."""
        return not self.is_over and self.stopped_at is None

    @property
    def ended_flat(self) -> bool:
        """Whether its curve ended it, before its last epoch and no rung."""
        return self.training is Training.FLAT

    @property
    def has_more_epochs(self) -> bool:
        """Whether it had trained all its epochs, and its study was given more of them."""
        whole = self.state == "COMPLETE" and not self.ended_flat and self.stopped_at is None
        return whole and self.values.last < self.trial.epochs

    def has_rung(self, rung: int) -> bool:
        """Whether there is a rung with that index, from 0, before its last epoch."""
        return rung < len(self.trial.save_at)

    def reached(self, rung: int) -> bool:
        """Whether it has trained as far as that rung."""
        return self.has_rung(rung) and self.values.last >= self.trial.save_at[rung]

    def value_at(self, rung: int) -> float:
        """What it is compared by at that rung: its best validation MAP up to there."""
        value = self.values.best_until(self.trial.save_at[rung])
        assert value is not None
        return value

    def awaits(self, rung: int) -> bool:
        """Whether that rung is its next one, and its value there is known; that of a flat trial does not change."""
        if self.stopped_at is not None or self.rungs_decided != rung or not self.has_rung(rung):
            return False
        return self.reached(rung) or self.ended_flat

    def may_await(self, rung: int) -> bool:
        """Whether it awaits that rung, now or later."""
        if self.stopped_at is not None or self.rungs_decided > rung or not self.has_rung(rung):
            return False
        return self.reached(rung) or self.ended_flat or not self.is_over or self.has_more_epochs

    def rung_values(self) -> dict[int, float]:
        """The best validation MAP up to each rung that it reached, by the rung's epoch."""
        reached = (epoch for epoch in self.trial.save_at if epoch <= self.values.last)
        best = {epoch: self.values.best_until(epoch) for epoch in reached}
        return {epoch: value for epoch, value in best.items() if value is not None}

    # -- what happens to it ----------------------------------------------------------------------------------------

    def add_epoch(self, epoch: int, value: float, seconds: float, on: TrainedOn | None = None) -> None:
        """It has trained the epoch after its last one.

        Args:
            on: where, if that is not where it was.
        """
        if on is not None:
            self.places.append((epoch, on))
        self.reopened = False
        self.values.add(epoch, value)
        self._epoch_seconds.append(seconds)
        self.seconds += seconds

    def stop(self, epoch: int) -> None:
        """The rung at that epoch stops it; what it trained since does not count."""
        self.stopped_at = epoch
        if self.ended_flat:
            self.training = Training.OVER
        self._cut(epoch)

    def end_training(self, failure: str | None) -> None:
        """Its training is over, with a failure or without."""
        early = failure is None and self.values.last < self.trial.epochs and self.trial.patience > 0
        self.training = Training.FLAT if early and self.stopped_at is None else Training.OVER
        self.reason = failure or ""
        if failure is None and not self.values:
            self.reason = "it ended without a result"

    def end(self) -> EndLine:
        """Gives it its last state, once its training is over and its rungs are decided.

        Returns:
            The line of `curves.jsonl` that says so.
        """
        assert self.is_over
        if self.stopped_at is not None:
            self.reason = ""
        failed: EndState = "FAIL" if self.reason else "COMPLETE"
        state: EndState = failed if self.stopped_at is None else "PRUNED"
        self.state, self.reopened = state, False
        return EndLine(self.number, state, self.values.last, self.reason, self.ended_flat)

    def release(self) -> None:
        """Gives back the memory that only a running trial needs."""
        del self._epoch_seconds[:]

    def begin_again(self) -> None:
        """A failed trial is one that has not begun."""
        self.reopened = False
        self.state, self.reason = "RUNNING", ""
        self.training, self.rungs_decided = Training.OPEN, 0
        self._cut(0)

    def reopen(self) -> None:
        """Takes back its end, not its epochs and rungs."""
        self.state, self.training, self.reopened = "RUNNING", Training.OPEN, True

    def close_again(self) -> None:
        """Takes back `reopen`: it does not go on, and its end, which is on record, holds."""
        assert self.reopened
        assert self.stopped_at is None
        self.state, self.training, self.reopened = "COMPLETE", Training.OVER, False

    # -- from its lines --------------------------------------------------------------------------------------------

    def read_epoch(self, line: EpochLine) -> None:
        """Takes an epoch's line of `curves.jsonl`; one of a trial that had ended is of a study given more epochs."""
        self.reopen()
        self.add_epoch(line.epoch, line.value, line.seconds, line.on)

    def read_end(self, line: EndLine) -> None:
        """Takes an end's line of `curves.jsonl`."""
        self.state, self.reason, self.reopened = line.state, line.reason, False
        if line.state == "PRUNED" and self.stopped_at is None:  # no rung has stopped it, but the end of the search
            self.stopped_at = line.epochs
        flat = line.flat and self.stopped_at is None
        self.training = Training.FLAT if flat else Training.OVER
        self._cut(line.epochs)

    def _cut(self, epoch: int) -> None:
        self.values.cut(epoch)
        self.places = [place for place in self.places if place[0] <= epoch]
        del self._epoch_seconds[epoch:]
        self.seconds = sum(self._epoch_seconds)
