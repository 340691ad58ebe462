"""`avtune bench`: searches every method under one budget and ranks them."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli.arguments import (
    Verbs,
    add_dataset,
    add_devices,
    add_precision,
    add_results,
    add_verb,
    completes,
    reading_of,
)
from avtune.core.errors import UserError

if TYPE_CHECKING:
    from avtune.workflows.bench.board import Board
    from avtune.workflows.bench.folder import BenchFolder


_OF_A_RUN = (
    *("classes", "several_labels", "views", "map", "pool", "test_fraction"),
    *("methods", "train", "trials", "epochs", "seeds", "space", "set", "protocol", "reference", "name"),
    *("gpus", "cpus", "lanes", "runner", "trials_per_gpu", "cluster", "max_failures", "trial_timeout"),
    *("precision", "deterministic"),
)
"""Options that say how a bench is run; of one that is there they say nothing."""


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "bench",
        "search every method under one budget and rank them; the same command continues",
        "avtune bench demo --methods psd,triplet,cca --trials 4 --epochs 6 --seeds 2",
        "avtune bench my_features.h5",
        "avtune bench bench-my_features --format latex > table.tex",
    )
    add_dataset(verb)
    what = verb.add_argument_group("what is compared")
    completes(what.add_argument("--methods", metavar="A,B", help="which methods (all; see: avtune methods)"), "method")
    what.add_argument(
        "--train",
        metavar="MODULE:FUNCTION",
        help="also a row of your own train(config, data, report), with --space MODULE:FUNCTION=FILE",
    )
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
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a value for every method that has it, e.g. space.hidden_dim=256; may be repeated",
    )
    protocol = what.add_argument(
        "--protocol",
        help="validation (default), or published: every score is labelled 'selected on test'; see avtune search --help",
    )
    completes(protocol, "protocol")
    what.add_argument(
        "--no-reference",
        dest="reference",
        action="store_false",
        help="without the row of a plain method (classifiers) that is not searched",
    )
    output = verb.add_argument_group("output")
    output.add_argument("--name", help="name of the bench (default: bench-DATASET)")
    add_results(output)
    output.add_argument(
        "--format",
        metavar="FORMAT",
        help="print the table for a paper: latex, markdown, csv or json, progress on standard error; DATASET may then "
        "be a bench that is there, by its name or folder",
    )
    devices = add_devices(verb)
    add_precision(devices)
    devices.add_argument("--deterministic", action="store_true", help="same result however many devices")
    verb.set_defaults(usual={name: verb.get_default(name) for name in _OF_A_RUN})


def run(given: argparse.Namespace, log: list[Path]) -> int:
    """Returns 1 where a method has no result."""
    if given.format is None:
        return int(bool(_bench(given, log).failures))
    from avtune.workflows.bench.formats import checked_format, formatted
    from avtune.workflows.bench.rows import read_board

    checked_format(given.format)
    folder = _bench_called(given.dataset, given.results)
    if folder is not None:
        _check_shown(given)
        print(formatted(read_board(folder), given.format), end="")
        return 0
    with contextlib.redirect_stdout(sys.stderr):
        board = _bench(given, log)
    print(formatted(board, given.format), end="")
    return int(bool(board.failures))


def _check_shown(given: argparse.Namespace) -> None:
    """Raises:
    UserError: an option says how a bench is run, where one that is there is printed.
    """
    asked = [one for one, usual in given.usual.items() if getattr(given, one) != usual]
    if asked:
        option = "--no-reference" if asked[0] == "reference" else f"--{asked[0].replace('_', '-')}"
        raise UserError(
            f"{given.dataset} is a bench that is there, which --format prints as it is; leave out {option}\n"
            "to extend it, name its dataset in its place"
        )


def _bench_called(name: str, results: Path) -> BenchFolder | None:
    """A bench that is there, by its name or its folder; None where the word means a dataset."""
    from avtune.data.registry import REGISTRY
    from avtune.workflows.bench.folder import BenchFolder

    if name in REGISTRY or Path(name).is_file():
        return None
    return next((one for one in map(BenchFolder, (results / name, Path(name))) if one.exists), None)


def _bench(given: argparse.Namespace, log: list[Path]) -> Board:
    """Runs the bench, or continues it."""
    from avtune.cli.bench_console import BenchConsole
    from avtune.cli.display import step
    from avtune.data import load
    from avtune.data.registry import REGISTRY
    from avtune.workflows.bench.folder import BenchFolder
    from avtune.workflows.bench.request import request_of
    from avtune.workflows.bench.run import bench
    from avtune.workflows.options import BenchOptions

    with step(f"loading {given.dataset}"):
        dataset = load(given.dataset, reading_of(given))
    spec = given.dataset if given.dataset in REGISTRY else str(Path(given.dataset).resolve())
    more = {"called": given.dataset, "train": given.train}
    request = request_of(dataset, spec, BenchOptions.of(given), given.methods, given.space, **more)
    log[:] = [BenchFolder(request.root).shared.log]
    return bench(request, BenchConsole())
