"""`avtune data`: looks at datasets and converts them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_actions, add_dataset, add_json, add_verb, reading_of
from avtune.cli.data_text import data_lines
from avtune.cli.display import step
from avtune.core.errors import UserError


def add(verbs: Verbs) -> None:
    actions = add_actions(add_verb(verbs, "data", "look at and convert datasets", "avtune data info demo"))
    info = add_verb(actions, "info", "sizes, classes, ranges and problems of a dataset", "avtune data info demo")
    add_dataset(info)
    add_json(info)
    convert = add_verb(actions, "convert", "write a dataset as six-key HDF5", "avtune data convert demo demo.h5")
    add_dataset(convert)
    convert.add_argument("out", type=Path, metavar="OUT.h5", help="the file")
    convert.add_argument("--overwrite", action="store_true", help="also where the file exists")
    add_verb(actions, "list", "the registered datasets and where to get them", "avtune data list")


def run(given: argparse.Namespace, log: list[Path]) -> int:
    {"info": _info, "convert": _convert, "list": _list}[given.action](given)
    return 0


def _info(given: argparse.Namespace) -> None:
    from avtune.data import load
    from avtune.data.info import describe

    with step(f"examining {given.dataset}", json=given.json):
        facts = describe(load(given.dataset, reading_of(given)))
    if given.json:
        print(json.dumps(facts, indent=2))
    else:
        console.say(*data_lines(facts))


def _convert(given: argparse.Namespace) -> None:
    from avtune.data import load
    from avtune.data.formats import write_hdf5

    if given.out.suffix.lower() not in (".h5", ".hdf5"):
        raise UserError(f"{given.out} is to be HDF5; allowed endings: .h5 or .hdf5")
    with step(f"converting {given.dataset}"):
        dataset = load(given.dataset, reading_of(given))
        write_hdf5(dataset, given.out, overwrite=given.overwrite)
    console.say(f"{given.out}: {len(dataset.train)} training and {len(dataset.test)} test clips")


def _list(given: argparse.Namespace) -> None:
    from avtune.data.registry import REGISTRY, data_folders, locate

    for entry in REGISTRY.values():
        found = locate(entry)
        console.say(
            f"{entry.name}: {entry.title}; {entry.num_train} training and {entry.num_test} test clips, "
            f"audio {entry.audio_dim}-d, visual {entry.visual_dim}-d",
            f"  from   {entry.origin}" + (f", as {entry.file}" if entry.file else ""),
            f"  here   {found}" if found else f"  put in {data_folders()[0]}" if entry.file else "  here   always",
            f"  type   {entry.command}",
        )
