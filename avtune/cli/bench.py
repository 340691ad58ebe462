"""`avtune bench`: searches every method under one budget and ranks them."""

from __future__ import annotations

import argparse
from pathlib import Path

from avtune.cli.arguments import Verbs, add_dataset, add_devices, add_precision, add_results, add_verb, completes


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "bench",
        "search every method under one budget and rank them; the same command continues",
        "avtune bench demo --methods psd,triplet,cca --trials 4 --epochs 6 --seeds 2",
        "avtune bench my_features.h5",
    )
    add_dataset(verb)
    what = verb.add_argument_group("what is compared")
    completes(what.add_argument("--methods", metavar="A,B", help="which methods (all; see: avtune methods)"), "method")
    what.add_argument("--trials", type=int, metavar="N", help="configurations to try of each method (16)")
    what.add_argument("--epochs", metavar="N|auto", help="most epochs of a trial (auto: until its curve is flat)")
    what.add_argument("--seeds", type=int, metavar="N", help="seeds of finalists and retrained winners (5)")
    what.add_argument(
        "--space",
        action="append",
        default=[],
        metavar="METHOD=FILE|NAME",
        help="what is searched of a method (default: the space called like it, with what its bench: says)",
    )
    what.add_argument(
        "--no-reference",
        dest="reference",
        action="store_false",
        help="without the row of a plain method (classifiers) that is not searched",
    )
    output = verb.add_argument_group("output")
    output.add_argument("--name", help="name of the bench (default: bench-DATASET)")
    add_results(output)
    devices = add_devices(verb)
    add_precision(devices)
    devices.add_argument("--deterministic", action="store_true", help="same result however many devices")


def run(given: argparse.Namespace, log: list[Path]) -> int:
    """Returns 1 where a method has no result."""
    from avtune.cli.bench_console import BenchConsole
    from avtune.cli.display import step
    from avtune.data import load
    from avtune.data.registry import REGISTRY
    from avtune.workflows.bench.folder import BenchFolder
    from avtune.workflows.bench.request import request_of
    from avtune.workflows.bench.run import bench
    from avtune.workflows.options import BenchOptions

    with step(f"loading {given.dataset}"):
        dataset = load(given.dataset, classes=given.classes)
    spec = given.dataset if given.dataset in REGISTRY else str(Path(given.dataset).resolve())
    more = {"called": given.dataset, "classes": given.classes}
    request = request_of(dataset, spec, BenchOptions.of(given), given.methods, given.space, **more)
    log[:] = [BenchFolder(request.root).shared.log]
    board = bench(request, BenchConsole())
    return 1 if board.failures else 0
