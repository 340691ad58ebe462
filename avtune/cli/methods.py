"""`avtune methods`: the methods, or the hyper-parameters of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_verb, completes


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs, "methods", "the methods, or the hyper-parameters of one", "avtune methods", "avtune methods psd"
    )
    text = "a name, or a method of your own as module:Class"
    completes(verb.add_argument("method", nargs="?", metavar="METHOD", help=text), "method")


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.report.methods import details, overview

    console.say(*(overview() if given.method is None else details(given.method)))
    return 0
