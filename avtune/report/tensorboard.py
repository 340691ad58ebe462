"""Curves and hyper-parameters of a study as TensorBoard event files: one folder a trial, the columns at the root.

Written record by record with `tensorboard` alone (no TensorFlow, no `torch.utils.tensorboard`) and without threads:
what a call writes is in the file when it returns. An epoch is one record.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import summary_v2 as hp
from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS, Experiment, HParamInfo
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    NULL_TENSOR,
    SESSION_END_INFO_TAG,
    create_summary_metadata,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from avtune.core.hyper import Value
from avtune.space.axis import Axis
from avtune.space.space import Space

BEST_TAG = "objective/best"
# Files kept open between epochs, well below the 256 that macOS allows a process. A trial beyond them opens its file for
# each epoch: on a local disk that takes 80 instead of 50 microseconds.
MOST_OPEN = 100
_TAGS = {
    "val_map": "val/map",
    "val_map_a2v": "val/map_a2v",
    "val_map_v2a": "val/map_v2a",
    "seconds": "time/seconds",
    "clips_per_second": "time/clips_per_second",
}
_LARGEST = 3.4028234e38  # scalars are stored as float32


def tag_of(name: str) -> str:
    """Where TensorBoard shows a metric of that name."""
    return _TAGS.get(name, f"train/{name}")


class StudyBoard:
    """The TensorBoard folder of one study. For one process and one thread: the driver's.

    Args:
        logdir: the folder; made when absent. A study that continues writes beside what is there.
        space: its axes and fixed values become the columns of the HParams tab, with their domains.
        objective: the scalar to maximise; its running maximum is written as `objective/best`, because the HParams tab
            shows the last value of a curve.
        metrics: further scalars to show as columns of that tab.
    """

    def __init__(self, logdir: Path, space: Space, *, objective: str = "val_map", metrics: Iterable[str] = ()) -> None:
        self._logdir = logdir
        self._objective = objective
        self._logs = {axis.name for axis in space.axes if axis.log}
        self._trials: dict[int, _TrialFile] = {}
        logdir.mkdir(parents=True, exist_ok=True)
        if not _event_files(logdir):
            _write_columns(logdir, _columns(space), (BEST_TAG, objective, *metrics))

    def start(self, number: int, config: Mapping[str, Value], *, best: float = -math.inf) -> None:
        """Opens a trial and writes its configuration; log-scaled values come again as `log10_<name>`.

        A trial that starts a second time gets a second file: its epochs from then on replace those of the first.

        Args:
            number: the trial's number.
            config: all its hyper-parameters.
            best: for a trial that goes on from a checkpoint: its best objective so far.
        """
        if number in self._trials:
            self._trials.pop(number).close()
        name = f"trial_{number:05d}"
        row = {**config, **{f"log10_{key}": math.log10(config[key]) for key in sorted(self._logs)}}  # type: ignore[arg-type]
        kept = sum(trial.is_kept for trial in self._trials.values())
        self._trials[number] = _TrialFile(self._logdir / name, best, keep_open=kept < MOST_OPEN)
        self._trials[number].add(Event(summary=hp.hparams_pb(row, trial_id=name, start_time_secs=time.time())))

    def epoch(self, number: int, epoch: int, scalars: Mapping[str, float]) -> None:
        """Writes one epoch's scalars at step `epoch` (from 1) of a started trial; values that are not finite are left
        out, since TensorBoard cannot draw them."""
        assert epoch >= 1, epoch
        trial = self._trials[number]
        finite = {tag: float(value) for tag, value in scalars.items() if abs(value) <= _LARGEST}
        if self._objective in finite:
            trial.best = max(trial.best, finite[self._objective])
        if math.isfinite(trial.best):
            finite[BEST_TAG] = trial.best
        if not trial.has_epochs:  # drops epochs >= this one of earlier files (TensorBoard ignores the first of a run)
            trial.add(Event(step=epoch, session_log=SessionLog(status=SessionLog.START)))
            trial.has_epochs = True
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in finite.items()]
        trial.add(Event(step=epoch, summary=Summary(value=values)))

    def end(self, number: int, status: Literal["COMPLETE", "PRUNED", "FAIL"]) -> None:
        """Marks a trial as ended: a success unless it failed."""
        trial = self._trials.pop(number)
        info = SessionEndInfo(status=STATUS_FAILURE if status == "FAIL" else STATUS_SUCCESS, end_time_secs=time.time())
        trial.add(Event(summary=_hparams(SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))))
        trial.close()

    def close(self) -> None:
        """Closes the files; trials that have not ended stay without an end."""
        while self._trials:
            self._trials.popitem()[1].close()


def write_run(folder: Path, scalars: Mapping[str, Sequence[float]]) -> None:
    """Writes a whole training run into a folder of its own.

    Args:
        folder: does not exist.
        scalars: values of each epoch from 1 on, by their tags.
    """
    folder.mkdir(parents=True)
    run = _TrialFile(folder, -math.inf, keep_open=True)
    for epoch, values in enumerate(zip(*scalars.values(), strict=True), 1):
        finite = {tag: value for tag, value in zip(scalars, values, strict=True) if abs(value) <= _LARGEST}
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in finite.items()])
        run.add(Event(step=epoch, summary=summary))
    run.close()


class _TrialFile:
    """A new event file of one trial. Never one of an earlier process: that may end in half a record."""

    def __init__(self, folder: Path, best: float, *, keep_open: bool) -> None:
        folder.mkdir(exist_ok=True)
        # Numbered, because TensorBoard reads the files of a folder in the order of their names.
        number = len(_event_files(folder)) + 1
        while (path := folder / f"events.out.tfevents.{number:06d}").exists():
            number += 1
        self._path = path
        self._kept: IO[bytes] | None = path.open("ab") if keep_open else None
        self.best = best
        self.has_epochs = False
        self.add(_version())

    @property
    def is_kept(self) -> bool:
        return self._kept is not None

    def add(self, event: Event) -> None:
        if self._kept:
            _append(self._kept, event)
        else:
            with self._path.open("ab") as file:
                _append(file, event)

    def close(self) -> None:
        if self._kept:
            self._kept.close()


def _append(file: IO[bytes], event: Event) -> None:
    event.wall_time = time.time()
    RecordWriter(file).write(event.SerializeToString())
    file.flush()


def _version() -> Event:
    return Event(file_version="brain.Event:2", source_metadata=SourceMetadata(writer="avtune"))


def _event_files(folder: Path) -> list[Path]:
    return list(folder.glob("*tfevents*"))


def _columns(space: Space) -> list[Any]:
    """What the HParams tab shows of a trial: searched hyper-parameters first, each with its domain."""
    columns = []
    for axis in space.axes:
        columns.append(_column(axis.name, _domain(axis), searched=True))
        if axis.log:
            assert axis.low is not None
            assert axis.high is not None
            assert f"log10_{axis.name}" not in space.defaults()
            exponents = hp.RealInterval(math.log10(axis.low), math.log10(axis.high))
            columns.append(_column(f"log10_{axis.name}", exponents, searched=True))
    columns += [_column(name, hp.Discrete([value]), searched=False) for name, value in space.fixed.items()]
    return columns


def _column(name: str, domain: Any, *, searched: bool) -> Any:
    info = HParamInfo(name=name, differs=searched)  # TensorBoard lists what differs first
    domain.update_hparam_info(info)
    return info


def _domain(axis: Axis) -> Any:
    if axis.kind == "choice":
        return hp.Discrete(axis.values)
    assert axis.low is not None
    assert axis.high is not None
    return hp.RealInterval(float(axis.low), float(axis.high))


def _write_columns(logdir: Path, columns: list[Any], tags: tuple[str, ...]) -> None:
    """Writes the one record that names the columns, all or nothing: TensorBoard takes any such record it finds, so
    there must be one a study, and it must be whole."""
    metrics = [hp.Metric(tag).as_proto() for tag in dict.fromkeys(tags)]
    experiment = Experiment(hparam_infos=columns, metric_infos=metrics, time_created_secs=time.time())
    partial = logdir / ".columns.partial"
    with partial.open("wb") as file:
        _append(file, _version())
        _append(file, Event(summary=_hparams(EXPERIMENT_TAG, HParamsPluginData(experiment=experiment))))
    os.replace(partial, logdir / "events.out.tfevents.000001")


def _hparams(tag: str, data: Any) -> Any:
    """A summary of the HParams plugin: everything is in its metadata."""
    return Summary(value=[Summary.Value(tag=tag, metadata=create_summary_metadata(data), tensor=NULL_TENSOR)])
