"""`avtune compare`: several studies side by side, in the terminal and in TensorBoard."""

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
from avtune.core.errors import UserError
from avtune.report.text import duration, score_text, table

if TYPE_CHECKING:
    from avtune.study.results import Results
    from avtune.workflows.compare import Compared, Comparison

_HEAD = ["", "study", "method", "trials", "search", "val MAP", "test MAP", "A to V", "V to A", "default", ""]
_ERROR_BARS = "± is half of the 95 % interval over the seeds (Student t); val MAP is the winner's, over other seeds"
_LETTERS = (
    "between studies that share a letter no difference was found at 0.05 (paired randomisation test over the test "
    "clips, Holm)"
)


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
    verb.add_argument("--csv", action="store_true", help="print CSV, with all digits")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.compare import compare, facts_of

    if len(given.studies) < 2:
        raise UserError("compare takes two studies or more, e.g. avtune compare first second")
    if given.csv and given.json:
        raise UserError("give --csv or --json, not both")
    found = compare([study_called(name, given.results) for name in given.studies])
    if given.json:
        print(json.dumps({"studies": [facts_of(one) for one in found.studies], "notes": list(found.notes)}, indent=2))
    elif given.csv:
        rows = [facts_of(one) for one in found.studies]
        writer = csv.DictWriter(sys.stdout, list(dict.fromkeys(key for row in rows for key in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
    else:
        console.say(*_lines(found))
    if given.tensorboard is not None:
        _write_board(found, given.tensorboard, quiet=given.json or given.csv)
    return 0


def _lines(found: Comparison) -> list[str]:
    lines: list[str] = []
    for digest in dict.fromkeys(one.digest for one in found.studies):
        here = [one for one in found.studies if one.digest == digest]
        lines += ["", f"dataset {here[0].dataset} (digest {digest[:12]})", *table(_HEAD, [_row(one) for one in here])]
    said = [f"note: {note}" for note in found.notes]
    if any(one.group for one in found.studies):
        said.insert(0, _LETTERS)
    if any(one.results is not None for one in found.studies):
        said.insert(0, _ERROR_BARS)
    return [*lines[1:], "", *said]


def _row(one: Compared) -> list[str]:
    results, best = one.results, one.best
    scores = [score_text(score) for score in results.test.shown[:3]] if results is not None else ["", "", ""]
    validation = f"{best:.4f} (one seed)" if best is not None else ""
    if one.validation is not None:
        validation = f"{one.validation.mean:.4f}"
    mark = one.group if results is not None else one.state
    return [
        "" if one.place is None else str(one.place),
        one.name,
        one.method,
        str(one.trials),
        duration(one.seconds),
        validation,
        *scores,
        _default(results),
        f"{mark} {results.label}".strip() if results is not None and results.label else mark,
    ]


def _default(results: Results | None) -> str:
    if results is None or results.default is None:
        return ""
    return "the winner" if results.default_is_winner else score_text(results.default.map)


def _write_board(found: Comparison, logdir: Path, *, quiet: bool) -> None:
    from avtune.report.compare_board import Shown, write_compare_board

    shown = {one.name.replace("/", "_"): one for one in found.studies}
    boards = {name: Shown(one.folder, {"study": name, "method": one.method}) for name, one in shown.items()}
    write_compare_board(logdir, boards)
    if not quiet:
        console.say("", f"TensorBoard  avtune tensorboard --results {logdir}")
