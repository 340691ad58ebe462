"""`avtune plan`: what a search would take, before it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.cli.arguments import (
    SET,
    Verbs,
    add_dataset,
    add_json,
    add_results,
    add_user_code,
    add_verb,
    completes,
    reading_of,
)
from avtune.cli.folders import study_called

if TYPE_CHECKING:
    from avtune.study.folder import StudyFolder
    from avtune.workflows.plan import PlanRequest, Prediction, Range


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "plan",
        "predict what a search would take: seconds, epochs, stopped trials; trains nothing",
        "avtune plan demo",
        "avtune plan vegas --gpus 8",
        "avtune plan my_features.h5 --trials 128 --curves first",
    )
    add_dataset(verb, "vegas, ave, demo, a path, or a space file with --rows")
    verb.add_argument("--rows", type=int, metavar="N", help="training clips, where a space file takes DATASET's place")
    verb.add_argument("--trials", type=int, metavar="N", help="configurations to try; as --set search.trials=N")
    verb.add_argument("--epochs", metavar="N|auto", help="most epochs of a trial; as --set early_stopping.epochs=N")
    policy = verb.add_argument(
        "--finals",
        metavar="full|race",
        help="full: every finalist has all seeds; race: only those that may still win (default: as a search there has)",
    )
    completes(policy, "finals")
    verb.add_argument("--final-seeds", type=int, metavar="N", help="seeds of the finals; as --set final.seeds=N")
    verb.add_argument(
        "--no-default",
        dest="default",
        action="store_false",
        help="finals without the row of the default configuration; as --set final.default=false",
    )
    space = verb.add_argument(
        "--space", metavar="FILE|NAME", help="what is searched (default: the dataset's own space, or psd)"
    )
    completes(space, "space")
    add_user_code(verb, "method to search (default: what the space says)")
    verb.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=SET)
    to = verb.add_argument_group("resources", "of the machine that is planned for, which need not be this one")
    to.add_argument("--gpus", type=int, metavar="N", help="GPUs (default: those of this machine; 0: the CPU cores)")
    to.add_argument("--cpus", type=int, metavar="N", help="CPU cores (default: those allowed here)")
    to.add_argument("--lanes", type=int, metavar="N", help="trials that an engine trains at a time (default: chosen)")
    verb.add_argument("--portfolio", action="store_true", help="as search takes it")
    curves = verb.add_argument(
        "--curves",
        metavar="STUDY|FILE[,...]",
        help="how trials learn and what epochs take: studies on like data, or files of recorded curves "
        "(default: those of the dataset that come with avtune, or of all others)",
    )
    completes(curves, "study")
    add_results(verb)
    add_json(verb)


def run(given: argparse.Namespace, log: list[Path]) -> int:
    from avtune.workflows.plan import plan

    request = _request(given)
    found = plan(request)
    if given.json:
        print(json.dumps(_facts(request, found), indent=2))
    else:
        console.say(*_lines(request, found))
    return 0


def _request(given: argparse.Namespace) -> PlanRequest:
    from avtune.workflows.choose_space import chosen
    from avtune.workflows.plan import PlanRequest, data_of, data_of_rows
    from avtune.workflows.search_request import usual_space

    overrides = list(given.set)
    if given.trials is not None:
        overrides.append(f"search.trials={given.trials}")
    if given.epochs is not None:
        overrides.append(f"early_stopping.epochs={given.epochs}")
    if given.finals is not None:
        overrides.append(f"final.policy={given.finals}")
    if given.final_seeds is not None:
        overrides.append(f"final.seeds={given.final_seeds}")
    if not given.default:
        overrides.append("final.default=false")
    file, data = given.space, None
    if given.rows is not None or given.dataset.endswith((".yaml", ".yml")):
        file, data = given.dataset, data_of_rows(given.rows)
    space = chosen(file, given.method, usual=usual_space(given.dataset), overrides=overrides)
    data = data or data_of(given.dataset, reading_of(given))
    return PlanRequest(data, space, given.gpus, given.cpus, given.lanes, given.portfolio, _curves(given))


def _curves(given: argparse.Namespace) -> list[StudyFolder | Path]:
    """The studies and the files that --curves names.

    Raises:
        UserError: one is neither.
    """
    names = [] if given.curves is None else str(given.curves).split(",")
    return [Path(name) if Path(name).is_file() else study_called(name, given.results) for name in names]


def _facts(request: PlanRequest, found: Prediction) -> dict[str, object]:
    """As `--json` prints it."""
    return {
        "dataset": request.data.name,
        "method": request.space.method,
        "trials": request.space.search.trials,
        "placement": found.placement,
        "seconds": {name: asdict(one) for name, one in found.seconds.items()},
        "epochs": {name: asdict(one) for name, one in found.epochs.items()},
        "stopped": asdict(found.stopped),
        "device_seconds": asdict(found.device_seconds),
        "searches": found.searches,
        "assumed": list(found.assumed),
    }


def _lines(request: PlanRequest, found: Prediction) -> list[str]:
    from avtune.report.text import duration

    space = request.space
    axes = ", ".join(axis.name for axis in space.axes) or "nothing"
    times = [[name, *map(duration, _three(one))] for name, one in found.seconds.items()]
    counts = [[f"epochs of the {name}", *_whole(one)] for name, one in found.epochs.items()]
    counts.append([f"stopped, of {space.search.trials} trials", *_whole(found.stopped)])
    return [
        f"dataset    {request.data.name}: {request.data.train} training and {request.data.test} test clips",
        f"method     {space.method}; searches {axes}",
        f"trials     {space.search.trials}, {found.placement}",
        "",
        *console.fitting(["", "expected", "from", "to"], times),
        "",
        *console.fitting(["", "expected", "from", "to"], counts),
        "",
        *found.assumed,
    ]


def _three(one: Range) -> Sequence[float]:
    return one.expected, one.low, one.high


def _whole(one: Range) -> list[str]:
    return [f"{value:.0f}" for value in _three(one)]
