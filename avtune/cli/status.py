"""`avtune status`: how far a study is, or all of them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_json, add_results, add_verb
from avtune.cli.folders import study_folder
from avtune.cli.result_text import result_lines
from avtune.core.errors import UserError
from avtune.report.text import table

if TYPE_CHECKING:
    from avtune.study.folder import StudyFolder

_STATES = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "not ended"}


def add(verbs: Verbs) -> None:
    verb = add_verb(verbs, "status", "how far a study is, or all of them")
    verb.add_argument("study", nargs="?", metavar="STUDY", help="name or folder of a study (default: all of --results)")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    if given.study is None:
        _show_all(given)
    else:
        _show_one(study_folder(given), json_wanted=given.json)
    return 0


def _show_one(folder: StudyFolder, *, json_wanted: bool) -> None:
    from avtune.study.best import read_best
    from avtune.study.results import read_results
    from avtune.study.status import command_to_continue, read_status

    status = read_status(folder)
    results, best = read_results(folder), read_best(folder)
    if json_wanted:
        facts = results.to_json() if results is not None else {}
        more = {"finished": results is not None, "running": folder.owner(), "test": facts.get("test")}
        more |= {key: facts[key] for key in ("label", "problems") if key in facts}
        print(json.dumps(status | more, indent=2))
        return
    counts = ", ".join(f"{count} {_STATES[state]}" for state, count in status["states"].items())
    console.say(f"study    {folder.root}", f"dataset  {status['dataset']}", f"trials   {status['trials']}: {counts}")
    if status["best"]:
        top = status["best"]
        console.say(f"best     trial {top['trial']}: validation MAP {top['val_map']:.4f} at epoch {top['epoch']}")
    if results is not None:
        console.say("", *result_lines(results, best))
    elif owner := folder.owner():
        console.say(f"running now: {owner}")
    else:
        console.say(f"not finished; to continue: {command_to_continue(folder)}")


def _show_all(given: argparse.Namespace) -> None:
    """One line for each study in the folder of studies; one that cannot be read says why and hides no other."""
    from avtune.core.files import using

    with using(given.results, "read"):
        roots = sorted(path.parent for path in given.results.glob("*/study.yaml"))
    facts = [_facts(root) for root in roots]
    if given.json:
        print(json.dumps(facts, indent=2))
    elif facts:
        console.say(*table(["study", "method", "trials", "best val MAP", "test MAP", ""], [_row(one) for one in facts]))
    else:
        console.say(f"no studies in {given.results}; `avtune search demo` makes one")


def _facts(root: Path) -> dict[str, Any]:
    from avtune.study.folder import StudyFolder
    from avtune.study.results import read_results
    from avtune.study.status import read_status

    folder = StudyFolder(root)
    try:
        status, results = read_status(folder), read_results(folder)
    except UserError as error:
        return {"study": root.name, "problem": str(error).partition("\n")[0]}
    scores = None if results is None else results.test.to_json()
    return status | {"finished": results is not None, "running": folder.owner(), "test": scores}


def _row(one: dict[str, Any]) -> list[str]:
    if "problem" in one:
        return [one["study"], "", "", "", "", one["problem"]]
    ended = sum(count for state, count in one["states"].items() if state != "RUNNING")
    state = "finished" if one["finished"] else "running" if one["running"] else "stopped"
    best = f"{one['best']['val_map']:.4f}" if one["best"] else ""
    test = f"{one['test']['map']['mean']:.4f}" if one["test"] else ""
    return [one["study"], one["method"], f"{ended}/{one['trials']}", best, test, state]
