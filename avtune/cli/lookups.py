"""The verbs that look something up and leave every study as it is; see `cli`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from avtune.cli import console
from avtune.cli.data_text import data_lines
from avtune.core.errors import UserError, choices
from avtune.report.text import short, table


def list_studies(given: argparse.Namespace) -> int:
    """One line for each study in the folder of studies; one that cannot be read says why and hides no other."""
    from avtune.core.files import using
    from avtune.study.folder import StudyFolder
    from avtune.study.results import read_results
    from avtune.study.status import read_status

    facts: list[dict[str, Any]] = []
    with using(given.results, "read"):
        roots = sorted(path.parent for path in given.results.glob("*/study.yaml"))
    for root in roots:
        folder = StudyFolder(root)
        try:
            status, results = read_status(folder), read_results(folder)
        except UserError as error:
            facts.append({"study": root.name, "problem": str(error).partition("\n")[0]})
            continue
        scores = None if results is None else results.test.to_json()
        facts.append(status | {"finished": results is not None, "running": folder.owner(), "test": scores})
    if given.json:
        print(json.dumps(facts, indent=2))
        return 0
    if not facts:
        console.say(f"no studies in {given.results}; `avtune search demo` makes one")
        return 0
    rows = []
    for one in facts:
        if "problem" in one:
            rows.append([one["study"], "", "", "", "", one["problem"]])
            continue
        ended = sum(count for state, count in one["states"].items() if state != "RUNNING")
        state = "finished" if one["finished"] else "running" if one["running"] else "stopped"
        best = f"{one['best']['val_map']:.4f}" if one["best"] else ""
        test = f"{one['test']['map']['mean']:.4f}" if one["test"] else ""
        rows.append([one["study"], one["method"], f"{ended}/{one['trials']}", best, test, state])
    console.say(*table(["study", "method", "trials", "best val MAP", "test MAP", ""], rows))
    return 0


def _data(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import load
    from avtune.data.info import describe
    from avtune.data.registry import REGISTRY, data_folders, locate

    if given.action == "list":
        for entry in REGISTRY.values():
            found = locate(entry)
            console.say(
                f"{entry.name}: {entry.title}; {entry.num_train} training and {entry.num_test} test clips, "
                f"audio {entry.audio_dim}-d, visual {entry.visual_dim}-d",
                f"  from   {entry.origin}" + (f", as {entry.file}" if entry.file else ""),
                f"  here   {found}" if found else f"  put in {data_folders()[0]}" if entry.file else "  here   always",
                f"  type   {entry.command}",
            )
        return 0
    if given.action == "convert" and given.out.suffix.lower() not in (".h5", ".hdf5"):
        raise UserError(f"{given.out} is to be HDF5; allowed endings: .h5 or .hdf5")
    dataset = load(given.dataset, classes=given.classes)
    if given.action == "convert":
        from avtune.data.formats import write_hdf5

        write_hdf5(dataset, given.out, overwrite=given.overwrite)
        console.say(f"{given.out}: {len(dataset.train)} training and {len(dataset.test)} test clips")
        return 0
    facts = describe(dataset)
    if given.json:
        print(json.dumps(facts, indent=2))
        return 0
    console.say(*data_lines(facts))
    return 0


def _space_verb(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.space.files import names
    from avtune.workflows.choose_space import chosen

    if given.action == "list":
        console.say(*names())
        return 0
    method = given.train or given.method
    if given.space is None and method is None:
        raise UserError(f"name a space, by file or by name: {choices(names())}")
    space = chosen(given.space, method, overrides=given.set)
    if given.action == "show":
        print(space.to_yaml(), end="")
        return 0
    console.say(
        f"{given.space or 'this'} is a legal space for {space.method}: searches {len(space.axes)} hyper-parameters"
    )
    rows = [
        [axis.name, short(axis.low) if axis.low is not None else "", short(axis.high) if axis.high is not None else "",
         "log" if axis.log else "", " ".join(map(str, axis.values))]
        for axis in space.axes
    ]  # fmt: skip
    console.say(*table(["", "low", "high", "", "values"], rows), *(f"note: {note}" for note in space.notes()))
    return 0


def _methods(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.report.methods import details, overview

    console.say(*(overview() if given.method is None else details(given.method)))
    return 0


def _doctor(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.doctor import examine

    findings = examine(given.results)
    if given.json:
        print(json.dumps(findings, indent=2))
    else:
        console.say(*table(["", "what", ""], [[row["state"], row["what"], row["found"]] for row in findings]))
    return 1 if any(row["state"] == "bad" for row in findings) else 0


LOOKUPS = {"data": _data, "space": _space_verb, "methods": _methods, "doctor": _doctor}
