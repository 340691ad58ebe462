"""When trials and the runs of the finals were trained, and what the study has cost."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypedDict

from avtune.core.trained_on import TrainedOn
from avtune.study.folder import StudyFolder
from avtune.study.record import Record
from avtune.study.run_lines import read_runs

Times = Mapping[int, tuple[float, float | None]]


class DeviceRows(TypedDict):
    """The rows of a device.

    Attributes:
        name: `GPU 1, engine 3`; empty for trials and runs of which it is not known.
        rows: how many, one below the other.
    """

    name: str
    rows: int


class Timeline(TypedDict):
    """When trials, and the runs of the finals, were under way.

    Attributes:
        begun: the first moment, as text (UTC).
        bars: trial, row, seconds from the first moment to its suggestion, and to its end; the end of one that has none
            is the last moment that is known. Rows are places that a trial keeps while it is under way: a device has as
            many as trials and runs were under way on it at a time.
        runs: the same of the runs of the finals, with their stage in the place of a trial; without those of old
            studies, whose times are not on record.
        rows: how many.
        devices: in the order of their rows; empty where no trial says where it was trained, as in old studies.
        moved: the devices of a trial that was trained on several, by its number; its row is the last one's.
        told: ends are the moments at which the sampler was told, later than the training's (deterministic mode).
    """

    begun: str
    bars: list[tuple[int, int, float, float]]
    runs: list[tuple[str, int, float, float]]
    rows: int
    devices: list[DeviceRows]
    moved: dict[str, str]
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


@dataclass(frozen=True)
class _Span:
    """What was under way from one moment to another: a trial, by its number, or a run of the finals, by its stage."""

    of: int | str
    begun: float
    ended: float
    device: str


def timeline(
    times: Times, records: Sequence[Record], *, deterministic: bool, runs: Sequence[Mapping[str, Any]] = ()
) -> Timeline | None:
    """None before the first trial.

    Args:
        times: `Study.times`.
        records: of all trials, by number.
        deterministic: of the study.
        runs: the lines of the finals' runs.
    """
    if not times:
        return None
    places = {record.number: [where.text for _, where in record.places] for record in records}
    finals = [_span_of_run(run) for run in runs if {"begun", "ended"} <= run.keys()]
    first, last = _ends(times)
    last = max([last, *(span.ended for span in finals)])
    spans = finals + [
        _Span(number, begun, last if end is None else end, (places.get(number) or [""])[-1])
        for number, (begun, end) in times.items()
    ]
    bars: list[tuple[int, int, float, float]] = []
    of_runs: list[tuple[str, int, float, float]] = []
    devices: list[DeviceRows] = []
    above = 0
    for name in sorted({span.device for span in spans}, key=_in_order):
        on_it = sorted((span for span in spans if span.device == name), key=lambda span: (span.begun, str(span.of)))
        rows = _rows([(span.begun, span.ended) for span in on_it])
        for span, row in zip(on_it, rows, strict=True):
            when = (above + row, round(span.begun - first, 2), round(span.ended - first, 2))
            if isinstance(span.of, int):
                bars.append((span.of, *when))
            else:
                of_runs.append((span.of, *when))
        devices.append({"name": name, "rows": max(rows) + 1})
        above += max(rows) + 1
    return {
        "begun": moment(first),
        "bars": bars,
        "runs": of_runs,
        "rows": above,
        "devices": devices if any(span.device for span in spans) else [],
        "moved": {str(number): ", then ".join(where) for number, where in places.items() if len({*where}) > 1},
        "told": deterministic,
    }


def _span_of_run(run: Mapping[str, Any]) -> _Span:
    where = TrainedOn.from_json(run.get("on"))
    return _Span(run.get("stage", "finals"), run["begun"], run["ended"], "" if where is None else where.text)


def _rows(spans: Sequence[tuple[float, float]]) -> list[int]:
    """For spans in the order of their beginnings, the first row that is free at each."""
    taken: list[float] = []  # until when each row is
    rows = []
    for begun, until in spans:
        row = next((row for row, end in enumerate(taken) if end <= begun), len(taken))
        taken[row:] = [until] if row == len(taken) else [until, *taken[row + 1 :]]
        rows.append(row)
    return rows


def _in_order(name: str) -> list[tuple[bool, int, str]]:
    """Names with their numbers in order, what is not known last."""
    parts = re.findall(r"\d+|\D+", name) or ["\uffff"]
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


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
    runs = read_runs(folder.repeats, repair=False)
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
