"""How far a search is, as lines for a terminal of any width: the live table of `avtune search` and `avtune status`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avtune.cli.display import Line
from avtune.core.hyper import Value
from avtune.core.words import plural
from avtune.report.text import duration, short
from avtune.runners.placement_text import Places
from avtune.study.record import Record
from avtune.study.summary import Summary
from avtune.study.time_left import TimeLeft

_LABEL = 11  # columns of the labels
_MOST_RUNNING = 20


@dataclass(frozen=True)
class Stage:
    """A stage of the finals: so many of its runs have ended. `total` is None where it is not known."""

    name: str
    done: int
    total: int | None

    @property
    def text(self) -> str:
        """E.g. `finalists: 3 of 20 runs done`."""
        if self.total is None:
            return f"{self.name}: {plural(self.done, 'run')} done"
        return f"{self.name}: {self.done} of {plural(self.total, 'run')} done"


@dataclass(frozen=True)
class RunningTrial:
    """A trial that is being trained, as it was at one moment; `value` and `best` are None before its first epoch."""

    number: int
    epochs: int
    value: float | None
    best: float | None
    config: Mapping[str, Value]

    @classmethod
    def of(cls, record: Record) -> RunningTrial:
        """What a record says now."""
        values = list(record.values.values())
        last = values[-1] if values else None
        return cls(record.number, len(values), last, max(values, default=None), record.trial.config)


@dataclass(frozen=True)
class SearchView:
    """What the table shows.

    Attributes:
        title: of the search, e.g. its study and its method.
        axes: names of the hyper-parameters that are searched.
        done: trials by state, rungs and the best one.
        running: trials that are trained now, or wait for an engine.
        places: where they are trained; None where that is not known.
        alive: a process works on the search.
        elapsed: seconds since it began; None where that is not known.
        rate: epochs a second of late; None where it is not known.
        left: wall seconds that it will still take; None where nothing is known of that.
        stage: of the finals; None before them.
        doing: a step that takes its time, else empty.
        asked: trials that the search was asked for, of which it may suggest fewer; 0 where that is not known.
        value_name: of what is maximised on the validation rows.
    """

    title: str
    axes: Sequence[str]
    done: Summary
    running: Sequence[RunningTrial]
    places: Places | None
    alive: bool = True
    elapsed: float | None = None
    rate: float | None = None
    left: TimeLeft | None = None
    stage: Stage | None = None
    doing: str = ""
    asked: int = 0
    value_name: str = "val MAP"


def search_lines(view: SearchView, columns: int, rows: int | None = None) -> list[Line]:
    """The table.

    Args:
        columns: that a line may take; from 40 on all that is shown is whole.
        rows: that there are; trials that are running take what is left of them. None shows none of them.
    """
    head = [
        (_title(view, columns), "bold"),
        *_labelled("trials", _trials(view), columns),
        *_labelled("speed", _speed(view), columns),
        *_rungs(view.done, columns),
        *_best(view, columns),
        *_labelled("finals", "" if view.stage is None else view.stage.text, columns),
        *_labelled("time left", left_text(view.left, view.stage is not None), columns),
        *_labelled("now", view.doing, columns),
    ]
    space = 0 if rows is None else min(_MOST_RUNNING, rows - len(head) - 2)
    return head if space < 1 or not view.running else [*head, *_running(view, columns, space)]


def progress_text(view: SearchView) -> str:
    """The table in one line."""
    parts = [f"{view.done.ended} of {view.done.trials} trials ended"]
    if view.alive:
        parts.append(f"{len(view.running)} running")
    if view.done.failed:
        parts.append(f"{view.done.failed} failed")
    if view.rate:
        parts.append(f"{view.rate:.3g} epochs a second")
    if view.done.best is not None:
        parts.append(f"best {view.value_name} {view.done.best.best_value:.4f} (trial {view.done.best.number})")
    if left := left_text(view.left, view.stage is not None):
        parts.append(f"time left: {left}")
    return ", ".join(parts)


def left_text(left: TimeLeft | None, in_finals: bool) -> str:
    """`about 5 min: search 3 min, finals 2 min`; empty where nothing is known."""
    if left is None:
        return ""
    if in_finals:
        return "" if left.finals is None else f"about {duration(left.finals)}"
    if left.search is None:
        return ""
    about = "at most" if left.at_most else "about"
    if left.total is None or left.finals is None:
        return f"search {about} {duration(left.search)}, then the finals"
    return f"{about} {duration(left.total)}: search {duration(left.search)}, finals {duration(left.finals)}"


def _title(view: SearchView, columns: int) -> str:
    elapsed = "" if view.elapsed is None else duration(view.elapsed)
    gap = columns - len(view.title) - len(elapsed)
    return view.title + " " * gap + elapsed if elapsed and gap > 1 else view.title


def _labelled(label: str, text: str, columns: int) -> list[Line]:
    """A label and its text, which is folded; none where the text is empty."""
    if not text:
        return []
    parts = textwrap.wrap(text, max(10, columns - _LABEL), break_on_hyphens=False)
    return [(f"{label if not place else '':<{_LABEL}}{part}", "") for place, part in enumerate(parts)]


def _trials(view: SearchView) -> str:
    done = view.done
    ended = [(done.complete, "complete"), (done.stopped, "stopped"), (done.failed, "failed")]
    words = ", ".join(f"{count} {word}" for count, word in ended if count)
    parts = [f"{done.ended} of {done.trials} ended" + (f" ({words})" if words else "")]
    running = len(view.running)
    if view.alive and view.places is not None:  # a few are given out ahead of need
        running = min(running, view.places.at_a_time)
    if running:
        parts.append(f"{running} {'running' if view.alive else 'interrupted'}")
    if to_come := done.trials - done.ended - running:
        parts.append(f"{to_come} to come")
    if view.asked > done.trials:
        parts.append(f"ended early: {view.asked} were asked for")
    return ", ".join(parts)


def _speed(view: SearchView) -> str:
    parts = []
    if view.alive and view.places is not None and view.stage is None:
        busy = min(len(view.running), view.places.at_a_time)
        parts.append(f"{busy} of {view.places.at_a_time} {view.places.unit} busy")
    if view.rate is not None:
        parts.append(f"{view.rate:.3g} epochs a second")
    if view.stage is None:
        parts.append(f"{view.done.epochs} epochs")
    return ", ".join(parts)


def _rungs(done: Summary, columns: int) -> list[Line]:
    """The rungs as columns, as many as fit, from the first one on."""
    if len(done.rungs) < 2:
        return []
    compared = done.rungs[:-1]
    table = [
        ["epoch", *(str(rung.epoch) for rung in compared), "end"],
        ["reached", *(str(rung.reached) for rung in done.rungs)],
        ["stopped", *(str(rung.stopped) for rung in compared), ""],
        ["went on", *(str(rung.went_on) for rung in compared), ""],
    ]
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    fits, used = 0, _LABEL
    for wide in widths:
        used += wide + 2
        fits += used - 2 <= columns
    lines = []
    for place, row in enumerate(table):
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(wide) for cell, wide in zip(row[1:fits], widths[1:], strict=False)),
        ]
        lines.append((f"{'' if place else 'rungs':<{_LABEL}}{'  '.join(cells)}".rstrip(), ""))
    return lines


def _best(view: SearchView, columns: int) -> list[Line]:
    best = view.done.best
    if best is None:
        return []
    config = best.trial.config
    searched = " ".join(f"{name}={short(config[name])}" for name in view.axes if name in config)
    text = f"{view.value_name} {best.best_value:.4f}, trial {best.number}, epoch {best.best_epoch}"
    return [*_labelled("best", text, columns), *_labelled(" ", searched, columns)]


def _running(view: SearchView, columns: int, most: int) -> list[Line]:
    """The trials that are running: the last ones, each with the searched hyper-parameters that fit."""
    shown = list(view.running)[-most:]
    header = ["trial", "epoch", view.value_name, "best", *view.axes]
    rows = [_row(trial, view.axes) for trial in shown]
    widths = [max(map(len, cells)) for cells in zip(header, *rows, strict=True)]
    fits, used = 0, 0
    for wide in widths:
        used += wide + 2
        fits += used - 2 <= columns
    lines = [
        "  ".join(cell.rjust(wide) for cell, wide in zip(row[:fits], widths, strict=False)) for row in (header, *rows)
    ]
    return [("", ""), (lines[0], "dim"), *((line, "") for line in lines[1:])]


def _row(trial: RunningTrial, axes: Sequence[str]) -> list[str]:
    values = ["" if value is None else f"{value:.4f}" for value in (trial.value, trial.best)]
    return [str(trial.number), str(trial.epochs), *values, *(short(trial.config.get(name, "")) for name in axes)]
