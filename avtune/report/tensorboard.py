"""Curves and hyper-parameters of a study in TensorBoard: one run a trial, the columns of the HParams tab at the root.

Tags are named so that TensorBoard, which sorts them, shows validation MAP as the first card of Time Series.

A trial has one file, and one more while it runs again. `report.board` says which trials keep every epoch.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import summary_v2 as hp
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
from tensorboard.plugins.hparams.metadata import EXPERIMENT_TAG, SESSION_END_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

from avtune.core.hyper import Value
from avtune.core.objective import VALUE, label
from avtune.report.columns import experiment, logs_of, row
from avtune.report.event_files import (
    EventFile,
    append,
    event_files,
    hparams,
    is_storable,
    rewrite,
    scalars,
    version,
    write_whole,
)
from avtune.space.space import Space

VAL_TAG = "map/val"
OBJECTIVE_TAG = "map/val_objective"
"""What the search maximises, where that is not MAP; `BEST_TAG` has the best value of it then."""
BEST_TAG = "map/val_best"
EPOCHS_TAG = "usage/epochs"
METRICS = {BEST_TAG: "best val MAP", VAL_TAG: "val MAP, last epoch", EPOCHS_TAG: "epochs"}
"""Columns of the HParams tab, which shows the last value of a scalar."""
# Files kept open between epochs, well below the 256 that macOS allows a process. A trial beyond them opens its file for
# each epoch: on a local disk that takes 80 instead of 50 microseconds.
MOST_OPEN = 100
# Groups of cards come in the order of their names: map, train, usage, winner. The first two are unfolded at first.
_TAGS = {
    "val_map": VAL_TAG,
    VALUE: OBJECTIVE_TAG,
    "val_map_a2v": "map/val_a2v",
    "val_map_v2a": "map/val_v2a",
    "seconds": "usage/seconds",
    "clips_per_second": "usage/clips_per_second",
}
_THINNED = ".some"  # at the end of a file's name: not every epoch is there
COLUMNS = "events.out.tfevents.000001"


def metrics_of(space: Space) -> dict[str, str]:
    """`METRICS`, with the name of what the space's search maximises."""
    return METRICS | {BEST_TAG: f"best {label(space.search.objective)}"}


def tag_of(name: str) -> str:
    """Where TensorBoard shows a metric of that name."""
    return _TAGS.get(name, f"train/{name}")


def trial_run(number: int) -> str:
    """The run of a trial."""
    return f"trial_{number:05d}"


@dataclass
class _Open:
    """A trial that has not ended: its file, its best value, and its last epoch in the file."""

    file: EventFile
    best: float
    last: int


class StudyBoard:
    """The TensorBoard folder of one study. For one process and one thread: the driver's.

    Args:
        logdir: the folder; made when absent. A study that continues writes beside what is there.
        space: its axes and fixed values become the columns of the HParams tab, with their domains.

    Attributes:
        outdated: the folder was there, with other columns: an avtune wrote it that named them or the tags otherwise.
            Its columns stay until `renew`.
    """

    def __init__(self, logdir: Path, space: Space) -> None:
        self._logdir = logdir
        self._logs = logs_of(space)
        self._trials: dict[int, _Open] = {}
        self._space = space
        logdir.mkdir(parents=True, exist_ok=True)
        self.outdated = bool(event_files(logdir)) and not _has_columns(logdir, space)
        if not event_files(logdir):
            write_columns(logdir, experiment(space, metrics_of(space)))

    def start(self, number: int, config: Mapping[str, Value], *, best: float = -math.inf, known: int = 0) -> None:
        """Opens a trial and writes its configuration; log-scaled values come again as `log10_<name>`.

        A trial that starts again loses its end, and its epochs after those that are known.

        Args:
            number: the trial's number.
            config: all its hyper-parameters.
            best: of a trial that goes on: its best validation MAP so far.
            known: the epochs that it has.
        """
        if number in self._trials:
            self._trials.pop(number).file.close()
        folder = self._logdir / trial_run(number)
        if event_files(folder):
            rewrite(folder, lambda step: step <= known, ended=False)
        kept = sum(trial.file.is_kept for trial in self._trials.values())
        trial = _Open(EventFile(folder, keep_open=kept < MOST_OPEN), best, known)
        self._trials[number] = trial
        trial.file.add(start_event(trial_run(number), row(config, self._logs)))

    def epoch(self, number: int, epoch: int, values: Mapping[str, float]) -> None:
        """Writes one epoch's scalars, by their tags, at step `epoch` (from 1) of a started trial; values that are not
        finite are left out, since TensorBoard cannot draw them."""
        assert epoch >= 1, epoch
        trial = self._trials[number]
        value = values.get(OBJECTIVE_TAG, values.get(VAL_TAG, math.nan))
        if is_storable(value):
            trial.best = max(trial.best, value)
        trial.last = epoch
        trial.file.add(scalars(epoch, {**values, BEST_TAG: trial.best, EPOCHS_TAG: epoch}))

    def end(self, number: int, status: Literal["COMPLETE", "PRUNED", "FAIL"], *, last: int | None = None) -> None:
        """Marks a trial as ended: a success unless it failed.

        Args:
            last: the last epoch that counts, later ones are taken out; None for all.
        """
        trial = self._trials.pop(number)
        trial.file.add(end_event(failed=status == "FAIL"))
        trial.file.close()
        if last is not None and last < trial.last:
            rewrite(self._logdir / trial_run(number), lambda step: step <= last, ended=True)

    def thin(self, number: int, keep: Collection[int]) -> None:
        """Takes all but these epochs out of a trial that has ended; again changes nothing."""
        folder = self._logdir / trial_run(number)
        if not any(path.name.endswith(_THINNED) for path in event_files(folder)[-1:]):
            rewrite(folder, lambda step: step in keep, ended=True, mark=_THINNED)

    def renew(self) -> None:
        """Writes the columns of a folder that was outdated, once its trials are written again."""
        write_columns(self._logdir, experiment(self._space, metrics_of(self._space)))
        self.outdated = False

    def close(self) -> None:
        """Closes the files; trials that have not ended stay without an end."""
        while self._trials:
            self._trials.popitem()[1].file.close()


def write_run(folder: Path, values: Mapping[str, Sequence[float]]) -> None:
    """Writes a whole training run into a folder of its own.

    Args:
        folder: does not exist.
        values: scalars of each epoch from 1 on, by their tags.
    """
    by_epoch = [dict(zip(values, of_epoch, strict=True)) for of_epoch in zip(*values.values(), strict=True)]
    write_whole(folder, [scalars(epoch, of_epoch) for epoch, of_epoch in enumerate(by_epoch, 1)])


def start_event(group: str, hypers: Mapping[str, Value]) -> Event:
    """What a run of the HParams tab begins with.

    Args:
        group: runs of one group are one row, with means.
        hypers: see `columns.row`.
    """
    return Event(summary=hp.hparams_pb(hypers, trial_id=group, start_time_secs=time.time()))


def end_event(*, failed: bool) -> Event:
    """How a run of the HParams tab ended. While there is none, the tab calls its status unknown; a first one that said
    `running` would be there for good, since TensorBoard keeps the first that it reads."""
    info = SessionEndInfo(status=STATUS_FAILURE if failed else STATUS_SUCCESS, end_time_secs=time.time())
    return hparams(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def write_columns(logdir: Path, columns: Any) -> None:
    """Writes the record that names the columns of the HParams tab, all or nothing: TensorBoard takes any such record it
    finds, so there must be one a folder, and it must be whole."""
    partial = logdir / ".columns.partial"
    with partial.open("wb") as file:
        append(file, version())
        append(file, _columns(columns))
    os.replace(partial, logdir / COLUMNS)


def _has_columns(logdir: Path, space: Space) -> bool:
    """Whether the record that names the columns is as this avtune writes it."""
    path = logdir / COLUMNS
    made = _columns(experiment(space, metrics_of(space)))
    return path.is_file() and made.summary.SerializeToString() in path.read_bytes()


def _columns(columns: Any) -> Event:
    return hparams(EXPERIMENT_TAG, HParamsPluginData(experiment=columns))
