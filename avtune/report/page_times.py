"""When trials were trained, and what the study has cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict

from avtune.core.files import read_lines
from avtune.core.schema import fitting
from avtune.study.folder import StudyFolder
from avtune.study.record import Record

Times = Mapping[int, tuple[float, float | None]]
_RUN = {"curve": {str: float}, "seconds": float, "failure?": str}


class Timeline(TypedDict):
    """When trials were under way.

    Attributes:
        begun: the first moment, as text (UTC).
        bars: trial, row, seconds from the first moment to its suggestion, and to its end; the end of one that has none
            is the last moment that is known. Rows are places that a trial keeps while it is under way: their number is
            that of the trials under way at a time, and they are no devices.
        rows: how many.
        told: ends are the moments at which the sampler was told, later than the training's (deterministic mode).
    """

    begun: str
    bars: list[tuple[int, int, float, float]]
    rows: int
    told: bool


class Cost(TypedDict):
    """What the study has cost.

    Attributes:
        trials: by state.
        epochs: of the search, as far as they count.
        search_seconds: device seconds of these epochs.
        finals_runs, finals_epochs, finals_seconds: of finalists and retrainings.
        finals_failed: runs of these that failed.
        span_seconds: from the first suggestion to the last end of a trial, pauses included.
    """

    trials: dict[str, int]
    epochs: int
    search_seconds: float
    finals_runs: int
    finals_epochs: int
    finals_seconds: float
    finals_failed: int
    span_seconds: float


def timeline(times: Times, *, deterministic: bool) -> Timeline | None:
    """None before the first trial.

    Args:
        times: `Study.times`.
        deterministic: of the study.
    """
    if not times:
        return None
    first, last = _ends(times)
    rows: list[float] = []  # until when each is taken
    bars = []
    for number, (begun, end) in sorted(times.items(), key=lambda item: (item[1][0], item[0])):
        until = last if end is None else end
        place = next((row for row, taken in enumerate(rows) if taken <= begun), len(rows))
        rows[place:] = [until] if place == len(rows) else [until, *rows[place + 1 :]]
        bars.append((number, place, round(begun - first, 2), round(until - first, 2)))
    return {"begun": moment(first), "bars": bars, "rows": len(rows), "told": deterministic}


def _ends(times: Times) -> tuple[float, float]:
    begun = [start for start, _ in times.values()]
    return min(begun), max([*begun, *(end for _, end in times.values() if end is not None)])


def moment(seconds: float) -> str:
    """A moment in seconds since 1970 as `2026-11-26 13:58 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def span(times: Times) -> tuple[str, str] | None:
    """The first and the last moment at which something happened to a trial; None before the first trial."""
    if not times:
        return None
    first, last = _ends(times)
    return moment(first), moment(last)


def cost(records: Sequence[Record], times: Times, folder: StudyFolder) -> Cost:
    """What it has cost so far."""
    runs = _finals(folder)
    first, last = _ends(times) if times else (0.0, 0.0)
    return {
        "trials": {
            state: sum(record.state == state for record in records)
            for state in ("COMPLETE", "PRUNED", "FAIL", "RUNNING")
        },
        "epochs": sum(record.values.last for record in records),
        "search_seconds": round(sum(record.seconds for record in records), 3),
        "finals_runs": len(runs),
        "finals_epochs": sum(len(run["curve"]) for run in runs),
        "finals_seconds": round(sum(run["seconds"] for run in runs), 3),
        "finals_failed": sum("failure" in run for run in runs),
        "span_seconds": round(last - first, 3),
    }


def _finals(folder: StudyFolder) -> list[dict[str, Any]]:
    """The runs of the finals, every one that was done."""
    lines, _ = read_lines(folder.repeats, repair=False)
    return [fitting(line, _RUN, folder.repeats) for line in lines]
