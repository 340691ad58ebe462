"""`avtune across`: methods over the data sets of several benches, in the terminal and on a page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_json, add_results, add_verb, completes
from avtune.cli.pages import write_page
from avtune.core.errors import UserError

if TYPE_CHECKING:
    from avtune.workflows.bench.across_view import BenchComparison

PAGE = "across.html"


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "across",
        "compare methods over data sets: mean ranks of several benches, and which differ",
        "avtune across bench-demo bench-my_features",
        "avtune across bench-demo bench-my_features --format latex --picture ranks.svg",
    )
    action = verb.add_argument(
        "benches", nargs="+", metavar="BENCH", help="names or folders of two benches or more, on different data sets"
    )
    completes(action, "bench")
    text = f"where its page is written (results/{PAGE}; none with --csv, --json or --format)"
    verb.add_argument("--page", type=Path, metavar="FILE.html", help=text)
    verb.add_argument(
        "--picture", type=Path, metavar="FILE.svg", help="also write the critical-difference diagram there"
    )
    verb.add_argument("--csv", action="store_true", help="print CSV, with all digits")
    verb.add_argument("--format", metavar="FORMAT", help="print it for a paper: latex or markdown")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.bench.across import across
    from avtune.workflows.bench.across_view import FORMATS, BenchComparison
    from avtune.workflows.bench.folder import BenchFolder
    from avtune.workflows.bench.formats import checked_format
    from avtune.workflows.bench.view import existing_bench

    if len(given.benches) < 2:
        raise UserError("across takes two benches or more, e.g. avtune across bench-first bench-second")
    if sum((given.csv, given.json, given.format is not None)) > 1:
        raise UserError("give one of --csv, --json and --format")
    if given.format is not None:
        checked_format(given.format, FORMATS)
    found = BenchComparison(across([BenchFolder(existing_bench(name, given.results)) for name in given.benches]))
    if given.picture is not None:
        found.write_picture(given.picture)
    _print(found, given)
    quiet = given.json or given.csv or given.format is not None
    write_page(found.write_page, given, PAGE, quiet=quiet)
    return 0


def _print(found: BenchComparison, given: argparse.Namespace) -> None:
    if given.json:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
    elif given.csv:
        print(found.csv(), end="")
    elif given.format is not None:
        print(found.formatted(given.format, given.picture), end="")
    else:
        console.say(*found.lines(console.fitting))
        if given.picture is not None:
            console.say("", f"picture      {given.picture}")
