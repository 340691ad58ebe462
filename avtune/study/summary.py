"""How far a search is, in numbers: from its records alone, so that whoever runs it and whoever looks at it from outside
see the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avtune.study.asha import rung_table
from avtune.study.horizon import Horizon
from avtune.study.record import Record


@dataclass(frozen=True)
class RungCount:
    """What has happened at a rung.

    Attributes:
        epoch: at which it lies for the default configuration; the last row of a table is the end of the horizon.
        expected: trials that reach it in all, see `asha.rung_table`; with an open horizon, at most.
        reached: trials that have trained as far.
        stopped: of these, how many were stopped there.
        went_on: of these, how many were compared and go on.
    """

    epoch: int
    expected: float
    reached: int
    stopped: int
    went_on: int


@dataclass(frozen=True)
class Summary:
    """Trials by state, and what came of them.

    Attributes:
        trials: how many are asked for.
        begun: how many have been suggested.
        complete, stopped, failed: how many have ended, and how.
        running: those without an end, in the order of their numbers.
        epochs: trained in all, as far as they count.
        seconds: of devices, for these.
        best: the trial with the highest validation MAP; None before the first epoch.
        rungs: in their order, then the end of the horizon; empty where they are not known.
    """

    trials: int
    begun: int
    complete: int
    stopped: int
    failed: int
    running: tuple[Record, ...]
    epochs: int
    seconds: float
    best: Record | None
    rungs: tuple[RungCount, ...]

    @property
    def ended(self) -> int:
        return self.complete + self.stopped + self.failed


def summary(records: Sequence[Record], trials: int, horizon: Horizon | None) -> Summary:
    """Counts the records.

    Args:
        records: of the trials suggested so far.
        trials: how many are asked for.
        horizon: how long trials train; None where the rungs are not known.
    """
    states = [record.state for record in records]
    ranked = [record for record in records if record.state != "FAIL" and record.values]
    return Summary(
        trials=trials,
        begun=len(records),
        complete=states.count("COMPLETE"),
        stopped=states.count("PRUNED"),
        failed=states.count("FAIL"),
        running=tuple(record for record in records if record.state == "RUNNING"),
        epochs=sum(record.values.last for record in records),
        seconds=sum(record.seconds for record in records),
        best=max(ranked, key=lambda record: (record.best_value or 0.0, -record.number), default=None),
        rungs=() if horizon is None else tuple(_rungs(records, trials, horizon)),
    )


def failure_of_all(records: Sequence[Record], trials: int) -> str | None:
    """The reason of the first trial where all that are asked for have failed; else None.

    Args:
        records: of the trials suggested so far.
        trials: how many are asked for.
    """
    if not records or len(records) < trials or any(record.state != "FAIL" for record in records):
        return None
    return records[0].reason


def expected_at_rungs(trials: int, horizon: Horizon) -> list[tuple[int, float]]:
    """The rung table of a search, see `asha.rung_table`, for the default configuration."""
    config = horizon.space.defaults()
    return rung_table(trials, horizon.epochs(config), horizon.rungs(config), horizon.space.early_stopping.factor)


def _rungs(records: Sequence[Record], trials: int, horizon: Horizon) -> list[RungCount]:
    table = expected_at_rungs(trials, horizon)
    rows = []
    for rung, (epoch, expected) in enumerate(table[:-1]):
        reached = [record for record in records if record.reached(rung)]
        stopped = sum(record.stopped_at == record.trial.save_at[rung] for record in reached)
        decided = sum(record.rungs_decided > rung for record in reached)
        rows.append(RungCount(epoch, expected, len(reached), stopped, decided - stopped))
    epoch, expected = table[-1]
    return [*rows, RungCount(epoch, expected, sum(_at_the_end(record) for record in records), 0, 0)]


def _at_the_end(record: Record) -> bool:
    return record.stopped_at is None and record.values.last >= record.trial.epochs
