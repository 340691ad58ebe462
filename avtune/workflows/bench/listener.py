"""What a bench tells while it runs; who shows it is the caller's choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from avtune.data.dataset import Dataset
from avtune.workflows.bench.board import Board, Row
from avtune.workflows.bench.rules import Rules
from avtune.workflows.listening import SearchListener, Silent


@dataclass(frozen=True)
class BenchPlan:
    """What a bench is about to do.

    Attributes:
        root: the folder of the bench.
        dataset: loaded and checked.
        methods: in the order of the runs.
        rules: what is the same for all.
        where: runner, placement and precision, in words.
        problems: of the dataset, which touch the test score.
        finished: the number of methods that have a result; None for a new bench.
    """

    root: Path
    dataset: Dataset
    methods: Sequence[str]
    rules: Rules
    where: str
    problems: Sequence[str] = ()
    finished: int | None = None


class BenchListener(Protocol):
    """Is told what happens in a bench, in this order; `known` before any method is started."""

    def planned(self, plan: BenchPlan) -> None:
        """The bench begins, or goes on."""

    def known(self, row: Row) -> None:
        """A method was finished before."""

    def started(self, method: str, place: int, count: int) -> SearchListener:
        """A method's search begins.

        Args:
            method: its name.
            place: of the method in the bench, from 1.
            count: methods of the bench.

        Returns:
            Who is told what happens in the search.
        """

    def finished(self, row: Row) -> None:
        """A method's search and retraining are done."""

    def failed(self, method: str, reason: str) -> None:
        """A method has no row."""

    def done(self, board: Board, files: Sequence[Path]) -> None:
        """The leaderboard is written, into these files among others."""


class SilentBench:
    """A `BenchListener` that does nothing."""

    def planned(self, plan: BenchPlan) -> None:
        return None

    def known(self, row: Row) -> None:
        return None

    def started(self, method: str, place: int, count: int) -> SearchListener:
        return Silent()

    def finished(self, row: Row) -> None:
        return None

    def failed(self, method: str, reason: str) -> None:
        return None

    def done(self, board: Board, files: Sequence[Path]) -> None:
        return None
