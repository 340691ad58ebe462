"""Writes what happens in a study to its TensorBoard folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from avtune.core.files import using
from avtune.report.tensorboard import StudyBoard, tag_of
from avtune.study.record import Record


class BoardListener:
    """A `study.listener.Listener`.

    Args:
        board: writes the files.
        folder: where they are.
    """

    def __init__(self, board: StudyBoard, folder: Path) -> None:
        self._board = board
        self._folder = folder

    def started(self, record: Record) -> None:
        best = record.best_value
        with using(self._folder):
            self._board.start(record.number, record.trial.config, best=-math.inf if best is None else best)

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        with using(self._folder):
            self._board.epoch(record.number, epoch, {tag_of(name): value for name, value in metrics.items()})

    def ended(self, record: Record) -> None:
        assert record.state != "RUNNING"
        with using(self._folder):
            self._board.end(record.number, record.state)
