"""`avtune evaluate`: scores a model, or embeddings, by exact MAP."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

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
from avtune.core.view_names import VIEWS, ways
from avtune.data.labels import counts_by_class
from avtune.report.text import table, ties_text

if TYPE_CHECKING:
    from avtune.workflows.evaluate import Embeddings


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "evaluate",
        "score a model, or embeddings, by exact MAP",
        "avtune evaluate demo demo",
        "avtune evaluate demo demo --per-class --confusion --at 1,5,10",
        "avtune evaluate --embeddings mine.npz --json",
    )
    add_model(verb, nargs="?")
    text = "what to score it on; its test split unless --split train"
    completes(verb.add_argument("dataset", metavar="DATASET", nargs="?", help=text), "dataset")
    text = "score these: audio, visual, labels"
    completes(verb.add_argument("--embeddings", type=Path, metavar="FILE.npz", help=text), "file")
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
        scored = _embeddings(given) if given.embeddings is not None else _model_on_dataset(given)
        also = {"curve": given.curve, "per_class": given.per_class, "confusion": _nearest(given.confusion)}
        facts = evaluation(scored.embedded, ranks, **also)
    facts |= {"epoch": scored.epoch} if scored.epoch else {}
    facts |= {"problems": scored.problems} if scored.problems else {}
    facts |= {"look": scored.look} if given.json and scored.look else {}
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


class _Scored(NamedTuple):
    """What is scored.

    Attributes:
        embedded: embeddings and classes.
        title: where they come from.
        epoch: how the model's epoch was chosen, where that is to be said.
        problems: of the dataset.
        look: what is to be said of the look at the test split of the model's study.
        views: what the dataset calls its views.
    """

    embedded: Embeddings
    title: str
    epoch: str = ""
    problems: Sequence[str] = ()
    look: str = ""
    views: tuple[str, str] = VIEWS


def _embeddings(given: argparse.Namespace) -> _Scored:
    from avtune.workflows.evaluate import read_embeddings, views_of_embeddings

    if given.model or given.dataset:
        raise UserError("--embeddings already holds everything; leave the model and the dataset out")
    read, views = read_embeddings(given.embeddings), views_of_embeddings(given.embeddings)
    return _Scored(read, str(given.embeddings), views=views)


def _model_on_dataset(given: argparse.Namespace) -> _Scored:
    from avtune.data import examine, load
    from avtune.workflows.evaluate import embeddings_of, model_of
    from avtune.workflows.looks import count_look_at

    if not given.model or not given.dataset:
        raise UserError("evaluate needs a model and a dataset, or --embeddings FILE.npz\nsee: avtune evaluate --help")
    place = model_folder(given)
    model = model_of(place, given.method)
    dataset = load(given.dataset, reading_of(given))
    problems = list(examine(dataset).problems)
    if not given.json:
        console.say(*problem_lines(problems))
    look = count_look_at(model, place, dataset, given.split, results=given.results, method=given.method)
    title = f"{given.model} on {given.dataset} ({given.split} split)"
    epoch = str(model.about.get("epoch", ""))
    return _Scored(embeddings_of(model, dataset, given.split), title, epoch, problems, look, dataset.views)


def _lines(facts: Mapping[str, Any], scored: _Scored, ranks: Sequence[int]) -> list[str]:
    title = scored.title + (f"; the model's epoch was {scored.epoch}" if scored.epoch else "")
    low, high = facts["bootstrap95"]["map"]

    way = ways(scored.views)
    named = {"map": "map", "map_a2v": way["a2v"], "map_v2a": way["v2a"], "map_running": "map_running"}
    named |= {"map_at_r": "map@r", "ndcg": "ndcg"}
    scores = [[shown, f"{facts[name]:.4f}"] for name, shown in named.items()]
    lines = [f"note: {scored.look}"] if scored.look else []
    lines += [f"{title}: {facts['clips']} clips, {facts['classes']} classes", "", *table(["", "score"], scores)]
    lines.append(f"over the queries (bootstrap) the 95 % interval of map is {low:.4f} to {high:.4f}")
    lines += [ties_text(facts["tied_queries"])] if facts["tied_queries"] else []
    lines += ["", *at_lines(facts, ranks, way)]
    if "by_class" in facts:
        lines += ["", *class_lines(facts["by_class"], facts, way)]
    if "confusion" in facts:
        counts = counts_by_class(scored.embedded.labels, 0)
        lines += ["", *confusion_lines(facts["confusion"], counts[counts > 0].tolist(), way)]
    if "curve" in facts:
        rows = [[f"{r:.2f}", f"{a:.4f}", f"{v:.4f}"] for r, a, v in zip(*facts["curve"].values(), strict=True)]
        lines += ["", *table(["recall", *(f"precision {one}" for one in way.values())], rows)]
    return lines
