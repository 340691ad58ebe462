"""Who is told what happens in a study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from avtune.study.record import Record


class Listener(Protocol):
    """Is told what happens in a study, as it happens: the progress table, TensorBoard, `trials.csv`."""

    def started(self, record: Record) -> None:
        """A trial is given out, for the first time or again."""

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        """A trial has trained a further epoch; `metrics` are its finite ones."""

    def ended(self, record: Record) -> None:
        """A trial has its end, which is on record."""
