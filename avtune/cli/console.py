"""Every sentence that a search prints, and its progress: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console as RichConsole
from rich.live import Live
from rich.table import Table

from avtune.core.protocol import PUBLISHED, SELECTED_ON_TEST, VALIDATION
from avtune.core.streams import error as error  # with these, all that a command prints goes through here
from avtune.core.streams import say as say
from avtune.core.streams import show_everything as show_everything
from avtune.report.text import duration, score_rows, score_text, short, still_rises, table, ties_text
from avtune.space.space import Space
from avtune.study.asha import expected_epochs, rung_table
from avtune.study.best import Best
from avtune.study.horizon import FEW_STEPS, Horizon
from avtune.study.record import Record
from avtune.study.results import Results
from avtune.study.study import Study

RETRY = "once the cause is mended, the same command with --retry-failed trains what failed again"
_STATES = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running"}


def plan_lines(
    horizon: Horizon,
    dataset: str,
    where: str,
    study: Path,
    *,
    done: int,
    protocol: str = VALIDATION,
    limited: Sequence[str] = (),
) -> list[str]:
    """What is about to happen, with the rung table.

    Args:
        done: trials known from before.
        protocol: of the retraining.
        limited: what cannot be taken as it was given, see `study.limits`.
    """
    space, trials = horizon.space, horizon.space.search.trials
    axes = ", ".join(axis.name for axis in space.axes) or "nothing"
    return [
        f"study      {study}" + (f" (continues, {done} of {trials} trials known)" if done else ""),
        f"dataset    {dataset}",
        f"method     {space.method}; searches {axes}",
        f"trials     {trials}, {where}",
        f"validation {_validation(space)}",
        *(
            [f"protocol   published: the epoch of every retrained model is {SELECTED_ON_TEST}"]
            * (protocol == PUBLISHED)
        ),
        *(f"note       {line}" for line in limited),
        *_few_steps(horizon),
        "",
        *(_open_plan(horizon) if horizon.open else _fixed_plan(horizon)),
        "",
    ]


def _few_steps(horizon: Horizon) -> list[str]:
    config = horizon.space.defaults()
    if not horizon.rows or "batch_size" not in config:
        return []
    steps = horizon.steps(config)
    if steps >= FEW_STEPS or int(config["batch_size"]) > horizon.rows:  # which is said by itself
        return []
    return [
        f"note       {horizon.rows} training rows in batches of {config['batch_size']} are {steps} "
        f"step{'s' * (steps > 1)} an epoch; smaller batches learn more in an epoch"
    ]


def _rungs(horizon: Horizon) -> list[tuple[int, float]]:
    space, config = horizon.space, horizon.space.defaults()
    return rung_table(space.search.trials, horizon.epochs(config), horizon.rungs(config), space.early_stopping.factor)


def _fixed_plan(horizon: Horizon) -> list[str]:
    rows = _rungs(horizon)
    expected, whole = expected_epochs(rows), horizon.space.search.trials * rows[-1][0]
    return [
        *table(
            ["rung (epoch)", "trials expected"],
            [[f"{epoch}", f"{count:.0f}"] for epoch, count in rows[:-1]]
            + [[f"{rows[-1][0]} (end)", f"{rows[-1][1]:.0f}"]],
        ),
        f"about {expected:.0f} of {whole} epochs, if good and bad trials come in random order",
    ]


def _open_plan(horizon: Horizon) -> list[str]:
    config = horizon.space.defaults()
    rows, steps, patience = _rungs(horizon), horizon.steps(config), horizon.patience(config)
    if not patience:
        return ["every trial is solved at once"]
    cells = [[str(epoch), str(epoch * steps), f"{count:.0f}"] for epoch, count in rows]
    cells[-1][0] += " (end)"
    return [
        *table(["rung (epoch)", "steps", "trials at most"], cells),
        f"a trial ends when nothing better has come for {patience} epochs, and for a third of those that it "
        "took to get there",
    ]


def _validation(space: Space) -> str:
    if space.validation.folds is not None:
        return f"{space.validation.folds} folds of the training rows"
    return f"{space.validation.fraction:.0%} of the training rows"


def result_lines(results: Results, best: Best | None) -> list[str]:
    """What ends a search, or a retraining: finalists, winner, test scores, and what a reader must know of them.

    Args:
        results: what `metrics.json` holds.
        best: what `best.yaml` holds; None for a trial that the user chose.
    """
    seeds = f"{len(results.seeds)} seed{'s' * (len(results.seeds) > 1)}"
    lines = [] if best is None else _finalist_lines(results, best, seeds)
    if not results.searched:
        lines.append(f"trial {results.trial}, chosen by hand, retrained for {results.epochs} epochs")
    lines += _test_lines(results, seeds)
    if results.tied_queries is not None:
        lines.append(ties_text(results.tied_queries))
    lines += problem_lines(results.problems or ())
    lines += [f"note: {sentence}" for sentence in still_rises(results)]
    if (times := results.times_test_was_scored) > 1:
        lines.append(
            f"note: {times} configurations of this study have been scored on its test split; say so when you publish"
        )
    if 1 < len(results.seeds) < 3:
        lines.append("note: an interval over two seeds says little; final.seeds is 5 unless you change it")
    return lines


def _finalist_lines(results: Results, best: Best, seeds: str) -> list[str]:
    rows = [
        [
            f"{row.called} (default)" if row.is_default and row.trial is not None else row.called,
            str(row.epoch),
            "failed" if row.mean is None else f"{row.mean:.4f}",
            "" if row.sd is None else f"{row.sd:.4f}",
        ]
        for row in best.finalists
    ]
    return [
        f"finalists, repeated over {seeds} on the validation rows",
        *table(["trial", "epoch", "val MAP", "sd"], rows),
        "",
        f"winner: trial {best.trial}, retrained on the whole training set for {results.epochs} epochs",
        *["the winner is the default configuration: this search found nothing better"]
        * bool(results.default_is_winner),
    ]


def _test_lines(results: Results, seeds: str) -> list[str]:
    bootstrap = results.test.map.bootstrap
    assert bootstrap is not None
    label, lines = "", []
    if results.label is not None:
        label = f" ({results.label})"
        epochs = ", ".join(map(str, results.best_epochs or ()))
        lines.append(f"each seed keeps the epoch with the best test MAP, as published tables do{label}: {epochs}")
    rows = [[name, *map(score_text, row.shown)] for name, row in score_rows(results)]
    return [
        *lines,
        "",
        f"test split{label}: mean over {seeds}, 95 % interval over the seeds",
        *table(["", "map", "audio->visual", "visual->audio", "map_running"], rows),
        f"over the queries (bootstrap) the 95 % interval of map is {bootstrap[0]:.4f} to {bootstrap[1]:.4f}{label}",
    ]


def failed_lines(study: Study) -> list[str]:
    """What a study with failed trials ends with."""
    failed = [record for record in study.records if record.state == "FAIL"]
    if not failed:
        return []
    first = f"first: trial {failed[0].number}: {failed[0].reason}"
    return [
        "",
        f"{len(failed)} of {len(study.records)} trials failed ({first})",
        RETRY,
    ]


def data_lines(facts: Mapping[str, Any]) -> list[str]:
    """What `data info` prints of `data.info.describe`."""
    ranges = [
        [name.replace("_", " "), *(f"{value[key]:.3f}" for key in ("min", "max", "mean", "std"))]
        for name, value in facts["ranges"].items()
    ]
    return [
        f"{facts['name']}: {facts['num_train']} training and {facts['num_test']} test clips, "
        f"{facts['num_classes']} classes, audio {facts['audio_dim']}-d, visual {facts['visual_dim']}-d",
        f"source  {facts['source']}",
        f"digest  {facts['digest']}",
        "",
        *table(
            ["class", "train", "test"], [[row["name"], str(row["train"]), str(row["test"])] for row in facts["classes"]]
        ),
        "",
        *table(["view", "min", "max", "mean", "std"], ranges),
        "",
        *(problem_lines(facts["problems"]) or ["no problems found"]),
        *(f"note: {note}" for note in facts["notes"]),
    ]


def problem_lines(problems: Sequence[str]) -> list[str]:
    """What touches the test score, see `data.findings`."""
    return [f"problem: {problem}" for problem in problems]


class Progress:
    """Shows a search as it goes; a `study.Listener`. Use it as a context manager around the run."""

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
