"""`avtune retrain`: retrains one trial of a study on the whole training set and scores it."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli.arguments import (
    Verbs,
    add_devices,
    add_reading,
    add_results,
    add_study,
    add_user_code,
    add_verb,
    completes,
    reading_of,
)
from avtune.cli.folders import study_folder


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "retrain",
        "retrain one trial of a study on the whole training set and score it",
        "avtune retrain demo --trial 7",
    )
    add_study(verb)
    add_results(verb)
    verb.add_argument("--trial", type=int, metavar="N", help="which trial (default: the study's best)")
    verb.add_argument("--epochs", type=int, metavar="N", help="epochs to train (default: the trial's best epoch)")
    verb.add_argument("--seeds", type=int, metavar="N", help="seeds (default: the study's final.seeds)")
    text = "where the study's dataset is now (default: where it was)"
    completes(verb.add_argument("--dataset", help=text), "dataset")
    add_reading(verb)
    verb.add_argument("--out", type=Path, metavar="FOLDER", help="default: retrained_trial_N in the study")
    add_user_code(verb, train=True)
    add_devices(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.cli.display import step
    from avtune.cli.retrain_console import RetrainConsole
    from avtune.workflows.choose_runner import placement_request
    from avtune.workflows.options import DeviceOptions
    from avtune.workflows.retrain import RetrainRequest, dataset_of, retrain, shared_folder

    folder = study_folder(given)
    log.append(folder.log)
    with step("loading the dataset"):
        dataset = dataset_of(folder, given.dataset, reading_of(given))
    request = RetrainRequest(
        folder=folder,
        dataset=dataset,
        placement=placement_request(DeviceOptions.of(given).at(shared_folder(folder, given.out))),
        trial=given.trial,
        epochs=given.epochs,
        seeds=given.seeds,
        out=given.out,
        code=given.train or given.method,
        runner=given.runner,
    )
    with RetrainConsole() as listener:
        retrain(request, listener)
    return 0
