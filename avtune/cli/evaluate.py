"""`avtune evaluate`: scores a model, or embeddings, by exact MAP."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avtune.cli import console
from avtune.cli.arguments import (
    Verbs,
    add_json,
    add_model,
    add_reading,
    add_results,
    add_user_code,
    add_verb,
    completes,
    reading_of,
)
from avtune.cli.data_text import problem_lines
from avtune.cli.display import step
from avtune.cli.evaluate_text import at_lines, class_lines, confusion_lines
from avtune.cli.folders import model_folder
from avtune.core.errors import UserError
from avtune.core.view_names import ways
from avtune.report.text import table, ties_text

if TYPE_CHECKING:
    from avtune.data.options import ReadOptions
    from avtune.engine.model import Model
    from avtune.workflows.asked import Asked
    from avtune.workflows.study_reading import Read


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "evaluate",
        "score a model, or embeddings, by exact MAP",
        "avtune evaluate demo demo",
        "avtune evaluate demo demo --per-class --confusion --at 1,5,10",
        "avtune evaluate demo demo --gallery other",
        "avtune evaluate --embeddings mine.npz --json",
    )
    add_model(verb, nargs="?")
    text = "what to score it on; its test split unless --split train"
    completes(verb.add_argument("dataset", metavar="DATASET", nargs="?", help=text), "dataset")
    text = "score these: audio, visual, labels"
    completes(verb.add_argument("--embeddings", type=Path, metavar="FILE.npz", help=text), "file")
    text = "clips to ask with, in place of DATASET: a dataset, FILE:train, or any file of features with labels"
    completes(verb.add_argument("--query", metavar="DATA", help=text), "dataset")
    text = (
        "what they are looked for in: all (own pair included; default), other (own pair left out), disjoint (queries "
    )
    text += "and gallery of different clips), or DATA as --query takes it"
    completes(verb.add_argument("--gallery", default="all", metavar="NAME|DATA", help=text), "dataset")
    verb.add_argument("--split", choices=("test", "train"), default="test", help="which rows (test)")
    add_reading(verb)
    text = "ranks for precision, class recall, hit rates, MAP@k and NDCG@k (1,5,10,50); see docs/scores.md"
    verb.add_argument("--at", default="1,5,10,50", metavar="K,K", help=text)
    verb.add_argument("--per-class", action="store_true", help="also MAP by class, and its mean over classes (macro)")
    text = "also which class the nearest clip has, by the class of the query"
    verb.add_argument("--confusion", action="store_const", const="1", default=False, help=text)
    text = "the same of the K nearest clips"
    verb.add_argument("--confusion-at", dest="confusion", metavar="K", help=text, default=False)
    verb.add_argument("--curve", action="store_true", help="also print the precision-recall curve")
    add_user_code(verb)
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.evaluate import evaluation

    ranks = _ranks(given.at)
    with step("embedding and scoring", json=given.json):
        scored = _scored(given)
        also = {"curve": given.curve, "per_class": given.per_class, "confusion": _nearest(given.confusion)}
        facts = evaluation(scored.sets, ranks, **also)
    facts |= {"epoch": scored.epoch} if scored.epoch else {}
    facts |= {"problems": list(scored.problems)} if scored.problems else {}
    facts |= {"unseen_classes": list(scored.unseen)} if scored.unseen else {}
    facts |= {"look": scored.look} if given.json and scored.look else {}
    facts |= {"reading": scored.reading} if given.json and scored.reading else {}
    if given.json:
        print(json.dumps(facts, indent=2, allow_nan=False))
    else:
        console.say(*_lines(facts, scored, ranks))
    return 0


def _nearest(text: str | bool) -> int:
    if text is not False and not re.fullmatch(r"[1-9]\d{0,8}", str(text)):
        raise UserError(f"--confusion-at is {text!r}; allowed: how many nearest clips count, from 1")
    return int(text)


def _ranks(text: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d{0,8}(,[1-9]\d{0,8})*", text):
        raise UserError(f"--at is {text!r}; allowed: whole numbers from 1, separated by commas, e.g. --at 1,5,10")
    return sorted({int(part) for part in text.split(",")})


def _scored(given: argparse.Namespace) -> Asked:
    from avtune.workflows.asked import of_embeddings, of_model
    from avtune.workflows.evaluate import model_of
    from avtune.workflows.galleries import kind_of

    kind = kind_of(given.gallery)
    if given.embeddings is not None and (given.model or given.dataset):
        raise UserError("--embeddings already holds everything; leave the model and the dataset out")
    if given.query is not None and (given.dataset or given.embeddings is not None):
        raise UserError("--query names the clips to ask with; leave DATASET and --embeddings out")
    if not given.model and (given.embeddings is not None or given.query):
        _check_alone(given)
        return of_embeddings(given.embeddings or Path(given.query), kind, None if kind else Path(given.gallery))
    if not given.model or not (given.dataset or given.query):
        raise UserError("evaluate needs a model and a dataset, or --embeddings FILE.npz\nsee: avtune evaluate --help")
    place = model_folder(given)
    model, reading = model_of(place, given.method), reading_of(given)
    query = given.query or _dataset(given, reading, model)
    how = {"split": given.split, "reading": reading, "results": given.results, "method": given.method}
    asked = of_model(model, place, query, given.gallery, **how)
    if not given.json:
        console.say(*problem_lines(list(asked.problems)))
    title = asked.title if isinstance(query, str) else asked.title.replace(query.dataset.name, given.dataset, 1)
    return asked._replace(title=f"{given.model} on {title}")


def _dataset(given: argparse.Namespace, reading: ReadOptions, model: Model) -> Read:
    """Raises:
    UserError: there is no such dataset; says where a file has views of clips without splits.
    """
    from avtune.data.views import has_views
    from avtune.workflows.study_reading import read_for

    try:
        return read_for((model,), given.dataset, reading, given.results)
    except UserError as error:
        if reading.given() or not has_views(Path(os.path.expanduser(given.dataset)), model.views):
            raise
        more = f"all clips of the file are scored by: avtune evaluate {given.model} --query {given.dataset}"
        raise UserError(f"{str(error).partition(chr(10))[0]}\n{more}") from None


def _check_alone(given: argparse.Namespace) -> None:
    """Raises:
    UserError: embeddings are given with what goes with a model.
    """
    options = list(reading_of(given).given())
    options += ["split"] * (given.split != "test") + ["method"] * (given.method is not None)
    if options:
        raise UserError(f"--{options[0].replace('_', '-')} goes with a model and a dataset; embeddings hold everything")


def _lines(facts: Mapping[str, Any], scored: Asked, ranks: Sequence[int]) -> list[str]:
    from avtune.workflows.galleries import words

    title = scored.title + (f"; the model's epoch was {scored.epoch}" if scored.epoch else "")
    low, high = facts["bootstrap95"]["map"]
    way = ways(scored.views)
    named = {"map": "map", "map_a2v": way["a2v"], "map_v2a": way["v2a"], "map_running": "map_running"}
    named |= {"map_at_r": "map@r", "ndcg": "ndcg"}
    scores = [[shown, f"{facts[name]:.4f}"] for name, shown in named.items()]
    lines = [f"note: {line}" for line in (scored.reading, scored.look) if line]
    lines += [f"{title}: {facts['clips']} clips, {facts['classes']} classes", "", *table(["", "score"], scores)]
    lines += words(facts["gallery"])
    if scored.unseen:
        seen = facts["classes"] - len(scored.unseen)
        lines.append(f"zero-shot: training saw {seen} of the {facts['classes']} classes of the queries")
    lines.append(f"over the queries (bootstrap) the 95 % interval of map is {low:.4f} to {high:.4f}")
    lines += [ties_text(facts["tied_queries"])] if facts["tied_queries"] else []
    lines += ["", *at_lines(facts, ranks, way)]
    if "by_class" in facts:
        lines += ["", *class_lines(facts["by_class"], facts, way)]
    if "confusion" in facts:
        lines += ["", *confusion_lines(facts["confusion"], scored.counts, way)]
    if "curve" in facts:
        rows = [[f"{r:.2f}", f"{a:.4f}", f"{v:.4f}"] for r, a, v in zip(*facts["curve"].values(), strict=True)]
        lines += ["", *table(["recall", *(f"precision {one}" for one in way.values())], rows)]
    return lines
