"""TensorBoard event files, written record by record with `tensorboard` alone (no TensorFlow, no
`torch.utils.tensorboard`) and without threads: what a call writes is in the file when it returns.

TensorBoard reads the files of a folder in the order of their names and takes a folder for one run. Of a run that was
begun again it keeps the *first* end of a trial and the *first* configuration; so files are rewritten, not added to,
where those change.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog, SourceMetadata
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.metadata import (
    NULL_TENSOR,
    SESSION_END_INFO_TAG,
    SESSION_START_INFO_TAG,
    create_summary_metadata,
)
from tensorboard.summary.writer.record_writer import RecordWriter

_LARGEST = 3.4028234e38  # scalars are stored as float32


def is_storable(value: float) -> bool:
    """Whether TensorBoard can draw a scalar: it is finite, also as float32."""
    return abs(value) <= _LARGEST


def append(file: IO[bytes], event: Event) -> None:
    """Writes one record; it is in the file when this returns. Keeps the time that the event has, if it has one."""
    _put(RecordWriter(file), event)
    file.flush()


def _put(writer: RecordWriter, event: Event) -> None:
    event.wall_time = event.wall_time or time.time()
    writer.write(event.SerializeToString())


def version() -> Event:
    """The first record of every file."""
    return Event(file_version="brain.Event:2", source_metadata=SourceMetadata(writer="avtune"))


def scalars(step: int, values: Mapping[str, float]) -> Event:
    """A record with the scalars of one step, by their tags; those that TensorBoard cannot draw are left out."""
    drawn = {tag: value for tag, value in values.items() if is_storable(value)}
    made = [Summary.Value(tag=tag, simple_value=value) for tag, value in drawn.items()]
    return Event(step=step, summary=Summary(value=made))


def hparams(tag: str, data: Any) -> Event:
    """A record of the HParams plugin: everything is in its metadata."""
    value = Summary.Value(tag=tag, metadata=create_summary_metadata(data), tensor=NULL_TENSOR)
    return Event(summary=Summary(value=[value]))


def tensor(tag: str, metadata: Any, proto: Any, step: int) -> Event:
    """A record with a tensor: a text, or a precision-recall curve."""
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=proto)]))


def event_files(folder: Path) -> list[Path]:
    """In the order in which TensorBoard reads them."""
    return sorted(folder.glob("*tfevents*"))


class EventFile:
    """A new event file of one run. Never one of an earlier process: that may end in half a record.

    Args:
        folder: of the run; made when absent.
        keep_open: between records; else the file is opened for each.
    """

    def __init__(self, folder: Path, *, keep_open: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = _next(folder)
        self._path = path
        self._kept: IO[bytes] | None = path.open("ab") if keep_open else None
        self.add(version())

    @property
    def is_kept(self) -> bool:
        return self._kept is not None

    def add(self, event: Event) -> None:
        if self._kept:
            try:
                append(self._kept, event)
            except BaseException:
                self._kept.close()
                raise
        else:
            with self._path.open("ab") as file:
                append(file, event)

    def close(self) -> None:
        if self._kept:
            self._kept.close()


def write_whole(folder: Path, events: list[Event], mark: str = "") -> None:
    """Writes a run's file at once, all or nothing, in the place of those that are there.

    Args:
        mark: comes at the end of its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = event_files(folder)
    partial = folder / ".partial"
    with partial.open("wb") as file:
        writer = RecordWriter(file)
        for event in [version(), *events]:
            _put(writer, event)
    os.replace(partial, _next(folder, mark))
    for path in before:
        path.unlink(missing_ok=True)


@dataclass
class Run:
    """What the files of a run hold.

    Attributes:
        start: the last record of its configuration.
        end: the last record of its end.
        steps: its records of scalars, by their steps, as TensorBoard has them.
    """

    start: Event | None = None
    end: Event | None = None
    steps: dict[int, Event] = field(default_factory=dict)


def read_run(folder: Path) -> Run:
    """Reads the files of a run; what follows a damaged record of a file is left out."""
    run = Run()
    for path in event_files(folder):
        for event in read_events(path):
            tags = {value.tag for value in event.summary.value}
            if event.HasField("session_log"):
                run.steps = {step: one for step, one in run.steps.items() if step < event.step}
            elif SESSION_START_INFO_TAG in tags:
                run.start = event
            elif SESSION_END_INFO_TAG in tags:
                run.end = event
            elif tags and event.step > 0:
                run.steps[event.step] = event
    return run


def rewrite(folder: Path, keep: Callable[[int], bool], *, ended: bool, mark: str = "") -> None:
    """Puts one file in the place of a run's files.

    Args:
        keep: the steps that stay.
        ended: its end stays.
        mark: see `write_whole`.
    """
    run = read_run(folder)
    kept = [event for step, event in sorted(run.steps.items()) if keep(step)]
    # Has a TensorBoard that has read the files before forget their steps.
    purge = [Event(step=1, session_log=SessionLog(status=SessionLog.START))] if kept else []
    edges = [[event] if event is not None else [] for event in (run.start, run.end if ended else None)]
    write_whole(folder, [*edges[0], *purge, *kept, *edges[1]], mark)


def read_events(path: Path) -> list[Event]:
    """The whole records of a file: length (8 bytes), its checksum (4), content, its checksum (4). A kill can have torn
    the last one."""
    data, events, at = path.read_bytes(), [], 0
    while at + 12 <= len(data):
        begin = at + 12
        at = begin + int.from_bytes(data[at : at + 8], "little") + 4
        if at > len(data):
            break
        try:
            events.append(Event.FromString(data[begin : at - 4]))
        except DecodeError:
            break
    return events


def _next(folder: Path, mark: str = "") -> Path:
    last = max((int(path.name.split(".")[3]) for path in event_files(folder) if _is_ours(path)), default=0)
    return folder / f"events.out.tfevents.{last + 1:06d}{mark}"


def _is_ours(path: Path) -> bool:
    parts = path.name.split(".")
    return len(parts) > 3 and parts[3].isdigit()
