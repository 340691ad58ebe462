"""Writes what happens in a study to its TensorBoard folder, and keeps that folder small.

While a trial runs, every epoch is there to see. Once it has ended, the best trials keep every epoch, the others those
of their rungs, their best and their last one. So a study of 1,000 trials has a small file a trial, and opens quickly.
"""

from __future__ import annotations

import heapq
import math
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from avtune.core.files import using
from avtune.report.tensorboard import StudyBoard, tag_of, trial_run
from avtune.study.curves import AgainLine, EpochLine, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.record import Record

FULL = 50
"""The best trials that have ended: so many keep every epoch."""


class BoardListener:
    """A `study.listener.Listener`.

    Args:
        board: writes the files.
        folder: where they are.
    """

    def __init__(self, board: StudyBoard, folder: Path) -> None:
        self._board = board
        self._folder = folder
        self._best: list[tuple[float, int, Record]] = []  # a heap of those that keep every epoch

    def known(self, folder: StudyFolder, records: Iterable[Record]) -> None:
        """Takes the trials of a study that is continued. Those of a folder that another avtune wrote, whose columns and
        tags have other names, are written again from `curves.jsonl`."""
        ended = [record for record in records if record.state != "RUNNING" and record.values]
        if self._board.outdated:
            with using(self._folder):
                self._write_again(folder, {record.number: record for record in records})
                self._board.renew()
        self._best = []
        for record in ended:
            self._keep_or_thin(record)

    def started(self, record: Record) -> None:
        self._best = [one for one in self._best if one[2] is not record]
        heapq.heapify(self._best)
        best = record.best_value
        with using(self._folder):
            self._board.start(
                record.number,
                record.trial.config,
                best=-math.inf if best is None else best,
                known=record.values.last,
            )

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        with using(self._folder):
            self._board.epoch(record.number, epoch, {tag_of(name): value for name, value in metrics.items()})

    def ended(self, record: Record) -> None:
        assert record.state != "RUNNING"
        with using(self._folder):
            self._board.end(record.number, record.state, last=record.values.last)
            self._keep_or_thin(record)

    def _keep_or_thin(self, record: Record) -> None:
        """Lets a trial that has ended keep every epoch, if it is among the best; the one whose place it takes does so
        no more."""
        value = -math.inf if record.best_value is None or record.state == "FAIL" else record.best_value
        heapq.heappush(self._best, (value, -record.number, record))
        if len(self._best) > FULL:
            loser = heapq.heappop(self._best)[2]
            keep = {*loser.trial.save_at, loser.best_epoch or 0, loser.values.last}
            if not keep.issuperset(range(1, loser.values.last + 1)):
                self._board.thin(loser.number, keep)

    def _write_again(self, folder: StudyFolder, records: Mapping[int, Record]) -> None:
        epochs = epochs_of(folder)
        for number, record in records.items():
            shutil.rmtree(self._folder / trial_run(number), ignore_errors=True)
            if record.state == "RUNNING" and number not in epochs:  # not begun
                continue
            self._board.start(number, record.trial.config)
            for epoch, said in enumerate(epochs.get(number, [])[: record.values.last], 1):
                self._board.epoch(number, epoch, said)
            if record.state != "RUNNING":
                self._board.end(number, record.state)


def epochs_of(folder: StudyFolder) -> dict[int, list[dict[str, float]]]:
    """The scalars of every epoch that counts, by their tags, of each trial, from `curves.jsonl`.

    Raises:
        UserError: the file is damaged.
    """
    epochs: dict[int, list[dict[str, float]]] = {}
    lines, _ = read_curves(folder.curves, repair=False)
    for line in lines:
        known = epochs.setdefault(line.trial, [])
        if isinstance(line, AgainLine):
            known.clear()
        elif isinstance(line, EpochLine):
            known.append(_scalars(line.said))
        else:
            del known[line.epochs :]
    return epochs


def _scalars(said: Mapping[str, Any]) -> dict[str, float]:
    left = {name: value for name, value in said.items() if name not in ("trial", "epoch")}
    return {tag_of(name): value for name, value in left.items() if isinstance(value, int | float)}
