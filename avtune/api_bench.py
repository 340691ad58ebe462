"""The Python interface to benches; the rest is in `api.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from avtune.cli.bench_console import BenchConsole
from avtune.core import log
from avtune.data.dataset import Dataset
from avtune.methods import Method
from avtune.workflows.bench.folder import BenchFolder
from avtune.workflows.bench.listener import SilentBench
from avtune.workflows.bench.run import bench as run_bench
from avtune.workflows.bench.view import BenchView, existing_bench
from avtune.workflows.options import BenchOptions
from avtune.workflows.python_bench import request_for
from avtune.workflows.python_data import Place, dataset_for, path_text
from avtune.workflows.python_errors import python_errors
from avtune.workflows.python_options import assigned
from avtune.workflows.python_run import run


def bench(
    data: Dataset | Place,
    *,
    methods: Sequence[str | type[Method]] | None = None,
    train: str | Callable[..., Any] | None = None,
    trials: int | None = None,
    epochs: int | Literal["auto"] | None = None,
    seeds: int | None = None,
    space: Mapping[str, Place] | None = None,
    set: Mapping[str, Any] | None = None,
    protocol: Literal["validation", "published"] | None = None,
    reference: bool = True,
    name: str | None = None,
    results: Place = "results",
    gpus: int | None = None,
    cpus: int | None = None,
    trials_per_gpu: int = 1,
    lanes: int | None = None,
    cluster: str | None = None,
    runner: Literal["lanes", "processes", "inline"] | None = None,
    precision: Literal["bf16", "tf32", "fp32"] | None = None,
    deterministic: bool = False,
    max_failures: int = 3,
    trial_timeout: float | None = None,
    classes: Place | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> BenchView:
    """Searches every method under one budget, retrains the winners and ranks them on the test split. The same call
    continues a bench that was stopped; methods, trials and seeds may be added to it.

    A method of which nothing can be retrained has no row; `.failures` says why.

    Args:
        data: a dataset, or what `load_dataset` takes.
        methods: names, or methods of your own as `module:Class` or as the class (default: every registered one).
        train: also a row of a training function of your own, as `module:function` or as the function; needs `space` of
            that name.
        trials: configurations to try of each method (16).
        epochs: most epochs of a trial, or `auto` (default): until its curve is flat.
        seeds: of finalists and retrained winners (5).
        space: what is searched of a method, by its name: the name or the file of a space (default: the space called
            like it, with what its `bench` says).
        set: values for every method that has them, by dotted key, e.g. `{"space.hidden_dim": 256}`.
        protocol: as for `search`, of every row.
        reference: also a row of plain `classifiers`, not searched, unless they are among the methods.
        name: of the bench (default: `bench-` and the dataset's name).
        results, gpus, ..., verbose: as for `search`.

    Returns:
        The bench: `.table`, a DataFrame with a row a method, best first; `.p_values`; `.study("psd")`.

    Raises:
        UserError: something given is wrong (a new bench leaves no folder behind then), or there is too little memory or
            disk.

    >>> small = {"trials": 1, "epochs": 1, "seeds": 1, "runner": "inline", "gpus": 0, "quiet": True, "reference": False}
    >>> bench("demo", methods=["cca"], name="small", **small).table["method"].tolist()
    ['cca']
    """
    with python_errors():
        place, sets = Path(path_text(results, "results")), assigned(set)
    options = BenchOptions(
        results=place,
        name=name,
        trials=trials,
        epochs=epochs,
        seeds=seeds,
        gpus=gpus,
        cpus=cpus,
        trials_per_gpu=trials_per_gpu,
        lanes=lanes,
        cluster=cluster,
        runner=runner,
        precision=precision,
        deterministic=deterministic,
        max_failures=max_failures,
        trial_timeout=trial_timeout,
        reference=reference,
        protocol=protocol,
        set=sets,
    )
    with python_errors():
        request = request_for(dataset_for(data, classes), data, options, methods, space, train)
        folder, listener = BenchFolder(request.root), SilentBench() if quiet else BenchConsole()
        with log.shown() if verbose else contextlib.nullcontext():
            board = run(lambda: run_bench(request, listener), lambda: f"bench {folder.root}" * folder.exists)
    return BenchView(folder.root, board)


def load_bench(bench: Place, *, results: Place = "results") -> BenchView:
    """A bench that exists, finished or not. Nothing is changed; its leaderboard is made from the studies that are
    finished.

    Args:
        bench: its folder, or its name below `results`.
        results: the folder of studies and benches.

    Raises:
        UserError: there is none.
    """
    with python_errors():
        return BenchView(existing_bench(path_text(bench, "bench"), Path(path_text(results, "results"))))
