"""`avtune doctor`: versions, devices, Ray, disk, and what would run where."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_json, add_results, add_verb


def add(verbs: Verbs) -> None:
    verb = add_verb(verbs, "doctor", "versions, devices, Ray, disk, and what would run where", "avtune doctor")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    """Returns 1 where something would keep a search from running."""
    from avtune.workflows.doctor import examine

    findings = examine(given.results)
    if given.json:
        print(json.dumps(findings, indent=2))
    else:
        console.say(*console.fitting(["", "what", ""], [[row["state"], row["what"], row["found"]] for row in findings]))
    return 1 if any(row["state"] == "bad" for row in findings) else 0
