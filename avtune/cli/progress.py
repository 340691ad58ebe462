"""The progress of a search: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table

from avtune.cli.console import say
from avtune.report.text import duration, short
from avtune.study.record import Record
from avtune.study.study import Study

_STATES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running"}


class Progress:
    """Shows a search as it goes; a `study.listener.Listener`. Use it as a context manager around the run."""

    def __init__(self, total: int, *, quiet: bool = False) -> None:
        self._total = total
        self._running: dict[int, Record] = {}
        self._ended = 0
        self._best: Record | None = None
        self._start = time.monotonic()
        self._quiet = quiet
        self._live = (
            None
            if quiet or not sys.stdout.isatty()
            else Live(console=RichConsole(file=sys.stdout), refresh_per_second=4)
        )

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            # What stays on the screen is the summary; the rows have had their time.
            self._live.update(self._title() if self._total else "")
            self._live.stop()

    def training(self) -> Progress:
        """Shows what happens in the block that it is used for."""
        return self

    def known(self, study: Study) -> None:
        """Counts what a continued study has done before."""
        self._ended = sum(record.state != "RUNNING" for record in study.records)
        self._best = study.best

    def started(self, record: Record) -> None:
        self._running[record.number] = record
        self._refresh()

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        self._better(record)
        self._refresh()

    def ended(self, record: Record) -> None:
        self._running.pop(record.number, None)
        self._ended += 1
        self._better(record)
        if self._live is not None:
            if record.state == "FAIL":
                self._live.console.print(self._line(record), markup=False, highlight=False)
            self._refresh()
        elif not self._quiet:
            say(self._line(record))

    def stage(self, name: str, done: int, total: int) -> None:
        """A run of the final stages has ended."""
        if self._quiet:
            return
        if self._live is not None:
            self._live.update(f"{name}: {done} of {total} runs")
            if done == total:
                self._live.console.print(f"{name}: {total} runs done")
        elif done == total or done % 5 == 0:
            say(f"{name}: {done} of {total} runs done")

    def _better(self, record: Record) -> None:
        if record.best_value is None or record.state == "FAIL":
            return
        if self._best is None or (self._best.best_value or 0.0) < record.best_value:
            self._best = record

    def _line(self, record: Record) -> str:
        at = f"[{self._ended}/{self._total}]"
        if record.state == "FAIL":
            return f"{at} trial {record.number} failed: {record.reason} (details in log.txt)"
        assert record.best_value is not None
        best = ""
        if self._best is not None and self._best.best_value is not None:
            best = f"  best {self._best.best_value:.4f} (trial {self._best.number})"
        epochs = record.values.last
        return (
            f"{at} trial {record.number:<4} {_STATES[record.state]:<8} after {epochs:>3} epochs  "
            f"val MAP {record.best_value:.4f} (epoch {record.best_epoch}){best}"
        )

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _title(self) -> str:
        best = self._best
        title = f"{self._ended} of {self._total} trials, {duration(time.monotonic() - self._start)}"
        if best is not None and best.best_value is not None:
            title += f", best validation MAP {best.best_value:.4f} (trial {best.number}, epoch {best.best_epoch})"
        return title

    def _table(self) -> Table:
        grid = Table(title=self._title(), title_justify="left", box=None)
        for name in ("trial", "epoch", "val MAP", "best", "configuration"):
            grid.add_column(name, no_wrap=True)
        for record in list(self._running.values())[-20:]:
            last = record.values.last
            grid.add_row(
                str(record.number),
                f"{last}/{record.trial.epochs}",
                f"{record.values[last]:.4f}" if last else "",
                f"{record.best_value:.4f}" if record.best_value is not None else "",
                " ".join(f"{name}={short(value)}" for name, value in list(record.trial.config.items())[:6]),
            )
        return grid
