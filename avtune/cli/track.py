"""`avtune track`: sends a study to MLflow or Weights & Biases."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_results, add_study, add_verb
from avtune.cli.folders import study_folder


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "track",
        "send a study to MLflow or Weights & Biases; again sends only what is new",
        "avtune track demo mlflow",
        "avtune track demo wandb:myproject",
    )
    add_study(verb)
    verb.add_argument("target", metavar="TO", help="mlflow, mlflow:URI, wandb or wandb:PROJECT")
    add_results(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.tracking import checked, send

    folder = study_folder(given)
    (target,) = checked([given.target])
    send(folder, target, console.say)
    console.say(f"{target} has all of {folder.root}")
    return 0
