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

from avtune.core.files import to_yaml, write_text
from avtune.core.protocol import VALIDATION
from avtune.data.dataset import Dataset
from avtune.data.findings import examine
from avtune.data.prepare import folds_of
from avtune.engine import user_code
from avtune.finals.finish import NoWinner
from avtune.runners._base import Run
from avtune.runners.placement import PlacementRequest, place
from avtune.space.space import Space
from avtune.workflows.bench.board import Board
from avtune.workflows.bench.folder import FORMAT, BenchFolder, continued
from avtune.workflows.bench.listener import BenchListener, BenchPlan
from avtune.workflows.bench.rows import BenchRows
from avtune.workflows.bench.rules import Rules
from avtune.workflows.choose_runner import data_bytes, precision_named, runner_named
from avtune.workflows.dataset_facts import dataset_facts
from avtune.workflows.search import mend, search
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
        placement, runner, precision, deterministic, protocol: as in `search.Request`.
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
    protocol: str = VALIDATION


def bench(request: BenchRequest, listener: BenchListener) -> Board:
    """Runs every search of the bench to its end, or continues them, and writes the leaderboard.

    A method of which nothing can be retrained has no row; the others go on. A bench that is continued keeps its runner
    and its precision where the request names none.

    Args:
        request: what the user asked for.
        listener: is told what happens.

    Raises:
        UserError: something the user gave is wrong; a new bench leaves no folder behind then.
    """
    folder = BenchFolder(request.root)
    old = folder.settings() if folder.exists else {}
    name, runner = runner_named(request.runner or old.get("runner"))
    placement = place(request.placement, name, request.rules.trials, exact=request.deterministic)
    placement = placement.named("bench", request.root)
    precision = precision_named(request.precision, old.get("precision"), placement)
    request = replace(request, runner=name, precision=precision)
    settings = _made_or_continued(folder, request, old)
    with folder.shared.locked("running a bench"):
        folder.clear_torn()
        if old and settings != old:
            write_text(folder.bench_yaml, to_yaml(settings))
        rows = BenchRows(folder, settings)
        pending = [method for method in rows.methods if not mend(_study(request, method))]
        known = len(rows.methods) - len(pending) if old else None
        where = f"{name}: {placement.text}, {precision}"
        problems = examine(request.dataset).problems
        listener.planned(BenchPlan(folder.root, request.dataset, rows.methods, request.rules, where, problems, known))
        for method in rows.methods:
            if method not in pending:
                listener.known(rows.add(method))
        functions = [method for method in pending if user_code.function(method) is not None]
        if methods := [method for method in pending if method not in functions]:
            with runner(placement, data_bytes(request.dataset, 1)) as run:
                for method in methods:
                    _train(request, method, run, rows, listener)
        for method in functions:  # each with a runner of its own, once that of the methods has ended
            _train(request, method, None, rows, listener)
        rows.read_again()
        found = rows.write()
    listener.done(found, (folder.leaderboard_md, folder.leaderboard_html))
    return found


def _made_or_continued(folder: BenchFolder, request: BenchRequest, old: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the bench; makes the folder of a new one."""
    settings = _settings(request)
    if old:
        return continued(folder, old, settings, request.spaces)
    # Before there is a folder: a class with too few clips for the split is the user's to mend.
    one = next(iter(request.spaces.values())).validation
    folds_of(
        request.dataset,
        fraction=one.fraction,
        folds=one.folds,
        seed=request.rules.seed,
        given=one.split is not None,
        equal_rows=one.equal_rows is not None,
    )
    folder.create(settings)
    return settings


def _study(request: BenchRequest, method: str) -> Request:
    """One method's study, as `avtune search` would be asked for it."""
    function = user_code.function(method) is not None
    runner = request.runner if not function or request.runner == "inline" else None
    return Request(
        dataset=request.dataset,
        spec=request.spec,
        space=request.spaces[method],
        folder=BenchFolder(request.root).study(method),
        placement=replace(request.placement, lanes=None) if function else request.placement,
        runner=runner,
        precision=None if function else request.precision,
        deterministic=request.deterministic,
        protocol=request.protocol,
        full_finals=True,
    )


def _train(request: BenchRequest, method: str, run: Run | None, rows: BenchRows, listener: BenchListener) -> None:
    """One method's study, to its end; adds its row, or why it has none."""
    of_search = listener.started(method, rows.methods.index(method) + 1, len(rows.methods))
    try:
        search(replace(_study(request, method), run=run), of_search)
    except NoWinner as error:
        rows.folder.shared.note(f"{method}: {error}", "ERROR")
        rows.add_failure(method, str(error))
        listener.failed(method, str(error))
    else:
        listener.finished(rows.add(method))
        rows.write()


def _validation(request: BenchRequest) -> dict[str, str]:
    """What the data set decides of the validation rows, see `workflows.validation_rows`."""
    one = next(iter(request.spaces.values())).validation
    return {name: value for name, value in (("split", one.split), ("equal_rows", one.equal_rows)) if value is not None}


def _settings(request: BenchRequest) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "begun": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": request.command,
        "dataset": dataset_facts(request.dataset, request.spec),
        "methods": list(request.spaces),
        **asdict(request.rules),
        "set": list(request.rules.set),
        "protocol": request.protocol,
        **({"validation": how} if (how := _validation(request)) else {}),
        "runner": request.runner,
        "precision": request.precision,
        "deterministic": request.deterministic,
    }
