"""`avtune compare-models`: tests two saved models by their scores of every query."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

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
from avtune.cli.data_text import problem_lines
from avtune.cli.display import step
from avtune.cli.folders import model_called
from avtune.core.errors import UserError


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "compare-models",
        "test two saved models against each other, query by query",
        "avtune compare-models first second my_features.h5",
        "avtune compare-models first first/checkpoints/trial_3 my_features.h5 --json",
    )
    for name in ("a", "b"):
        completes(verb.add_argument(name, metavar=name.upper(), help="a study, or the folder of a model"), "study")
    text = "what to score them on; its test split unless --split train"
    completes(verb.add_argument("dataset", metavar="DATASET", help=text), "dataset")
    verb.add_argument("--split", choices=("test", "train"), default="test", help="which rows (test)")
    add_reading(verb)
    add_user_code(verb, "your own method as module:Class, where a model has one")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.engine.model import load_model
    from avtune.workflows.compare_models import LIMITS, compare_models, header
    from avtune.workflows.study_reading import read_for

    places = {name: model_called(name, given.results) for name in (given.a, given.b)}
    models = {name: (load_model(place), place) for name, place in places.items()}
    if len({(model.folder or place).resolve() for model, place in models.values()}) < 2:
        raise UserError(f"{given.a} and {given.b} are one model; compare-models takes two")
    with step("embedding and scoring", json=given.json):
        read = read_for([model for model, _ in models.values()], given.dataset, reading_of(given), given.results)
        found = compare_models(models, read, split=given.split, results=given.results)
    if given.json:
        print(json.dumps(found.to_json(), indent=2, allow_nan=False))
        return 0
    console.say(
        *problem_lines(found.problems),
        *(f"note: {line}" for line in (read.note, *found.looks) if line),
        f"{given.a} against {given.b} on {found.clips} {given.split} clips of {given.dataset}",
        "",
        *console.fitting(header(found), found.rows()),
        "",
        found.verdict,
        f"note: {LIMITS}",
    )
    return 0
