"""The trials of a study as the report page has them: a column for each fact, and their curves, thinned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.study.record import Record

WHOLE = 50
"""The curves of so many trials, the best, are there in full."""
MOST_POINTS = 600
"""Points of a curve at most, of those too."""
_SHARED = 120_000
"""Points that all other curves have together."""
_FEWEST, _MOST = 8, 30
"""Points that each of them has at least and at most."""
LETTERS = {"COMPLETE": "C", "PRUNED": "P", "FAIL": "F", "RUNNING": "R"}


class AxisColumn(TypedDict):
    """A searched hyper-parameter and its value in every trial.

    Attributes:
        name: of the hyper-parameter.
        log: it is sampled in the logarithm.
        low, high: its range; None for a choice.
        choices: its values as text; None for a range.
        values: of each trial, a number; of a choice the place in `choices`; None where its condition does not hold.
    """

    name: str
    log: bool
    low: float | None
    high: float | None
    choices: list[str] | None
    values: list[float | None]


class Trials(TypedDict):
    """All trials, by number.

    Attributes:
        states: a letter each: Complete, Pruned (stopped at a rung), Failed, Running.
        epochs: trained.
        best_epoch, value: the epoch with the highest validation MAP, and that MAP; None before the first epoch.
        seconds: device seconds.
        reasons: why a trial failed, by number.
        axes: the searched hyper-parameters.
        fixed: the other ones, as text.
    """

    states: str
    epochs: list[int]
    best_epoch: list[int | None]
    value: list[float | None]
    seconds: list[float]
    reasons: dict[str, str]
    axes: list[AxisColumn]
    fixed: dict[str, str]


class Line(TypedDict):
    """The curve of a trial.

    Attributes:
        trial: its number.
        epochs: those of `values`; None for 1, 2, 3, ...
        values: validation MAP in ten-thousandths, which takes less room than decimals.
    """

    trial: int
    epochs: list[int] | None
    values: list[int]


class Curves(TypedDict):
    """Learning curves.

    Attributes:
        lines: best trial first; trials without an epoch are left out.
        whole: so many from the first on have every epoch (at most `MOST_POINTS`).
        rungs: the epochs at which most trials are compared.
        other_rungs: some trials have other epochs for the same number of steps.
    """

    lines: list[Line]
    whole: int
    rungs: list[int]
    other_rungs: bool


def trials(records: Sequence[Record], axes: Sequence[Axis], fixed: dict[str, Value]) -> Trials:
    """The columns of the trials.

    Args:
        records: of all trials, by number.
        axes: what is searched.
        fixed: the other hyper-parameters.
    """
    return {
        "states": "".join(LETTERS[record.state] for record in records),
        "epochs": [record.values.last for record in records],
        "best_epoch": [record.best_epoch for record in records],
        "value": [rounded(record.best_value) for record in records],
        "seconds": [round(record.seconds, 3) for record in records],
        "reasons": {str(record.number): record.reason for record in records if record.reason},
        "axes": [_column(axis, [record.trial.config.get(axis.name) for record in records]) for axis in axes],
        "fixed": {name: str(value) for name, value in fixed.items()},
    }


def rounded(value: float | None) -> float | None:
    """A validation MAP with the digits of `trials.csv`."""
    return None if value is None else round(value, 6)


def _column(axis: Axis, values: Iterable[Value | None]) -> AxisColumn:
    choices = [str(one) for one in axis.values] if axis.kind == "choice" else None
    places = {one: float(place) for place, one in enumerate(axis.values)}
    return {
        "name": axis.name,
        "log": axis.log,
        "low": axis.low,
        "high": axis.high,
        "choices": choices,
        "values": [None if one is None else places[one] if choices is not None else _short(one) for one in values],
    }


def _short(value: Value) -> float:
    """A number with six digits, a whole one with all."""
    return value if isinstance(value, int) else float(f"{float(value):.6g}")


def curves(ranked: Sequence[Record], most: int | None = None) -> Curves:
    """The learning curves.

    Args:
        ranked: the trials with at least an epoch, best first.
        most: leave out all but so many of the best.
    """
    shown = ranked[:most]
    rest = max(1, len(shown) - WHOLE)
    points = max(_FEWEST, min(_MOST, _SHARED // rest))
    rungs: dict[tuple[int, ...], int] = {}
    for record in ranked:
        rungs[tuple(record.trial.save_at)] = rungs.get(tuple(record.trial.save_at), 0) + 1
    usual = max(rungs, key=lambda one: rungs[one], default=())
    longest = max((record.values.last for record in ranked), default=0)
    return {
        "lines": [_line(one, MOST_POINTS if place < WHOLE else points) for place, one in enumerate(shown)],
        "whole": min(WHOLE, len(shown)),
        "rungs": [epoch for epoch in usual if epoch <= longest],
        "other_rungs": len(rungs) > 1,
    }


def _line(record: Record, points: int) -> Line:
    epochs = thinned(record, points)
    values = [round(10_000 * record.values[epoch]) for epoch in epochs]
    return {"trial": record.number, "epochs": None if len(epochs) == record.values.last else epochs, "values": values}


def thinned(record: Record, points: int) -> list[int]:
    """At most about so many epochs of a curve, ascending: the first, the last, the best one, those of rungs, and others
    at even distances."""
    last = record.values.last
    if last <= points:
        return list(range(1, last + 1))
    kept = {1, last, record.best_epoch or 1, *(epoch for epoch in record.trial.save_at if epoch <= last)}
    free = max(1, points - len(kept))
    kept.update(round(1 + place * (last - 1) / free) for place in range(free + 1))
    return sorted(kept)
