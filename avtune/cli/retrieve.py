"""`avtune retrieve`: shows the clips of the other view that are nearest to a clip."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_json, add_model, add_results, add_user_code, add_verb
from avtune.cli.clips import add_clips, clips_of, count_look_at_clips
from avtune.cli.display import step
from avtune.cli.folders import model_folder
from avtune.core.errors import UserError, shown

if TYPE_CHECKING:
    from avtune.workflows.clips import Clips
    from avtune.workflows.retrieve import Answer

EXAMPLES = 20
"""So many queries are examples, which score nothing. The hits of more can be added up to a score, so they are a look at
a test split."""


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "retrieve",
        "show the clips of the other view that are nearest to a clip",
        "avtune retrieve demo demo --query 12",
        "avtune retrieve demo demo --query 0,7 --from visual --k 5 --json",
    )
    add_model(verb)
    add_clips(verb, view=False)
    verb.add_argument(
        "--query", action="append", required=True, metavar="N,N", help="clips to search for: their rows, from 0"
    )
    verb.add_argument("--k", type=int, default=10, metavar="K", help="clips to show (10)")
    verb.add_argument(
        "--from",
        dest="query_view",
        metavar="VIEW",
        help="view of the query (the first: audio, or as the data calls it)",
    )
    add_user_code(verb)
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.evaluate import model_of
    from avtune.workflows.retrieve import check_queries, other_view, retrieve

    queries = _queries(given.query)
    if given.k < 1:
        raise UserError(f"--k is {given.k}; allowed: a whole number from 1")
    if given.data.lower().endswith(".npy"):
        raise UserError(f"{given.data} holds one view: the gallery is the other view; put both into an .npz")
    model = model_of(model_folder(given), given.method)
    with step(f"embedding {given.data}", json=given.json):
        clips = clips_of(given, model)
        check_queries(clips, queries)
        view = given.query_view or clips.view_names[0]
        other = other_view(clips, view)
        look = count_look_at_clips(given, model, clips) if len(queries) > EXAMPLES else ""
        answers = retrieve(model, clips, queries, view=view, k=given.k)
    if given.json:
        gallery = {"view": other, "clips": len(clips), "of": clips.title}
        facts = {"gallery": gallery, "from": view, "queries": [answer.to_json() for answer in answers]}
        facts |= {"look": look} if look else {}
        print(json.dumps(facts, indent=2, allow_nan=False))
        return 0
    console.say(f"gallery: the {other} view of {clips.title}, all {len(clips)} clips")
    console.say(*(f"note: {line}" for line in (clips.note, look, clips.problem) if line))
    if given.k > len(clips):
        console.say(f"note: --k is {given.k} and the gallery has {len(clips)} clips: all are shown")
    for answer in answers:
        console.say(*_lines(answer, clips, view))
    return 0


def _queries(words: list[str]) -> list[int]:
    """Rows, in the order that they are given in."""
    found = []
    for part in (part for word in words for part in word.split(",")):
        if not re.fullmatch(r"\d{1,12}", part):
            raise UserError(f"--query has {shown(part)}; give rows of clips, counted from 0, e.g. --query 0,12")
        found.append(int(part))
    return list(dict.fromkeys(found))


def _lines(answer: Answer, clips: Clips, view: str) -> list[str]:
    labelled = answer.label is not None
    of = f" ({answer.label})" if labelled else ""
    lines = ["", f"query {answer.clip}, {view}{of}"]
    rows = []
    for one in answer.found:
        marks = [
            *(["hit"] if one.hit else []),
            *(["own pair"] if one.own_pair else []),
            *(["tied"] if one.tied else []),
        ]
        label = [str(one.label)] if labelled else []
        rows.append([str(one.rank), str(one.clip), f"{one.cosine:.4f}", *label, ", ".join(marks)])
    lines += console.fitting(["rank", "clip", "cosine", *(["label"] if labelled else []), ""], rows)
    if labelled:
        lines.append(f"{answer.relevant} of the {len(clips)} clips of the gallery have the query's label")
    return lines
