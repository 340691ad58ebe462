"""Every method under one budget and one protocol: a study each, then the leaderboard. The verb `bench`.

Each method's study is a folder of its own below the bench's; its search differs from `avtune search` only in that the
rules of the bench replace the settings of its space. What is done is read from the studies' files, so the same command
continues a bench from wherever it was stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avtune.cli import console
from avtune.cli.search_console import SearchConsole
from avtune.core.files import to_yaml, write_text
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.split import validation_folds
from avtune.finals.finish import NoWinner
from avtune.runners._base import Run
from avtune.runners.placement import PlacementRequest, place
from avtune.space.settings import AUTO
from avtune.space.space import Space
from avtune.workflows.bench.board import Board
from avtune.workflows.bench.folder import FORMAT, BenchFolder, continued
from avtune.workflows.bench.leaderboard import text
from avtune.workflows.bench.rows import Ledger
from avtune.workflows.bench.rules import Rules
from avtune.workflows.choose_runner import data_bytes, precision_named, runner_named
from avtune.workflows.dataset_facts import dataset_facts, dataset_line
from avtune.workflows.search import search
from avtune.workflows.search_plan import Request


@dataclass(frozen=True)
class BenchRequest:
    """What the user asked for.

    Attributes:
        dataset: loaded and checked.
        spec: how the user named it.
        command: what to type to get the same bench, without this machine's paths.
        spaces: the space of each method by its name, in the order of the runs; the rules are applied.
        rules: what is the same for all.
        root: the folder of the bench, which is or will be.
        placement, runner, precision, deterministic: as in `search.Request`.
    """

    dataset: Dataset
    spec: str
    command: str
    spaces: Mapping[str, Space]
    rules: Rules
    root: Path
    placement: PlacementRequest
    runner: str | None = None
    precision: str | None = None
    deterministic: bool = False


def bench(request: BenchRequest) -> Board:
    """Runs every search of the bench to its end, or continues them, and writes the leaderboard.

    A method of which nothing can be retrained has no row; the others go on. A bench that is continued keeps its runner
    and its precision where the request names none.

    Raises:
        UserError: something the user gave is wrong; a new bench leaves no folder behind then.
    """
    folder = BenchFolder(request.root)
    old = folder.settings() if folder.exists else {}
    name, runner = runner_named(request.runner or old.get("runner"))
    placement = place(request.placement, name, request.rules.trials, exact=request.deterministic)
    precision = precision_named(request.precision, old.get("precision"), placement)
    request = replace(request, runner=name, precision=precision)
    settings = _settings(request)
    if not old:
        # Before there is a folder: a class with too few clips for the split is the user's to mend.
        validation_folds(
            request.dataset.train.labels, fraction=request.rules.fraction, folds=None, seed=request.rules.seed
        )
        folder.create(settings)
    else:
        settings = continued(folder, old, settings, request.spaces)
    with folder.shared.locked():
        folder.clear_torn()
        if old and settings != old:
            write_text(folder.bench_yaml, to_yaml(settings))
        methods = settings["methods"]
        pending = [method for method in methods if not folder.study(method).metrics.is_file()]
        ledger = Ledger(folder, settings)
        console.say(
            *console.problem_lines(examine(request.dataset).problems),
            f"bench      {folder.root}"
            + (f" (continues, {len(methods) - len(pending)} of {len(methods)} methods known)" if old else ""),
            f"dataset    {dataset_line(request.dataset)}",
            f"methods    {', '.join(methods)}",
            f"each       {request.rules.trials} trials {_length(request.rules)}, {request.rules.seeds} seeds",
            f"runner     {name}: {placement.text}, {precision}",
            "",
        )
        for method in methods:
            if method not in pending:
                ledger.finished(method)
        if pending:
            with runner(placement, data_bytes(request.dataset, 1)) as run:
                for method in pending:
                    console.say("", f"{method} ({methods.index(method) + 1} of {len(methods)})")
                    _search(request, folder, method, run, ledger)
        found = ledger.write()
    console.say("", *text(found), "")
    console.say(*(f"written    {path}" for path in (folder.leaderboard_md, folder.leaderboard_html)))
    return found


def _length(rules: Rules) -> str:
    return f"of at most {rules.epochs} epochs" if rules.epochs != AUTO else "until their curves are flat"


def _search(request: BenchRequest, folder: BenchFolder, method: str, run: Run, ledger: Ledger) -> None:
    """One method's study, to its end."""
    study = Request(
        dataset=request.dataset,
        spec=request.spec,
        space=request.spaces[method],
        folder=folder.study(method),
        placement=request.placement,
        runner=request.runner,
        precision=request.precision,
        deterministic=request.deterministic,
        run=run,
    )
    try:
        search(study, SearchConsole(brief=True))
    except NoWinner as error:
        folder.shared.note(f"{method}: {error}")
        ledger.failed(method, str(error))
    else:
        ledger.finished(method)
        ledger.write()


def _settings(request: BenchRequest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "begun": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": request.command,
        "dataset": dataset_facts(request.dataset, request.spec),
        "methods": list(request.spaces),
        **asdict(request.rules),
        "runner": request.runner,
        "precision": request.precision,
        "deterministic": request.deterministic,
    }
