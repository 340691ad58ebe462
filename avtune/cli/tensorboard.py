"""`avtune tensorboard`: shows a study, or all, in TensorBoard on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_results, add_study, add_verb
from avtune.cli.folders import study_folder
from avtune.core.errors import UserError


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs, "tensorboard", "show a study, or all, in TensorBoard on this machine", "avtune tensorboard demo"
    )
    add_study(verb, "name or folder of a study (default: all of --results)", nargs="?")
    text = "port on the loopback address (6006); 0 picks a free one"
    verb.add_argument("--port", type=int, default=6006, metavar="N", help=text)
    add_results(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.report.serve import serve

    folder = study_folder(given).tensorboard if given.study else given.results
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist: there is nothing to show yet")
    return serve(folder, given.port, console.say)
