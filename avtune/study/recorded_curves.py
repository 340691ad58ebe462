"""Recorded validation curves: what configurations of a space came to on a dataset, run by run, in one compressed file.

The file (`*.jsonl.xz`) is JSON lines, compressed by xz: a head, then one line a run. The head says which space, how
many training rows, and how the runs were made; a run says its configuration, its seed, and validation MAP and device
seconds of every epoch. `benchmarks/record_curves.py` makes such files; the curves of a study are read from its folder.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avtune.core.errors import UserError
from avtune.core.files import using, write_bytes
from avtune.core.hyper import Value
from avtune.core.schema import fitting
from avtune.space.recorded import recorded_space
from avtune.space.space import Space
from avtune.study.curves import AgainLine, EpochLine, read_curves
from avtune.study.folder import StudyFolder
from avtune.study.watch import DefaultsOf, StudyWatch, with_defaults

SUFFIX = ".jsonl.xz"
FORMAT = 1
_MOST_BYTES = 200_000_000  # unpacked; a file of ours has a few million
_HEAD = {
    "curves": int,
    "space": {"method": str, "space": {}},
    "defaults": {str: (float, str, bool)},
    "rows": int,
    "precision": str,
    "about": {str: str},
}
_RUN = {"config": int, "values": {str: (float, str, bool)}, "seed": int, "map": [float], "seconds": [float]}


@dataclass(frozen=True)
class RecordedRun:
    """One configuration trained with one seed.

    Attributes:
        number: of the configuration, from 0; runs with other seeds have the same.
        config: values of the searched axes.
        seed: which of the seeds, from 0.
        curve: validation MAP by epoch, from the first.
        seconds: device seconds of each epoch; a lane's share of what its lanes took together.
        whole: whether it was trained until its own end; False for a trial that a rung stopped.
    """

    number: int
    config: Mapping[str, Value]
    seed: int
    curve: tuple[float, ...]
    seconds: tuple[float, ...]
    whole: bool = True


@dataclass(frozen=True)
class RecordedCurves:
    """Runs of configurations of one space on one dataset.

    Attributes:
        space: what they were drawn from, with the settings they were trained with.
        rows: training rows of a run.
        precision: of the runs.
        about: how they were made: dataset, command, date, machine; words by name.
        runs: all of them.
    """

    space: Space
    rows: int
    precision: str
    about: Mapping[str, str]
    runs: Sequence[RecordedRun]

    @property
    def by_configuration(self) -> dict[int, list[RecordedRun]]:
        """The runs of each configuration, in the order of their seeds."""
        found: dict[int, list[RecordedRun]] = {}
        for run in sorted(self.runs, key=lambda run: (run.number, run.seed)):
            found.setdefault(run.number, []).append(run)
        return found

    def to_bytes(self) -> bytes:
        """As the file holds them: MAP in five digits, seconds in four."""
        head = {
            "curves": FORMAT,
            "space": self.space.as_dict(),
            "defaults": {axis.name: axis.default for axis in self.space.axes},
            "rows": self.rows,
            "precision": self.precision,
            "about": dict(self.about),
        }
        lines = [head, *map(run_line, self.runs)]
        text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
        return lzma.compress(text.encode(), preset=9)


def run_line(run: RecordedRun) -> dict[str, Any]:
    """A run as a line of the file."""
    return {
        "config": run.number,
        "values": dict(run.config),
        "seed": run.seed,
        "map": [round(value, 5) for value in run.curve],
        "seconds": [round(value, 4) for value in run.seconds],
    }


def run_of(line: Any, path: Path) -> RecordedRun:
    """The run that a line tells of.

    Args:
        path: of the file, for messages.

    Raises:
        UserError: the line is not one of a run.
    """
    said = fitting(line, _RUN, path)
    if len(said["map"]) != len(said["seconds"]) or not said["map"]:
        raise UserError(f"{path} is damaged: a run's curve lacks epochs; restore it from a copy")
    return RecordedRun(said["config"], said["values"], said["seed"], tuple(said["map"]), tuple(said["seconds"]))


def shipped() -> dict[str, Path]:
    """The files of recorded curves that come with avtune, by the name of their dataset."""
    package = Path(__file__).parents[1]
    folders = (package.parent / "benchmarks" / "curves", package / "curves")  # of a checkout, of an installation
    return {path.name.removesuffix(SUFFIX): path for folder in folders for path in sorted(folder.glob(f"*{SUFFIX}"))}


def write_curves(path: Path, curves: RecordedCurves) -> None:
    """Writes the file, which is replaced as a whole."""
    write_bytes(path, curves.to_bytes(), private=False)


def read_recorded(path: Path) -> RecordedCurves:
    """The curves of a file.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    lines = _lines(path)
    head = next(lines, None)
    if not isinstance(head, dict) or "curves" not in head:
        raise UserError(f"{path} holds no recorded curves")
    if head["curves"] != FORMAT:
        raise UserError(f"{path} has format {head['curves']!r}; this avtune reads format {FORMAT}")
    said = fitting(head, _HEAD, path)
    space = with_defaults(recorded_space(said["space"], path), said["defaults"])
    runs = [run_of(line, path) for line in lines]
    if not runs or said["rows"] < 1:
        raise UserError(f"{path} holds no runs; record some with: python -m benchmarks.record_curves")
    names = {axis.name for axis in space.axes}
    if any(set(run.config) != set(space.active_part(run.config)) or not names >= set(run.config) for run in runs):
        raise UserError(f"{path} is damaged: a run is of another space; restore it from a copy")
    return RecordedCurves(space, said["rows"], said["precision"], said["about"], runs)


def curves_of_study(folder: StudyFolder, defaults_of: DefaultsOf = lambda name: None) -> RecordedCurves:
    """The curves of a study's trials, those that were stopped included; one run a configuration.

    Args:
        defaults_of: see `StudyWatch`.

    Raises:
        UserError: a file of the study is damaged, or no trial has a curve.
    """
    watch = StudyWatch(folder, defaults_of)
    axes = [axis.name for axis in watch.space.axes]
    seconds = _seconds(folder)
    runs = [
        RecordedRun(
            record.number,
            {name: record.trial.config[name] for name in axes if name in record.trial.config},
            0,
            tuple(record.values.values()),
            seconds[record.number][: record.values.last],
            whole=record.state == "COMPLETE" and record.stopped_at is None,
        )
        for record in watch.records
        if record.state in ("COMPLETE", "PRUNED") and record.values
    ]
    if not any(run.whole for run in runs):
        raise UserError(f"{folder.root} has no trial that trained to its end; give another study as --curves")
    about = {"study": folder.root.name, "dataset": str(watch.settings["dataset"]["name"])}
    return RecordedCurves(
        watch.space, int(watch.settings.get("rows", 0)), str(watch.settings["precision"]), about, runs
    )


def _seconds(folder: StudyFolder) -> dict[int, tuple[float, ...]]:
    """Device seconds of every epoch, by trial."""
    found: dict[int, list[float]] = {}
    lines, _ = read_curves(folder.curves, repair=False)
    for line in lines:
        if isinstance(line, AgainLine):
            found.pop(line.trial, None)
        elif isinstance(line, EpochLine):
            found.setdefault(line.trial, []).append(line.seconds)
    return {trial: tuple(seconds) for trial, seconds in found.items()}


def _lines(path: Path) -> Iterator[Any]:
    """What the lines of a compressed file hold. A file can ask for any amount of memory and unpack to any size: both
    are limited.

    Raises:
        UserError: it cannot be read.
    """
    unpacking = lzma.LZMADecompressor(memlimit=_MOST_BYTES)
    try:
        with using(path, "read"), path.open("rb") as file:
            text = unpacking.decompress(file.read(_MOST_BYTES), max_length=_MOST_BYTES + 1)
        if len(text) > _MOST_BYTES:
            raise UserError(f"{path} holds more than {_MOST_BYTES:,} bytes; it is no file of ours")
        if not unpacking.eof:
            raise UserError(f"{path} is damaged (its end is missing); restore it from a copy")
        yield from (json.loads(line) for line in text.splitlines())
    except UserError:
        raise
    except (lzma.LZMAError, EOFError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); restore it from a copy") from None
