"""`avtune finish`: ends a search now, with its finals."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
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
        "finish",
        "end an interrupted or running search now, with its finals",
        "avtune finish demo",
    )
    add_study(verb)
    add_results(verb)
    text = "where the study's dataset is now (default: where it was)"
    completes(verb.add_argument("--dataset", help=text), "dataset")
    add_reading(verb)
    add_user_code(verb, train=True)
    add_devices(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.cli.display import step
    from avtune.cli.search_console import SearchConsole
    from avtune.workflows.finish_search import ask, request_for
    from avtune.workflows.options import DeviceOptions
    from avtune.workflows.retrain import dataset_of
    from avtune.workflows.search import search

    folder = study_folder(given)
    log.append(folder.log)
    if (asked := ask(folder)) is not None:
        console.say(asked.text, f"avtune status {folder.root} shows it")
        return 0
    with step("loading the dataset"):
        dataset = dataset_of(folder, given.dataset, reading_of(given))
    request = request_for(folder, dataset, DeviceOptions.of(given), given.train or given.method, given.runner)
    with SearchConsole() as listener:
        search(request, listener)
    return 0
