"""`avtune report`: the tables of a study for other programs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_results, add_study, add_verb
from avtune.cli.folders import study_folder
from avtune.core.errors import UserError


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "report",
        "where a study's report is, or its tables for other programs",
        "avtune report demo",
        "avtune report demo --export csv",
        "avtune report demo --export parquet --out trials.parquet",
    )
    add_study(verb)
    verb.add_argument("--export", metavar="csv|parquet|json", help="a table with all digits; json: all there is")
    verb.add_argument("--table", metavar="NAME", help="trials (default), curves or finalists")
    verb.add_argument("--out", type=Path, metavar="FILE", help="write it there (default: print it)")
    add_results(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.study_tables import exported, write_exported

    folder = study_folder(given)
    if given.export is None:
        if given.table or given.out:
            raise UserError("--table and --out go with --export csv|parquet|json")
        if not folder.report_html.is_file():
            raise UserError(f"{folder.report_html} is not there yet: a search writes it when it ends or is stopped")
        console.say(str(folder.report_html))
    elif given.out is not None:
        write_exported(folder, given.export, given.table, given.out)
        console.say(f"written {given.out}")
    elif given.export == "parquet":
        raise UserError("parquet is no text: add --out FILE, e.g. --out trials.parquet")
    else:
        sys.stdout.write(exported(folder, given.export, given.table).decode())
    return 0
