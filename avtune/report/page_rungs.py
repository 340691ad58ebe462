"""Do rungs rank as the end does? The trials that trained to their own end, at each rung and at the end."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TypedDict

from avtune.study.record import Record

_MOST_POINTS = 2_000


class Rung(TypedDict):
    """A rung, and how its order of the trials agrees with the order at their end.

    Attributes:
        epochs: the lowest and the highest epoch at which it lies.
        reached: trials that trained so far.
        stopped: trials that it stopped.
        compared: trials that went on to their own end; the other figures are of these.
        correlation: Spearman's rank correlation of their values at the rung with those at the end; None for fewer than
            three, or where all are equal.
        place: of the one that ended best, among them at the rung, from 1; None for none.
        lost: the final value that is lost by going on only with the best 1 in `factor` of them at this rung.
        points: trial, value at the rung, value at the end.
    """

    epochs: tuple[int, int]
    reached: int
    stopped: int
    compared: int
    correlation: float | None
    place: int | None
    lost: float | None
    points: list[tuple[int, float, float]]


def rungs(records: Sequence[Record], factor: int) -> list[Rung]:
    """Every rung that a trial has reached, the first one first.

    Args:
        records: of all trials.
        factor: one in so many goes on at a rung.
    """
    found = []
    for rung in range(max((len(record.trial.save_at) for record in records), default=0)):
        here = [record for record in records if record.reached(rung)]
        if not here:
            break
        found.append(_rung(here, rung, [record for record in records if _ended_by_itself(record, rung)], factor))
    return found


def _ended_by_itself(record: Record, rung: int) -> bool:
    """Whether it ended, stopped by none; one that became flat before the rung has the same value there."""
    return record.state == "COMPLETE" and record.has_rung(rung) and len(record.values) > 0


def _rung(here: Sequence[Record], rung: int, ended: Sequence[Record], factor: int) -> Rung:
    epochs = [record.trial.save_at[rung] for record in here]
    pairs = [(record.number, record.value_at(rung), record.best_value or 0.0) for record in ended]
    best = max(pairs, key=lambda pair: (pair[2], -pair[0]), default=None)
    ordered = sorted(pairs, key=lambda pair: -pair[1])
    going_on = ordered[: -(-len(pairs) // factor)]
    return {
        "epochs": (min(epochs), max(epochs)),
        "reached": len(here),
        "stopped": sum(record.state == "PRUNED" and record.stopped_at == record.trial.save_at[rung] for record in here),
        "compared": len(pairs),
        "correlation": _correlation(pairs),
        "place": None if best is None else 1 + sum(pair[1] > best[1] for pair in pairs),
        "lost": None if best is None else round(best[2] - max(pair[2] for pair in going_on), 6),
        "points": [(number, round(at, 6), round(end, 6)) for number, at, end in pairs[:_MOST_POINTS]],
    }


def _correlation(pairs: Sequence[tuple[int, float, float]]) -> float | None:
    """Spearman's rank correlation; equal values share their mean rank."""
    if len(pairs) < 3 or len({pair[1] for pair in pairs}) < 2 or len({pair[2] for pair in pairs}) < 2:
        return None
    from scipy.stats import spearmanr  # here: it takes long to import

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = spearmanr([pair[1] for pair in pairs], [pair[2] for pair in pairs])
    return round(float(found.statistic), 6)
