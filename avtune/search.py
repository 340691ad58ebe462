"""The whole search as the command line runs it: open or make the study, run it, name the winner, write the report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from avtune import console
from avtune.aggregate.final import Workshop, finish
from avtune.data.dataset import Dataset
from avtune.data.prepare import for_search
from avtune.errors import UserError, choices, did_you_mean
from avtune.machine import Wish, environment, fast_precision, slots
from avtune.methods import METHODS, hypers_of
from avtune.report.page import page
from avtune.report.tensorboard import StudyBoard
from avtune.runners import inline, tune_lanes, tune_processes
from avtune.runners._base import Runner, Slots
from avtune.space import Space, parse
from avtune.study.folder import StudyFolder, to_yaml, write_text
from avtune.study.study import Record, Study

RUNNERS: dict[str, Runner] = {"lanes": tune_lanes.opened, "processes": tune_processes.opened, "inline": inline.opened}
_FORMAT = 1


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        dataset: loaded and checked.
        spec: how the user named it.
        space: the checked space, overrides included.
        folder: where the study is or will be.
        wish: how trials are placed.
        runner: a name of `RUNNERS`, None to choose.
        precision: `fp32`, `bf16`, or None to choose; of the search, the retraining is fp32.
        deterministic: the same result however many devices.
    """

    dataset: Dataset
    spec: str
    space: Space
    folder: StudyFolder
    wish: Wish
    runner: str | None = None
    precision: str | None = None
    deterministic: bool = False


def search(request: Request) -> dict[str, Any]:
    """Runs a search to its end, or continues it; a finished one is shown again.

    Returns:
        What `final/metrics.json` holds.

    Raises:
        UserError: something the user gave is wrong; a new study leaves no folder behind then.
        NoWinner: every trial failed.
    """
    name, runner = runner_named(request.runner)
    folder, space = request.folder, request.space
    places = slots(request.wish, name, space.search.trials)
    validation = space.validation
    folds = for_search(request.dataset, fraction=validation.fraction, folds=validation.folds, seed=space.search.seed)
    precision = _precision(request, places)
    settings = _settings(request, name, precision)
    changes: list[str] = []
    if folder.exists:
        changes = changes_of(folder, settings, request.space)
    else:
        folder.create(settings, environment())
    with folder.locked():
        if changes:
            old = folder.settings()
            settings["changes"] = [*old.get("changes", []), *changes]
            write_text(folder.study_yaml, to_yaml(settings))
        progress = console.Progress(space.search.trials)
        board = StudyBoard(folder.tensorboard, space, objective="val/map")
        study = Study(
            folder,
            space,
            deterministic=request.deterministic,
            precision=precision,
            listeners=[progress, _Board(board)],
        )
        try:
            if study.repaired:
                console.say("the last line of a study file was cut off by a kill; it was repaired")
            for note in space.notes():
                console.say(f"note: {note}")
            console.say(
                *console.plan_lines(
                    space,
                    _dataset_line(request),
                    f"runner {name}: {places.text}, {precision}",
                    folder.root,
                    done=len(study.records),
                )
            )
            progress.known(study)
            if study.exhausted and folder.metrics.is_file() and not changes:
                console.say("this study is finished; here is its result again", "")
                return _show(study)
            with progress, runner(places, data_bytes(request.dataset, len(folds))) as run:
                if not study.exhausted:
                    run(study, folds)
                study.close()
                finish(study, request.dataset, folds, Workshop(run, progress.stage))
            return _show(study)
        finally:
            study.close()
            board.close()
            write_report(study)


def runner_named(name: str | None) -> tuple[str, Runner]:
    """The runner that the user named, or the one for this machine.

    Raises:
        UserError: no runner has that name.
    """
    name = name or "lanes"
    if name not in RUNNERS:
        raise UserError(f"--runner is {name!r}; allowed: {choices(RUNNERS)}{did_you_mean(name, RUNNERS)}")
    return name, RUNNERS[name]


def data_bytes(dataset: Dataset, folds: int) -> int:
    """What the training rows take in memory, once for every fold and once for retraining."""
    train = dataset.train
    return (folds + 1) * (train.audio.nbytes + train.visual.nbytes + train.labels.nbytes)


def open_space(folder: StudyFolder) -> Space:
    """The space of an existing study.

    Raises:
        UserError: `study.yaml` is damaged or of a newer format.
    """
    settings = folder.settings()
    if settings.get("format") != _FORMAT:
        raise UserError(
            f"{folder.study_yaml} has format {settings.get('format')!r}; this avtune reads format {_FORMAT}"
        )
    return parse(
        yaml.safe_dump(settings.get("space"), sort_keys=False),
        file=str(folder.study_yaml),
        hypers_of=hypers_of,
        method_names=METHODS,
    )


def changes_of(folder: StudyFolder, settings: Mapping[str, Any], space: Space) -> list[str]:
    """What differs between a study and a request to continue it, one line each; only what may change.

    More trials, other finals, another runner and other devices may; the data, the space and the seed may not.

    Raises:
        UserError: something differs that may not.
    """
    old = folder.settings()
    before = open_space(folder)
    allowed: list[str] = []
    refused: list[str] = []
    for line in before.difference(space):
        key = line.partition(":")[0]
        grows = key == "search.trials" and space.search.trials > before.search.trials
        (allowed if grows or key.startswith("final.") else refused).append(line)
    digests = old["dataset"]["digest"], settings["dataset"]["digest"]
    if digests[0] != digests[1]:
        refused.append(f"dataset content: {digests[0][:12]} -> {digests[1][:12]} ({old['dataset']['name']})")
    if old["deterministic"] != settings["deterministic"]:
        refused.append(f"deterministic: {old['deterministic']} -> {settings['deterministic']}")
    if old["precision"] != settings["precision"]:
        refused.append(f"precision: {old['precision']} -> {settings['precision']}")
    if refused:
        shown = "; ".join(refused[:4]) + (f"; and {len(refused) - 4} more" if len(refused) > 4 else "")
        raise UserError(
            f"{folder.root} was made with other settings: {shown}\n"
            "give another --name for a new study, or the settings of the old one to continue it"
        )
    return allowed


def write_report(study: Study) -> None:
    """Writes `report.html` from what is known."""
    write_text(study.folder.report_html, page(study, read_metrics(study.folder), read_best(study.folder)))


def read_metrics(folder: StudyFolder) -> dict[str, Any] | None:
    """`final/metrics.json`, None before the end."""
    return _read(folder.metrics, json.loads)


def read_best(folder: StudyFolder) -> dict[str, Any] | None:
    """`best.yaml`, None before the finalists are known."""
    return _read(folder.best_yaml, yaml.safe_load)


def _read(path: Path, parse_text: Callable[[str], Any]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        facts = parse_text(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if not isinstance(facts, dict):
        raise UserError(f"{path} is damaged: it holds no mapping")
    return facts


def _precision(request: Request, places: Slots) -> str:
    """The search's precision: the one asked for, else that of the study that is continued, else the device's."""
    if request.precision not in (None, "fp32", "bf16"):
        raise UserError(f"--precision is {request.precision!r}; allowed: bf16 or fp32")
    if request.precision is None and request.folder.exists:
        return str(request.folder.settings().get("precision", "fp32"))
    return request.precision or fast_precision(places.gpus)


def _settings(request: Request, runner: str, precision: str) -> dict[str, Any]:
    data = request.dataset
    return {
        "format": _FORMAT,
        "dataset": {
            "spec": request.spec,
            "name": data.name,
            "digest": data.digest,
            "train": len(data.train),
            "test": len(data.test),
            "classes": data.num_classes,
            "audio_dim": data.audio_dim,
            "visual_dim": data.visual_dim,
        },
        "runner": runner,
        "deterministic": request.deterministic,
        "precision": precision,
        "space": request.space.as_dict(),
    }


def _dataset_line(request: Request) -> str:
    data = request.dataset
    return (
        f"{data.name}: {len(data.train)} training and {len(data.test)} test clips, {data.num_classes} classes, "
        f"audio {data.audio_dim}-d, visual {data.visual_dim}-d"
    )


def _show(study: Study) -> dict[str, Any]:
    folder = study.folder
    metrics = read_metrics(folder)
    assert metrics is not None
    console.say(
        "",
        *console.result_lines(metrics, read_best(folder)),
        "",
        f"report       {folder.report_html}",
        f"model        {folder.final}",
        f"TensorBoard  avtune tensorboard {folder.root}",
    )
    return metrics


class _Board:
    """Writes what happens in a study to TensorBoard; a `study.Listener`."""

    def __init__(self, board: StudyBoard) -> None:
        self._board = board

    def started(self, record: Record) -> None:
        best = record.best_value
        self._board.start(record.number, record.trial.config, best=-math.inf if best is None else best)

    def epoch(self, record: Record, epoch: int, metrics: Mapping[str, float]) -> None:
        self._board.epoch(record.number, epoch, {_TAGS.get(name, f"train/{name}"): v for name, v in metrics.items()})

    def ended(self, record: Record) -> None:
        assert record.state != "RUNNING"
        self._board.end(record.number, record.state)


_TAGS = {
    "val_map": "val/map",
    "val_map_a2v": "val/map_a2v",
    "val_map_v2a": "val/map_v2a",
    "seconds": "time/seconds",
    "clips_per_second": "time/clips_per_second",
}
