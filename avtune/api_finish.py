"""The part of the Python interface that ends searches: `avtune.finish`; see `avtune.api`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from avtune.cli.search_console import SearchConsole
from avtune.core import log
from avtune.data.dataset import Dataset
from avtune.methods import Method
from avtune.study.folder import StudyFolder
from avtune.workflows.listening import SearchListener, Silent
from avtune.workflows.options import DeviceOptions
from avtune.workflows.python_code import named_code
from avtune.workflows.python_data import Place, dataset_for, path_text
from avtune.workflows.python_errors import python_errors
from avtune.workflows.python_finish import request_for as finish_request
from avtune.workflows.python_run import run
from avtune.workflows.search import search as run_search
from avtune.workflows.study_view import StudyView, existing


def finish(
    study: StudyView | Place,
    *,
    data: Dataset | Place | None = None,
    method: str | type[Method] | None = None,
    train: str | Callable[..., Any] | None = None,
    results: Place = "results",
    gpus: int | None = None,
    cpus: int | None = None,
    trials_per_gpu: int = 1,
    lanes: int | None = None,
    cluster: str | None = None,
    runner: Literal["lanes", "processes", "inline"] | None = None,
    max_failures: int = 3,
    trial_timeout: float | None = None,
    classes: Place | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> StudyView:
    """Ends an interrupted search now, with its finals. One that runs in another process is asked to end: it suggests no
    further trial then, and this call returns at once. More `trials` have the search go on.

    Args:
        study: a study, its folder, or its name below `results`.
        data: the study's dataset, or where it is now (default: where it was).
        method, train: code of your own, where the study is of such.
        results, gpus, ..., verbose: as for `search`.

    Returns:
        The study: finished, or running still.

    Raises:
        UserError: there is no such study, no trial of it has trained an epoch, another process works on it without
            searching, or the dataset is another one.
    """
    with python_errors():
        options = DeviceOptions(
            results=Path(path_text(results, "results")),
            gpus=gpus,
            cpus=cpus,
            trials_per_gpu=trials_per_gpu,
            lanes=lanes,
            cluster=cluster,
            runner=runner,
            max_failures=max_failures,
            trial_timeout=trial_timeout,
        )
        folder = StudyFolder(
            study.path if isinstance(study, StudyView) else existing(path_text(study, "study"), options.results)
        )
        dataset = None if data is None else dataset_for(data, classes)
        request = finish_request(folder, dataset, options, named_code(method, train), classes=classes)
        if request is not None:
            listener: AbstractContextManager[SearchListener] = (
                contextlib.nullcontext(Silent()) if quiet else SearchConsole()
            )
            with log.shown() if verbose else contextlib.nullcontext(), listener as told:
                run(lambda: run_search(request, told), lambda: f"study {folder.root}")
    return StudyView(folder.root)
