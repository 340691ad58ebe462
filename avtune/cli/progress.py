"""The progress of a search: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Self

from avtune.cli import console
from avtune.cli.display import Display, Line, event
from avtune.cli.pace import FINALISTS, RETRAINING, Rate, StageClock
from avtune.cli.search_table import RunningTrial, SearchView, progress_text, search_lines
from avtune.core.objective import MAP, label
from avtune.core.protocol import VALIDATION
from avtune.core.words import plural
from avtune.report.text import duration
from avtune.runners.placement_text import Places, places_of
from avtune.study.record import Record
from avtune.study.study import Study
from avtune.study.summary import Summary, summary
from avtune.study.time_left import TimeLeft, finals_cost, finals_left, time_left

_STATES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running"}
_EVERY_SECONDS = 0.25
_REST = 50  # and at least so many times what counting took: it grows with the study
_SILENCE = 60.0  # seconds after which a line says how far it is, where there is no table


class Progress:
    """Shows a search as it goes; a `study.listener.Listener`, and told of stages. Use it as a context manager around
    all that it is told of, and `training` around the training.

    Args:
        total: trials that are asked for; 0 where there is no search, but runs of stages.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._title = ""
        self._inside = False  # of the block that it is used for
        self._where = ""
        self._protocol = VALIDATION
        self._study: Study | None = None
        self._running: dict[int, Record] = {}
        self._done: Summary | None = None
        self._left: TimeLeft | None = None
        self._last: list[Line] = []
        self._due = 0.0
        self._start = self._said = time.monotonic()
        self._rate = Rate()
        self._clock = StageClock()
        self._best: Record | None = None
        self._best_value: float | None = None  # with which it became the best
        self._ended = 0
        self.display = Display()

    def __enter__(self) -> Self:
        self._inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.display.__exit__(kind, value, trace)

    def training(self) -> AbstractContextManager[object]:
        """Shows what happens in the block that it is used for."""
        return _Training(self)

    def known(self, study: Study) -> None:
        """Counts what a continued study has done before."""
        self._study = study
        self._title = self._title or f"{study.folder.root.name}: {study.space.method}"
        self._ended = sum(record.state != "RUNNING" for record in study.records)
        self._take(study.best)

    def started(self, record: Record) -> None:
        self._running[record.number] = record

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        self._rate.add(1)
        self.display.done()
        self._better(record)
        if not self.display.live and time.monotonic() - self._said > _SILENCE:
            self._say(progress_text(self.view()))

    def ended(self, record: Record) -> None:
        self._running.pop(record.number, None)
        self._ended += 1
        self._better(record)
        if record.state == "FAIL" or not self.display.live:
            self._say(self._line(record))

    def stage(self, name: str, done: int, total: int) -> None:
        """So many runs of a stage have ended; 0 when it begins."""
        self._clock.set(name, done, total)
        self.display.done()
        if done == total:
            self._say(f"{name}: {plural(total, 'run')} done in {duration(self._clock.elapsed)}")
            if name.startswith(RETRAINING):
                self.display.step("scoring the test split")
        elif not self.display.live and not done:
            self._say(f"{name}: {plural(total, 'run')}")
        elif not self.display.live and done % 5 == 0:
            self._say(f"{name}: {done} of {plural(total, 'run')} done")

    @property
    def _value_name(self) -> str:
        return label(MAP.text if self._study is None else self._study.space.search.objective)

    def view(self) -> SearchView:
        """What the table shows now."""
        study = self._study
        self._count()
        assert self._done is not None
        places = places_of(self._where)
        left = self._left if self._clock.stage is None else self._finals_left(places)
        return SearchView(
            title=self._title,
            axes=[] if study is None else [axis.name for axis in study.space.axes],
            done=self._done,
            running=[RunningTrial.of(record) for record in list(self._running.values())],
            places=places,
            elapsed=time.monotonic() - self._start,
            rate=None if self._clock.stage is not None else self._rate.value,
            left=left,
            stage=self._clock.stage,
            doing=self.display.doing,
            asked=0 if study is None else study.space.search.trials,
            value_name=self._value_name,
        )

    def lines(self, columns: int, rows: int) -> list[Line]:
        """The live table. It is drawn by a thread of its own: where the search changes a record that is being read,
        the lines of a quarter of a second ago stay."""
        if self._total:
            with contextlib.suppress(LookupError, ValueError):
                self._last = search_lines(self.view(), columns, rows)
            return self._last
        stage = self._clock.stage
        if stage is None:
            return [(self.display.doing, "")]
        left = self._clock.left(1)
        words = [stage.text, duration(self._clock.elapsed), *([] if left is None else [f"about {duration(left)} left"])]
        return [(", ".join(words), "")]

    # -- inside ----------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        """Counts the trials anew, if it is time."""
        start = time.monotonic()
        if start < self._due:
            return
        study = self._study
        records = [] if study is None else list(study.records)
        horizon = None if study is None else study.horizon
        self._done = summary(records, self._total if study is None else study.trials, horizon)
        places = places_of(self._where)
        if horizon is not None and places is not None:
            self._left = time_left(
                self._done,
                records,
                horizon,
                processes=places.processes,
                rate=self._rate.value,
                protocol=self._protocol,
            )
        self._due = time.monotonic() + max(_EVERY_SECONDS, _REST * (time.monotonic() - start))

    def _finals_left(self, places: Places | None) -> TimeLeft:
        """What the stage takes still, and where it is the repeats, the retrainings after it."""
        stage, study = self._clock.stage, self._study
        assert stage is not None
        if study is None or places is None or self._done is None:
            return TimeLeft(0.0, None)
        retraining = stage.name.startswith(RETRAINING)
        left = finals_left(
            finals_cost(self._done, study.records, study.space, self._protocol),
            self._clock.left(places.at_a_time),
            self._clock.elapsed if retraining or stage.name == FINALISTS else None,
            retraining=retraining,
            processes=places.processes,
        )
        return TimeLeft(0.0, left)

    def _say(self, text: str) -> None:
        event(text)
        self._said = time.monotonic()

    def _better(self, record: Record) -> None:
        """Takes it if it is better than the best. What the best one is may have been taken back: it failed, or what it
        trained past a rung that stopped it does not count."""
        best, taken = self._best, self._best_value
        if best is not None and taken is not None and (best.state == "FAIL" or (best.best_value or 0.0) < taken):
            self._take(None if self._study is None else self._study.best)
        if record.best_value is None or record.state == "FAIL":
            return
        if self._best_value is None or self._best_value < record.best_value:
            self._take(record)

    def _take(self, best: Record | None) -> None:
        self._best, self._best_value = best, None if best is None else best.best_value

    def _line(self, record: Record) -> str:
        at = f"[{self._ended}/{self._total}]"
        if record.state == "FAIL":
            return f"{at} trial {record.number} failed: {record.reason} (details in log.txt)"
        assert record.best_value is not None
        best = ""
        if self._best is not None and self._best_value is not None:
            best = f"  best {self._best_value:.4f} (trial {self._best.number})"
        epochs = record.values.last
        return (
            f"{at} trial {record.number:<4} {_STATES[record.state]:<8} after {epochs:>3} epochs  "
            f"{self._value_name} {record.best_value:.4f} (epoch {record.best_epoch}){best}"
        )

    def begin(self) -> None:
        """The training begins."""
        self._start = time.monotonic()
        self._rate = Rate()
        self.display.table(self.lines)
        self.display.step("the first epoch and its validation" if self._total else "the first run")

    def end(self, *, done: bool) -> None:
        """The training is over. What stays on a terminal is the summary; the rows have had their time.

        Args:
            done: nothing was raised.
        """
        self.display.done()
        self.display.hide()
        if self._total and self.display.live:
            self._due = 0.0
            over = replace(self.view(), alive=False, rate=None, left=None)
            console.say(f"{progress_text(over)}, {duration(time.monotonic() - self._start)}")
        if self._inside and done:
            self.display.step("ending the processes and writing the report")


class _Training:
    """The block in which a `Progress` is told of training."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> Progress:
        self._progress.begin()
        return self._progress

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.end(done=kind is None)
