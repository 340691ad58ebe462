"""`avtune export`: a model, or its embeddings of clips, as a folder in the format of another tool."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_model, add_results, add_user_code, add_verb, completes
from avtune.cli.clips import add_clips, clips_of, count_look_at_clips
from avtune.cli.display import step
from avtune.cli.folders import model_folder
from avtune.core.errors import UserError

_TARGETS = ("hub", "onnx", "index", "trec")
_OF_CLIPS = ("index", "trec")


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "export",
        "write a model or its embeddings for other tools: Hub, ONNX, FAISS, TREC",
        "avtune export demo --to onnx --out encoders",
        "avtune export demo demo --to index --out index",
    )
    add_model(verb)
    add_clips(verb, optional=True)
    verb.add_argument(
        "--to",
        required=True,
        choices=_TARGETS,
        help="hub: a folder for the Hugging Face Hub; onnx: each encoder; index: embeddings of DATA, with FAISS files; "
        "trec: run and qrels of DATA",
    )
    completes(verb.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder"), "file")
    add_user_code(verb)
    add_results(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.core.files import new_folder
    from avtune.workflows.evaluate import model_of
    from avtune.workflows.export import export_clips, export_model

    _check(given)
    place, look, of = model_folder(given), "", ""
    with new_folder(given.out) as out, step(f"writing {given.out}"):
        model = model_of(place, given.method)
        if given.to in _OF_CLIPS:
            clips = clips_of(given, model)
            look = count_look_at_clips(given, model, clips)
            made, of = export_clips(given.to, model, clips, out), f" of {clips.title}"
        else:
            made = export_model(given.to, model, place, out)
    console.say(f"{given.out}/{of}", *(f"  {line}" for line in made.lines))
    console.say(*(f"note: {line}" for line in [*made.notes, *([look] if look else [])]))
    return 0


def _check(given: argparse.Namespace) -> None:
    """Raises:
    UserError: DATA is missing, or is given where the model itself is exported.
    """
    if given.to in _OF_CLIPS and given.data is None:
        raise UserError(f"--to {given.to} writes embeddings of clips; name a dataset or a file after the model")
    if given.to not in _OF_CLIPS:
        for name, value in (
            ("DATA", given.data),
            ("--split", given.split),
            ("--map", given.map),
            ("--view", given.view),
            ("--classes", given.classes),
            ("--several-labels", given.several_labels or None),
            ("--views", given.views),
            ("--pool", given.pool),
            ("--test-fraction", given.test_fraction),
        ):
            if value is not None:
                raise UserError(f"--to {given.to} writes the model itself; leave {name} out")
