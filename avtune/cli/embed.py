"""`avtune embed`: writes a model's embeddings of a dataset's split, or of any file that holds a view."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_model, add_results, add_user_code, add_verb, completes
from avtune.cli.clips import add_clips, clips_of, count_look_at_clips
from avtune.cli.display import step
from avtune.cli.folders import model_folder


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "embed",
        "write a model's embeddings of clips, of both views or of one",
        "avtune embed demo demo --out embeddings.npz",
        "avtune embed demo sound.npy --view audio --out sound.parquet",
    )
    add_model(verb)
    add_clips(verb)
    text = "where to; the ending says the format: .npz, .npy, .csv, .parquet"
    completes(verb.add_argument("--out", type=Path, required=True, metavar="FILE", help=text), "file")
    verb.add_argument("--overwrite", action="store_true", help="also where the file exists")
    add_user_code(verb)
    add_results(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.clips import embed_clips
    from avtune.workflows.embedding_files import check_out, check_views, write_embeddings
    from avtune.workflows.evaluate import model_of

    check_out(given.out, overwrite=given.overwrite)
    model = model_of(model_folder(given), given.method)
    with step(f"embedding {given.data}"):
        clips = clips_of(given, model)
        check_views(given.out, len(clips.views))
        look = count_look_at_clips(given, model, clips)
        made = embed_clips(model, clips)
    labels = None if given.out.suffix.lower() == ".npy" else clips.labels
    write_embeddings(given.out, made, labels, clips.names)
    held = [f"{view} {len(one)} x {one.shape[1]}" for view, one in made.items()]
    held += ["labels"] if labels is not None else []
    console.say(f"{given.out}: {', '.join(held)}; {clips.title}")
    console.say(*(f"note: {line}" for line in (clips.note, look, clips.problem) if line))
    return 0
