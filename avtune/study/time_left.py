"""How long a search and its finals will still take, from its rung table and from what its trials have shown.

**Epochs of the search.** Every trial that has not begun, and every one that is running from where it stands, is
followed through the segments between its rungs:

- at a rung it goes on with the chance that the rung table gives (`asha.rung_table`);
- within a segment of a number of epochs it trains all of them. With an open horizon it may end because its curve is
  flat: at a constant rate for each segment, which is the number of trials that have ended so there over all that was
  trained there (exponential durations within pieces; trials that are still running count as far as they are).

Segments that no trial has left yet are taken as the rung table has them: whole. With an open horizon that is an upper
bound, and where more than a quarter of the epochs rest on such segments, so is the figure, and is called one.

**Seconds of the search.** Its epochs over the epochs a second of the last minute; without these, the mean device
seconds of an epoch so far, over the processes.

**Seconds of the finals.** The finalists and the default configuration, each over `final.seeds` seeds (in a race with
as many runs as where all that can be dropped is, after two seeds), then the winner and the default again, on all
training rows. A repeat trains the number of epochs, or with an open horizon as long as the trials that were not stopped
have trained on average; a retraining as many as their best epochs on average (with the protocol `published` as long as
a repeat), and each epoch takes longer by the rows that are not held out. An epoch takes the mean device seconds of the
search's, on all processes. Before a trial has trained to its end, nothing is known of
them. Once runs of a stage have ended, the rest of the stage follows from these. Not counted are finalists that train on
because their mean still rises, retraining in fp32 where the search was in bf16, and the scoring: the figure is for
people, and is shown as "about".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from avtune.core.protocol import PUBLISHED
from avtune.space.settings import Validation
from avtune.space.space import Space
from avtune.study.horizon import Horizon
from avtune.study.record import Record
from avtune.study.summary import Summary, expected_at_rungs

MOST_UNSEEN = 0.25
"""Of the epochs left, the largest share that may rest on segments which no trial has left yet."""


@dataclass(frozen=True)
class TimeLeft:
    """Wall seconds that are still expected; None for what is not known yet.

    Attributes:
        search: of the trials.
        finals: of repeats, retrainings and whatever else follows.
        at_most: those of the search are an upper bound.
    """

    search: float | None
    finals: float | None
    at_most: bool = False

    @property
    def total(self) -> float | None:
        """Of both; None where one is not known."""
        return None if self.search is None or self.finals is None else self.search + self.finals


@dataclass(frozen=True)
class Finals:
    """What the finals take, in device seconds: all repeats, and all retrainings."""

    repeats: float
    retrainings: float


def time_left(
    done: Summary,
    records: Sequence[Record],
    horizon: Horizon,
    *,
    processes: int,
    rate: float | None,
    protocol: str,
) -> TimeLeft:
    """What a search that is running will still take.

    Args:
        done: how far it is.
        records: of its trials.
        horizon: of them.
        processes: that train at a time.
        rate: epochs a second of late; None where it is not known.
        protocol: of the retraining.
    """
    left = epochs_left(records, done.trials, horizon)
    each = done.seconds / done.epochs if done.epochs and done.seconds else None
    seconds: float | None = 0.0
    if left.epochs:
        seconds = left.epochs / rate if rate else each and left.epochs * each / processes
    finals = finals_cost(done, records, horizon.space, protocol)
    after = None if finals is None else (finals.repeats + finals.retrainings) / processes
    return TimeLeft(seconds, after, left.at_most)


@dataclass(frozen=True)
class EpochsLeft:
    """The epochs that a search is expected to train still, or at most."""

    epochs: float
    at_most: bool


def epochs_left(records: Sequence[Record], trials: int, horizon: Horizon) -> EpochsLeft:
    """The epochs that a search is expected to train still.

    Args:
        records: of the trials that have begun.
        trials: how many are asked for.
        horizon: of the trials.
    """
    table = expected_at_rungs(trials, horizon)
    chances = [after[1] / before[1] if before[1] else 0.0 for before, after in pairwise(table)]
    ends = _flat_ends(records)
    fresh = _left(_segments([epoch for epoch, _ in table]), 0, chances, ends)
    running = [record for record in records if record.state == "RUNNING" and record.is_wanted]
    parts = [_left(_of(record), record.values.last, chances, ends) for record in running]
    to_come = max(0, trials - len(records))
    epochs = to_come * fresh[0] + sum(part[0] for part in parts)
    unseen = to_come * fresh[1] + sum(part[1] for part in parts)
    return EpochsLeft(epochs, horizon.open and unseen > MOST_UNSEEN * epochs)


def finals_cost(
    done: Summary, records: Sequence[Record], space: Space, protocol: str, *, patience: int | None = None
) -> Finals | None:
    """What the finals of a search are expected to take; None where no trial has trained to its end yet.

    Args:
        patience: epochs that a trial trains after its best one. Where it is given, and no trial has trained to its end
            yet, the one that has trained longest is taken for one that will train so long.
    """
    whole = [record for record in records if record.state == "COMPLETE"]
    bests = [record.best_epoch or 0 for record in whole]
    lengths = [record.values.last for record in whole]
    if not whole and patience is not None and done.epochs:
        longest = max(records, key=lambda record: record.values.last)
        bests = [longest.best_epoch or 0]
        lengths = [max(longest.values.last, bests[0] + patience)]
    if not lengths or not done.seconds:
        return None
    each = done.seconds / done.epochs
    length = float(epochs) if isinstance(epochs := space.early_stopping.epochs, int) else sum(lengths) / len(lengths)
    best = length if protocol == PUBLISHED else sum(bests) / len(bests)
    default = space.final.default
    seeds, configurations = space.final.seeds, min(space.final.finalists, done.trials) + default
    repeats = configurations * seeds
    if space.final.races:
        repeats -= (configurations - 1) * max(0, seeds - 2)
    return Finals(repeats * length * each, (1 + default) * seeds * best * each * _rows_ratio(space.validation))


def finals_left(
    cost: Finals | None, of_stage: float | None, elapsed: float | None, *, retraining: bool, processes: int
) -> float | None:
    """Wall seconds that finals which have begun will still take; None where that is not known.

    Args:
        cost: of all of them.
        of_stage: what the stage takes still, from those of its runs that have ended; None before one has.
        elapsed: seconds since the stage began; None where that is not known, or where it is a stage of further runs.
        retraining: it is the last stage, the one on all rows.
        processes: that train at a time.
    """
    if of_stage is None and cost is not None and elapsed is not None:
        whole = (cost.retrainings if retraining else cost.repeats) / processes
        of_stage = whole - elapsed if whole > elapsed else None
    if of_stage is None or retraining:
        return of_stage
    return None if cost is None else of_stage + cost.retrainings / processes


def _rows_ratio(validation: Validation) -> float:
    """Rows of the retraining over those that an epoch of the search trains, over all folds."""
    if validation.folds is not None:
        return 1 / (validation.folds - 1)
    if validation.fraction is None:
        return 1.25  # a given split, whose share is not known here
    return 1 / (1 - validation.fraction)


def _segments(ends: Sequence[int]) -> list[tuple[int, int]]:
    """The epochs between rungs, `(first, last)` each, the first not included.

    Args:
        ends: the epochs of the rungs, and the last one.
    """
    return list(pairwise([0, *ends]))


def _of(record: Record) -> list[tuple[int, int]]:
    return _segments([*record.trial.save_at, record.trial.epochs])


def _flat_ends(records: Sequence[Record]) -> list[float | None]:
    """For each segment, how many trials end flat for each time that it is trained whole; None where no trial has left
    it."""
    trained: list[float] = []
    flat: list[int] = []
    left: list[int] = []
    for record in records:
        last = record.values.last
        for place, (first, end) in enumerate(_of(record)):
            if place == len(trained):
                trained.append(0.0)
                flat.append(0)
                left.append(0)
            if last <= first:
                continue
            trained[place] += (min(last, end) - first) / (end - first)
            ended_here = record.ended_flat and last < end
            flat[place] += ended_here
            left[place] += ended_here or last >= end
    return [number / whole if out else None for number, whole, out in zip(flat, trained, left, strict=True)]


def _left(
    segments: Sequence[tuple[int, int]], at: int, chances: Sequence[float], ends: Sequence[float | None]
) -> tuple[float, float]:
    """Epochs that a trial is expected to train after epoch `at`, and how many of them are in segments that no trial has
    left."""
    epochs, unseen, alive = 0.0, 0.0, 1.0
    for place, (first, end) in enumerate(segments):
        if at >= end:
            continue
        rate = ends[place] if place < len(ends) else None
        share = (end - max(at, first)) / (end - first)  # of the segment that is left
        stays = math.exp(-(rate or 0.0) * share)
        trained = alive * (end - first) * ((1 - stays) / rate if rate else share)
        epochs += trained
        unseen += trained if rate is None else 0.0
        alive *= stays * (chances[place] if place < len(chances) else 1.0)
    return epochs, unseen
