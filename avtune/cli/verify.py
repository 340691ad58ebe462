"""`avtune verify`: makes the numbers of a study, a bench or a model again and compares them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.cli import console
from avtune.cli.arguments import (
    Verbs,
    add_json,
    add_reading,
    add_results,
    add_user_code,
    add_verb,
    completes,
    reading_of,
)
from avtune.cli.display import step
from avtune.cli.remote import bring, results_named
from avtune.core.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from avtune.data.dataset import Dataset
    from avtune.workflows.verify_model import Check


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "verify",
        "make the numbers of a study, a bench or a model again and compare them",
        "avtune verify demo",
        "avtune verify results/demo/final demo",
    )
    text = "name or folder of a study or a bench, or a model's folder"
    completes(verb.add_argument("target", metavar="STUDY", help=text), "study")
    text = "where the dataset is now (default: where it was)"
    completes(verb.add_argument("dataset", metavar="DATASET", nargs="?", help=text), "dataset")
    add_reading(verb)
    verb.add_argument("--retrain", action="store_true", help="also train the winner's first seed once more")
    add_user_code(verb, train=True)
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    """Prints what was compared; returns 1 where something differs."""
    with step(f"making the numbers of {given.target} again", json=given.json):
        checks = _checks(given)
    wrong = [one for one in checks if not one.ok]
    if given.json:
        print(json.dumps({"ok": not wrong, "checks": [asdict(one) for one in checks]}, indent=2))
        return 1 if wrong else 0
    rows = [[one.file, one.what, _result(one)] for one in checks]
    console.say(*console.fitting(["file", "compared", ""], rows), "")
    compared = sum(not one.skipped for one in checks)
    if wrong:
        console.say(f"{len(wrong)} of {compared} comparisons differ: {', '.join(dict.fromkeys(w.file for w in wrong))}")
        return 1
    console.say(f"{compared} comparisons, no difference")
    return 0


def _result(one: Check) -> str:
    return one.problem or (f"not compared: {one.skipped}" if one.skipped else "same")


def _checks(given: argparse.Namespace) -> list[Check]:
    from avtune.study.folder import StudyFolder
    from avtune.workflows.bench.folder import BenchFolder
    from avtune.workflows.bench.verify import verify_bench
    from avtune.workflows.verify import verify_study
    from avtune.workflows.verify_model import check_model

    bring(given, given.target)
    for path in (given.results / given.target, Path(given.target)):
        if (bench := BenchFolder(path)).exists:
            return verify_bench(bench, _data(given, bench.settings()), retrain=given.retrain)
        if (study := StudyFolder(path)).exists:
            return verify_study(study, _data(given, study.settings()), retrain=given.retrain)
        if (path / "config.yaml").is_file() or (path / "metrics.json").is_file():
            if given.retrain:
                raise UserError("--retrain goes with a study: a model's folder does not hold how it was trained")
            return check_model(path, None if given.dataset is None else _load(given.dataset, given, {}))
    there = [path.parent.name for path in given.results.glob("*/*.yaml") if path.name in ("study.yaml", "bench.yaml")]
    raise UserError(
        f"{given.target!r} is no study, bench or model, in {results_named(given)} or by its path"
        f"{did_you_mean(given.target, there)}"
    )


def _data(given: argparse.Namespace, settings: dict[str, object]) -> Dataset:
    """The dataset that is named, or else where the settings say that it was."""
    facts = settings["dataset"]
    assert isinstance(facts, dict)
    spec = given.dataset or facts.get("spec")
    if spec is None:
        raise UserError("this study does not say where its dataset is; name it: avtune verify STUDY DATASET")
    try:
        return _load(str(spec), given, facts)
    except UserError as error:
        if given.dataset is not None:
            raise
        first = str(error).splitlines()[0]
        raise UserError(f"{first}\nname the dataset where it is now: avtune verify {given.target} DATASET") from None


def _load(spec: str, given: argparse.Namespace, facts: Mapping[str, Any]) -> Dataset:
    from avtune.data import load
    from avtune.data.options import recorded_options

    reading = reading_of(given)
    return load(spec, reading if reading.given() else recorded_options(facts, given.target))
