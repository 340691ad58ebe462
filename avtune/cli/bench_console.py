"""What `avtune bench` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from avtune.cli import console
from avtune.cli.data_text import problem_lines
from avtune.cli.display import event
from avtune.cli.search_console import SearchConsole
from avtune.report.text import score_text
from avtune.space.settings import AUTO
from avtune.workflows.bench.board import Board, Row
from avtune.workflows.bench.leaderboard import default_text, text
from avtune.workflows.bench.listener import BenchPlan
from avtune.workflows.bench.rules import Rules
from avtune.workflows.dataset_facts import dataset_line

_RANKING = ("", "method", "map", "tuned - default", "group")
"""Columns of the leaderboard that a narrow terminal shows."""


class BenchConsole:
    """Prints a bench as it goes; a `workflows.bench.listener.BenchListener`."""

    def planned(self, plan: BenchPlan) -> None:
        """The plan, with what is wrong with the dataset."""
        known = f" (continues, {plan.finished} of {len(plan.methods)} methods known)"
        console.say(
            *problem_lines(plan.problems),
            f"bench      {plan.root}{known if plan.finished is not None else ''}",
            f"dataset    {dataset_line(plan.dataset)}",
            f"methods    {', '.join(plan.methods)}",
            f"each       {plan.rules.trials} trials {_length(plan.rules)}, {plan.rules.seeds} seeds",
            f"runner     {plan.where}",
            "",
        )

    def known(self, row: Row) -> None:
        """Its scores."""
        self.finished(row)

    def started(self, method: str, place: int, count: int) -> SearchConsole:
        """A heading for what the search prints."""
        console.say("")
        event(f"{method} ({place} of {count})")
        return SearchConsole(brief=True, title=f"{method} ({place} of {count})")

    def finished(self, row: Row) -> None:
        """Its scores."""
        event(f"{row.method}: test MAP {score_text(row.results.test.map)}, default {default_text(row)}")

    def failed(self, method: str, reason: str) -> None:
        """Why it has no row."""
        event(f"{method}: no result: {reason}")

    def done(self, board: Board, files: Sequence[Path]) -> None:
        """The leaderboard, and where it is."""
        console.say("", *text(board, lay_out), "")
        console.say(*(f"written    {path}" for path in files))


def lay_out(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The leaderboard, or where the terminal is too narrow for it, the columns that rank it."""
    if console.fits(header, rows):
        return console.fitting(header, rows)
    kept = [place for place, name in enumerate(header) if name in _RANKING]
    few = [[row[place] for place in kept] for row in (header, *rows)]
    return [*console.fitting(few[0], few[1:]), "(a wider terminal, and the files below, have all columns)"]


def _length(rules: Rules) -> str:
    return f"of at most {rules.epochs} epochs" if rules.epochs != AUTO else "until their curves are flat"
