"""`avtune retrain`: retrains one trial of a study on the whole training set and scores it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_devices, add_results, add_user_code, add_verb
from avtune.cli.data_text import problem_lines
from avtune.cli.folders import study_folder
from avtune.cli.looks import show_looks
from avtune.cli.result_text import result_lines
from avtune.core.errors import UserError

if TYPE_CHECKING:
    from avtune.data.dataset import Dataset
    from avtune.runners._base import Placement, Runner
    from avtune.study.folder import StudyFolder
    from avtune.study.record import Record
    from avtune.study.results import Results
    from avtune.study.study import Study


def add(verbs: Verbs) -> None:
    verb = add_verb(verbs, "retrain", "retrain one trial of a study on the whole training set and score it")
    verb.add_argument("study", metavar="STUDY", help="name or folder of a study")
    add_results(verb)
    verb.add_argument("--trial", type=int, metavar="N", help="which trial (default: the study's best)")
    verb.add_argument("--epochs", type=int, metavar="N", help="epochs to train (default: the trial's best epoch)")
    verb.add_argument("--seeds", type=int, metavar="N", help="seeds (default: the study's final.seeds)")
    verb.add_argument("--dataset", help="where the study's dataset is now (default: where it was)")
    verb.add_argument("--classes", metavar="FILE", help="class file of a folder of tfrecord shards")
    verb.add_argument("--out", type=Path, metavar="FOLDER", help="default: retrained_trial_N in the study")
    add_user_code(verb, train=True)
    add_devices(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.runners.placement import place
    from avtune.workflows.choose_runner import placement_request, runner_named
    from avtune.workflows.open_study import open_space, open_study

    folder = study_folder(given)
    log.append(folder.log)
    settings = folder.settings()
    name, runner = runner_named(given.runner, function=given.train is not None)
    request = placement_request(given)
    dataset = _dataset(given, folder, settings)
    code = given.train or given.method
    with folder.locked():
        folder.clear_torn()
        study = open_study(folder, open_space(folder, method=code))
        runs = given.seeds or study.space.final.seeds
        placement = place(request, name, runs, exact=bool(settings["deterministic"]))
        results, out = _retrained(given, study, dataset, runner, placement)
        study.close()
        show_looks(folder, code)
    console.say(*result_lines(results, None), "", f"model  {out}")
    return 0


def _dataset(given: argparse.Namespace, folder: StudyFolder, settings: dict[str, Any]) -> Dataset:
    from avtune.data import load

    spec = given.dataset or settings["dataset"].get("spec")
    if spec is None:
        raise UserError("this study does not say where its dataset is; name it with --dataset")
    dataset = load(spec, classes=given.classes)
    if dataset.digest != settings["dataset"]["digest"]:
        raise UserError(
            f"the dataset {spec!r} is not the one of {folder.root}: "
            "its content differs; give the right one with --dataset"
        )
    return dataset


def _retrained(
    given: argparse.Namespace, study: Study, dataset: Dataset, runner: Runner, placement: Placement
) -> tuple[Results, Path]:
    """Retrains the trial that is asked for; returns its results and the folder of the model."""
    from avtune.cli.progress import Progress
    from avtune.finals.finish import FinalsRun
    from avtune.report.card import model_card
    from avtune.workflows.choose_runner import data_bytes
    from avtune.workflows.retrain import choose, retrain_trial

    record = choose(study, given.trial)
    _say_notes(given, record, dataset)
    out = given.out or study.folder.root / f"retrained_trial_{record.number}"
    if out.exists():
        raise UserError(f"{out} exists; give another --out")
    with Progress(0) as progress, runner(placement, data_bytes(dataset, 0)) as start:
        finals = FinalsRun(start, progress.stage, model_card)
        results = retrain_trial(study, record, dataset, finals, epochs=given.epochs, seeds=given.seeds, out=out)
    return results, out


def _say_notes(given: argparse.Namespace, record: Record, dataset: Dataset) -> None:
    from avtune.data import examine
    from avtune.study.limits import batch_note

    console.say(*problem_lines(examine(dataset).problems))
    if given.epochs is None and record.state == "PRUNED":
        console.say(f"note: trial {record.number} was stopped early; --epochs N trains it longer")
    if given.train is None:
        console.say(*(f"note: {line}" for line in batch_note(record.trial.config, len(dataset.train))))
