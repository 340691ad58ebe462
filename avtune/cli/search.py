"""`avtune search`: searches hyper-parameters, retrains the winner and scores it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avtune.cli.arguments import (
    SET,
    Options,
    Parser,
    Verbs,
    add_dataset,
    add_devices,
    add_precision,
    add_reading,
    add_results,
    add_user_code,
    add_verb,
    completes,
    reading_of,
)
from avtune.cli.remote import bring
from avtune.core.errors import StorageError, UserError

if TYPE_CHECKING:
    from avtune.space.space import Space
    from avtune.workflows.search_plan import Request


def add(verbs: Verbs) -> None:
    verb = add_verb(
        verbs,
        "search",
        "search hyper-parameters, retrain the winner, score it; the same command continues",
        "avtune search demo",
        "avtune search my_features.h5 --trials 64 --name first",
        "avtune search vegas --gpus 8",
    )
    add_dataset(verb, reading=False)
    _add_searched(verb.add_argument_group("what is searched"))
    output = verb.add_argument_group("output")
    output.add_argument("--name", help="name of the study (default: the dataset's name)")
    add_results(output)
    output.add_argument("--keep", type=int, metavar="K", help="keep the weights of the K best trials, as models (0)")
    output.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="TO",
        help="also track it in mlflow, mlflow:URI, wandb or wandb:PROJECT, by a process of its own",
    )
    _add_devices(verb)
    _add_finals(verb.add_argument_group("finals", "finalists: --set final.finalists=3"))
    add_reading(verb)


def _add_searched(to: Options) -> None:
    """The options that say what is searched, and for how long."""
    to.add_argument("--trials", type=int, metavar="N", help="configurations to try; as --set search.trials=N")
    to.add_argument(
        "--epochs",
        metavar="N|auto",
        help="most epochs of a trial, or auto: until its curve is flat; as --set early_stopping.epochs=N",
    )
    to.add_argument(
        "--sampler", metavar="NAME", help="tpe (default), gp, random, qmc or grid; as --set search.sampler="
    )
    to.add_argument(
        "--objective",
        metavar="NAME",
        help="what is maximised on the validation rows: map (default), map@r, map@K, ndcg, 'audio->visual' or "
        "'0.7*audio->visual+0.3*visual->audio'; as --set search.objective=",
    )
    to.add_argument("--time", metavar="2h", help="end in this time, finals and retraining included: 90m, 1h30m")
    to.add_argument(
        "--stop-when-flat",
        type=int,
        metavar="N",
        help="no more trials once the best has not risen for N; as --set search.stop_when_flat=N",
    )
    space = to.add_argument(
        "--space",
        metavar="FILE|NAME",
        help="what is searched: a space, or best.yaml for that one configuration (default: the dataset's own space, "
        "or psd)",
    )
    completes(space, "space")
    earlier = to.add_argument(
        "--like", metavar="STUDY,...", help="earlier studies of the method, whose best configurations are tried early"
    )
    completes(earlier, "study")
    to.add_argument(
        "--portfolio",
        action="store_true",
        help="also try eight configurations of the method that were good on other data; see docs/budgets.md",
    )
    centre = to.add_argument("--around", metavar="FILE", help="search ranges around a configuration, e.g. a best.yaml")
    completes(centre, "file")
    to.add_argument(
        "--width", type=float, metavar="W", help="with --around: share of each range that is searched (0.25)"
    )
    add_user_code(
        to, "method to search, by name or your own as module:Class (default: what the space says)", train=True
    )
    start = to.add_argument(
        "--start", metavar="FILE,...", help="configurations to try early: best.yaml of a study, or a file of values"
    )
    completes(start, "file")
    to.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=SET)


def _add_devices(verb: Parser) -> None:
    """Where it runs, and how exactly."""
    devices = add_devices(verb)
    add_precision(devices)
    devices.add_argument(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="submit it as a job of SLURM, e.g. nodes=2,gpus=8,time=4h,partition=long; see docs/cluster.md",
    )
    devices.add_argument("--dry-run", action="store_true", help="with --slurm: print the job's script, submit nothing")
    devices.add_argument(
        "--deterministic", action="store_true", help="same result however many devices; see the README for the price"
    )


def _add_finals(to: Options) -> None:
    """How the winner is named, retrained and scored."""
    protocol = to.add_argument(
        "--protocol",
        help="validation (default), or published: the retrained model keeps its best test epoch, as the field's tables "
        "do; every score is then labelled 'selected on test'",
    )
    completes(protocol, "protocol")
    policy = to.add_argument(
        "--finals",
        metavar="full|race",
        help="full: every finalist has all seeds; race: only those that may still win, by a test (default: race, full "
        "on GPUs); as --set final.policy=race",
    )
    completes(policy, "finals")
    to.add_argument(
        "--final-seeds",
        type=int,
        metavar="N",
        help="seeds of the finals and of the retraining; 10 for a score to publish; as --set final.seeds=N",
    )
    to.add_argument(
        "--repeat",
        type=int,
        metavar="N",
        help="N whole searches with other search seeds (studies NAME, NAME-seed1, ...): interval over the searches, "
        "and how far their winners are apart",
    )
    to.add_argument(
        "--no-reference",
        dest="reference",
        action="store_false",
        help="without the row of a plain method beside the winner; as --set final.reference=none",
    )
    to.add_argument(
        "--no-default",
        dest="default",
        action="store_false",
        help="without the row of the default configuration beside the winner, about a third of the finals; as "
        "--set final.default=false",
    )
    to.add_argument(
        "--retry-failed",
        action="store_true",
        help="train again what failed in the study: trials, finalists, retrainings",
    )


def run(given: argparse.Namespace, log: list[Path]) -> int:
    if given.repeat is not None and (given.slurm is not None or given.dry_run):
        raise UserError("--repeat runs several searches here; --slurm submits one: give each a --set search.seed=N")
    if given.slurm is not None or given.dry_run:
        from avtune.cli.slurm import submit_search

        return submit_search(given, lambda: _request(given, log))
    if given.repeat is not None:
        from avtune.cli.repeat import repeat_search

        return repeat_search(given, lambda one: _request(one, log), lambda one: _search(one, log))
    _search(_request(given, log), log)
    return 0


def _search(request: Request, log: list[Path]) -> None:
    """Runs a search to its end, or continues it."""
    from avtune.cli.search_console import SearchConsole
    from avtune.workflows.search import search

    log[:] = [request.folder.log]
    try:
        with SearchConsole() as listener:
            search(request, listener)
    except StorageError as error:
        if not request.folder.exists:
            raise
        raise StorageError(f"{error}\nthe study keeps what it has; the same command continues") from None


def _request(given: argparse.Namespace, log: list[Path]) -> Request:
    from avtune.cli.display import step
    from avtune.data import load
    from avtune.data.registry import REGISTRY
    from avtune.workflows.choose_space import chosen
    from avtune.workflows.options import SearchOptions
    from avtune.workflows.search_request import folder_of, request_of, usual_space

    with step(f"loading {given.dataset}"):
        dataset = load(given.dataset, reading_of(given))
    options, code = SearchOptions.of(given), given.train or given.method
    folder = folder_of(dataset, options)
    bring(given, folder.root.name)
    if folder.exists:
        log.append(folder.log)

    notes: list[str] = []

    def make(overrides: Sequence[str]) -> Space:
        return chosen(given.space, code, usual=usual_space(given.dataset), overrides=overrides, notes=notes)

    spec = given.dataset if given.dataset in REGISTRY else str(Path(given.dataset).resolve())
    named = bool(given.space)
    return request_of(dataset, spec, options, _overrides(given), code, make, space_is_named=named, notes=notes)


def _overrides(given: argparse.Namespace) -> list[str]:
    overrides = list(given.set)
    if given.trials is not None:
        overrides.append(f"search.trials={given.trials}")
    if given.sampler is not None:
        overrides.append(f"search.sampler={given.sampler}")
    if given.objective is not None:
        overrides.append(f"search.objective={given.objective}")
    if given.stop_when_flat is not None:
        overrides.append(f"search.stop_when_flat={given.stop_when_flat}")
    if given.epochs is not None:
        overrides.append(f"early_stopping.epochs={given.epochs}")
    if given.finals is not None:
        overrides.append(f"final.policy={given.finals}")
    if given.final_seeds is not None:
        overrides.append(f"final.seeds={given.final_seeds}")
    if not given.reference:
        overrides.append("final.reference=none")
    if not given.default:
        overrides.append("final.default=false")
    return overrides
