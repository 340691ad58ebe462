"""`avtune curves`: draws loss and validation MAP against epochs, method against method."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli import console
from avtune.cli.arguments import Verbs, add_dataset, add_devices, add_results, add_verb, completes, reading_of
from avtune.core.names import new_name


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "curves",
        "draw loss and validation MAP against epochs, method against method",
        "avtune curves demo --methods psd,triplet --epochs 9",
    )
    add_dataset(verb)
    methods = verb.add_argument("--methods", default="psd,aadml", metavar="A,B", help="which methods (psd,aadml)")
    completes(methods, "method")
    verb.add_argument("--mining", default="all,hard", metavar="A,B", help="of the triplets: all, hard (both), semihard")
    verb.add_argument("--epochs", type=int, default=27, metavar="N", help="epochs of every line (27)")
    verb.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of every line (3)")
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a hyper-parameter, where a method has it; may be repeated",
    )
    verb.add_argument(
        "--best",
        action="append",
        default=[],
        metavar="METHOD=FILE",
        help="best.yaml of a study, in place of the method's default configuration",
    )
    verb.add_argument("--name", help="name of the folder (default: curves-DATASET)")
    add_results(verb)
    add_devices(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    """Returns 1 where a line has a failure."""
    from avtune.cli.display import step
    from avtune.cli.progress import Progress
    from avtune.data import load
    from avtune.runners.placement import place
    from avtune.workflows import curves
    from avtune.workflows.choose_runner import data_bytes, placement_request, runner_named
    from avtune.workflows.options import DeviceOptions

    lines = curves.lines_of(given.methods, given.mining, given.set, given.best)
    with step(f"loading {given.dataset}"):
        dataset = load(given.dataset, reading_of(given))
    folder = given.results / new_name(given.name, "curves-", dataset.name)
    curves.check(folder, epochs=given.epochs, seeds=given.seeds)
    curves.check_lines(lines, dataset)
    name, runner = runner_named(given.runner)
    placement = place(placement_request(DeviceOptions.of(given)), name, len(lines) * given.seeds)
    with runner(placement.named("curves", folder), data_bytes(dataset, 1)) as start:
        data = curves.split(dataset)
        console.say(*(f"note: {note}" for note in curves.notes(lines, data)))
        curves.train(lines, data, start, Progress(0), epochs=given.epochs, seeds=given.seeds)
    console.say(*curves.write(lines, dataset, folder, console.fitting))
    return 1 if any(line.failures for line in lines) else 0
