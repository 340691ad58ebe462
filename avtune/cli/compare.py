"""`avtune compare`: several studies side by side, in the terminal, on a page and in TensorBoard."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_json, add_results, add_verb
from avtune.cli.folders import study_called
from avtune.cli.pages import write_page
from avtune.cli.remote import bring
from avtune.core.errors import UserError

if TYPE_CHECKING:
    pass

PAGE = "compare.html"


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "compare",
        "several studies side by side, ranked where their data are the same",
        "avtune compare first second",
        "avtune compare first second --tensorboard both",
    )
    verb.add_argument("studies", nargs="+", metavar="STUDY", help="names or folders of two studies or more")
    verb.add_argument("--tensorboard", type=Path, metavar="DIR", help="also write one TensorBoard folder of them all")
    text = f"where its page is written (results/{PAGE}; none with --csv or --json)"
    verb.add_argument("--page", type=Path, metavar="FILE.html", help=text)
    verb.add_argument("--csv", action="store_true", help="print CSV, with all digits")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.compare import compare
    from avtune.workflows.compare_view import StudyComparison

    if len(given.studies) < 2:
        raise UserError("compare takes two studies or more, e.g. avtune compare first second")
    if given.csv and given.json:
        raise UserError("give --csv or --json, not both")
    for name in given.studies:
        bring(given, name)
    found = StudyComparison(compare([study_called(name, given.results) for name in given.studies]))
    if given.json:
        print(json.dumps(found.to_json(), indent=2))
    elif given.csv:
        rows = found.rows()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        console.say(*found.lines(console.fitting))
    write_page(found.write_page, given, PAGE, quiet=given.json or given.csv)
    if given.tensorboard is not None:
        found.write_board(given.tensorboard)
        if not (given.json or given.csv):
            console.say(f"TensorBoard  avtune tensorboard --results {given.tensorboard}")
    return 0
