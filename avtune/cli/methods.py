"""`avtune methods`: the methods, or the hyper-parameters of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_verb


def add(verbs: Verbs) -> None:
    verb = add_verb(verbs, "methods", "the methods, or the hyper-parameters of one")
    verb.add_argument("method", nargs="?", metavar="METHOD", help="a name, or a method of your own as module:Class")


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.report.methods import details, overview

    console.say(*(overview() if given.method is None else details(given.method)))
    return 0
