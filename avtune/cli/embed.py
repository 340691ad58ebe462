"""`avtune embed`: writes a model's embeddings of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_dataset, add_model, add_results, add_user_code, add_verb
from avtune.cli.display import step
from avtune.cli.folders import model_folder
from avtune.core.errors import UserError


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "embed",
        "write a model's embeddings of a dataset as npz (audio, visual, labels) or CSV",
        "avtune embed demo demo --out embeddings.npz",
    )
    add_model(verb)
    add_dataset(verb)
    verb.add_argument("--out", type=Path, required=True, metavar="FILE.npz|FILE.csv", help="where to")
    verb.add_argument("--split", choices=("test", "train"), default="test", help="which rows (test)")
    verb.add_argument("--overwrite", action="store_true", help="also where the file exists")
    add_user_code(verb)
    add_results(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.data import load
    from avtune.workflows.evaluate import check_out, embeddings_of, model_of, write_embeddings
    from avtune.workflows.looks import count_look_at

    check_out(given.out)
    if given.out.exists() and not given.overwrite:
        raise UserError(f"{given.out} exists; give another --out, or --overwrite")
    place = model_folder(given)
    model = model_of(place, given.method)
    with step(f"embedding {given.dataset}"):
        dataset = load(given.dataset, classes=given.classes)
        look = count_look_at(model, place, dataset, given.split, results=given.results, method=given.method)
        audio, visual, labels = embeddings_of(model, dataset, given.split)
    write_embeddings(given.out, audio, visual, labels)
    console.say(f"{given.out}: audio and visual {audio.shape[0]} x {audio.shape[1]}, labels")
    console.say(*([f"note: {look}"] if look else []))
    return 0
