"""Several studies in one TensorBoard folder: their runs below their names, and one record of the columns of all.

Made of the studies' own event files. A folder of studies is no such folder: each has a record of its columns, and
TensorBoard takes any one of them; and trials of the same number would be one row.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams.metadata import (
    EXPERIMENT_TAG,
    parse_experiment_plugin_data,
    parse_session_start_info_plugin_data,
)

from avtune.core.errors import UserError
from avtune.core.files import using
from avtune.core.hyper import Value
from avtune.report.columns import merged
from avtune.report.event_files import event_files, read_events, read_run, write_whole
from avtune.report.tensorboard import COLUMNS, METRICS, start_event, write_columns
from avtune.report.winner_board import WINNER
from avtune.study.folder import StudyFolder


@dataclass(frozen=True)
class Shown:
    """A study that is shown: its folder, and the words of further columns, e.g. its method."""

    folder: StudyFolder
    words: Mapping[str, str]


def write_compare_board(logdir: Path, studies: Mapping[str, Shown]) -> None:
    """Writes the folder; it appears under its name when it is complete.

    Args:
        logdir: does not exist, or is one of these, which is replaced.
        studies: by the names of their runs.

    Raises:
        UserError: the folder holds something else, or a study has no event files of this avtune.
    """
    if logdir.exists() and not (logdir / COLUMNS).is_file():
        raise UserError(f"{logdir} exists and holds something else; give another --tensorboard")
    experiments = [_experiment(one.folder) for one in studies.values()]
    words = [one.words for one in studies.values()]
    columns = merged(experiments, {name: [one[name] for one in words] for name in words[0]})
    with using(logdir):
        logdir.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=logdir.parent, prefix=f".{logdir.name}-"))
        try:
            for name, one in studies.items():
                _copy(one, name, made)
            write_columns(made, columns)
            shutil.rmtree(logdir, ignore_errors=True)
            made.rename(logdir)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _experiment(folder: StudyFolder) -> Any:
    """The record of a study's columns."""
    path = folder.tensorboard / COLUMNS
    for event in read_events(path) if path.is_file() else []:
        for value in event.summary.value:
            if value.tag == EXPERIMENT_TAG:
                found = parse_experiment_plugin_data(value.metadata.plugin_data.content)
                if [metric.name.tag for metric in found.metric_infos] == list(METRICS):
                    return found
    raise UserError(
        f"{folder.tensorboard} is missing, or of an older avtune\n"
        "give the command of that search again: it writes the folder anew, and trains nothing that is done"
    )


def _copy(one: Shown, name: str, made: Path) -> None:
    """Copies the runs of a study: those that are rows of the HParams tab with a row of their own."""
    source = one.folder.tensorboard
    for folder in sorted({path.parent for path in source.rglob("*tfevents*")} - {source}):
        run = f"{name}/{folder.relative_to(source).as_posix()}"
        if folder == source / WINNER:
            shutil.copytree(folder, made / run)
        elif event_files(folder):
            _copy_run(folder, made / run, name, one.words)


def _copy_run(folder: Path, to: Path, name: str, words: Mapping[str, str]) -> None:
    found = read_run(folder)
    if found.start is None:
        return
    info = parse_session_start_info_plugin_data(found.start.summary.value[0].metadata.plugin_data.content)
    hypers: dict[str, Value] = {
        key: getattr(value, value.WhichOneof("kind") or "string_value") for key, value in info.hparams.items()
    }
    start: Event = start_event(f"{name}/{info.group_name}", {f"0.{key}": word for key, word in words.items()} | hypers)
    start.wall_time = found.start.wall_time
    end = [found.end] if found.end is not None else []
    write_whole(to, [start, *(event for _, event in sorted(found.steps.items())), *end])
