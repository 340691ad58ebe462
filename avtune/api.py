"""The Python interface: `avtune.search` and its companions, over the same workflows as the command line.

Every function raises `avtune.UserError` for what the user can put right, says options as Python spells them, and never
ends the process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

from avtune.cli.retrain_console import RetrainConsole
from avtune.cli.search_console import SearchConsole
from avtune.core import log
from avtune.data import load
from avtune.data.dataset import Dataset
from avtune.data.options import options_of
from avtune.methods import Method
from avtune.workflows.listening import SearchListener, Silent
from avtune.workflows.options import DeviceOptions
from avtune.workflows.python_code import named_code
from avtune.workflows.python_data import Place, classes_text, dataset_for, path_text
from avtune.workflows.python_errors import python_errors
from avtune.workflows.python_options import SearchArguments
from avtune.workflows.python_retrain import request_for as retrain_request
from avtune.workflows.python_run import run
from avtune.workflows.python_search import request_for
from avtune.workflows.retrain import Retrained, RetrainListener, SilentRetrain
from avtune.workflows.retrain import retrain as run_retrain
from avtune.workflows.search import search as run_search
from avtune.workflows.study_view import StudyView, existing


def load_dataset(
    source: Place,
    *,
    classes: Place | None = None,
    views: str | Sequence[str] | None = None,
    map: str | Mapping[str, str] | None = None,
    pool: str | Sequence[str] | None = None,
    test_fraction: float | None = None,
    several_labels: bool = False,
) -> Dataset:
    """A dataset by its registered name or from a file.

    Args:
        source: `vegas`, `ave` or `demo`, or the path of a file or folder of features; docs/data.md lists the layouts.
        classes: class file (`name,label_id`): only these classes, of a folder of tfrecord shards or of AVE's files.
        views: names of the two views, or which views of a file that has more.
        map: names of arrays or columns by what they are, `{"audio_train": "vggish", ...}`.
        pool: how features over time become one vector a clip: `mean`, `max`, `std`, or several of these.
        test_fraction: share of the clips that become the test split, where a file has none.
        several_labels: of tfrecord shards: also clips of several of the classes, else only those of exactly one.

    Raises:
        UserError: there is no such dataset, it cannot be read, or nothing can be trained on it.

    >>> load_dataset("demo")
    <Dataset demo: 1766 training and 189 test clips, 15 classes, audio 128-d, visual 1024-d>
    """
    with python_errors():
        how = options_of(
            classes=classes_text(classes),
            views=views,
            map=map,
            pool=pool,
            test_fraction=test_fraction,
            several_labels=several_labels,
        )
        return load(path_text(source, "data"), how)


def search(
    data: Dataset | Place,
    *,
    space: Place | Mapping[str, Any] | None = None,
    method: str | type[Method] | None = None,
    train: str | Callable[..., Any] | None = None,
    trials: int | None = None,
    epochs: int | Literal["auto"] | None = None,
    sampler: Literal["tpe", "gp", "random", "qmc", "grid"] | None = None,
    objective: str | None = None,
    time: str | float | None = None,
    stop_when_flat: int | None = None,
    start: Place | Mapping[str, Any] | Sequence[Place | Mapping[str, Any]] | None = None,
    like: StudyView | Place | Sequence[StudyView | Place] | None = None,
    portfolio: bool = False,
    around: Place | Mapping[str, Any] | None = None,
    width: float | None = None,
    set: Mapping[str, Any] | None = None,
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
    protocol: Literal["validation", "published"] | None = None,
    finals: Literal["full", "race"] | None = None,
    final_seeds: int | None = None,
    reference: bool = True,
    default: bool = True,
    keep: int | None = None,
    retry_failed: bool = False,
    track: str | Sequence[str] | None = None,
    max_failures: int = 3,
    trial_timeout: float | None = None,
    classes: Place | None = None,
    quiet: bool = False,
    verbose: bool = False,
) -> StudyView:
    """Searches hyper-parameters, retrains the winner, scores it on the test split. The same call continues a study that
    was stopped; a finished one is shown again.

    Ctrl-C ends it with a `KeyboardInterrupt`, after the study has been closed: the same call continues.

    Args:
        data: a dataset, or what `load_dataset` takes.
        space: what is searched: a name (`ave`), a file, or what such a file holds as a mapping. A `best.yaml` or a
            mapping of plain values is a space of one configuration. None: the dataset's own space, or `psd`.
        method: a name, or one of your own as `module:Class` or as the class; None for what the space says.
        train: a training function of your own, as `module:function` or as the function; needs `space`.
        trials: configurations to try.
        epochs: most epochs of a trial, or `auto`: until its curve is flat.
        sampler: `tpe` (default), `gp` (Gaussian process), `random`, `qmc` (quasi-random) or `grid`.
        objective: what is maximised on the validation rows: `map` (default), `map@r`, `map@K`, `ndcg`, a direction such
            as `audio->visual`, or a weighted pair, `0.7*audio->visual+0.3*visual->audio`.
        time: end in this time, finals and retraining included: `2h`, `90m`, or seconds.
        stop_when_flat: no more trials once the best validation MAP has not risen for so many ended ones; 0 for never.
        start: configurations to try, after the random start-up trials: a study's `best.yaml`, a file of values, a
            mapping of values, or a list of these.
        like: earlier studies of the method, whose best configurations are tried after the default one.
        portfolio: then try the method's portfolio, which must have one (docs/budgets.md).
        around: one of the configurations that `start` takes, around which ranges are searched.
        width: with `around`, the share of each range that is searched (0.25).
        set: further values of the space by dotted key, e.g. `{"search.seed": 1, "space.margin.high": 0.5}`.
        name: of the study (default: the dataset's name).
        results: the folder of studies.
        gpus: GPUs to use (default: all; 0: the CPU cores).
        cpus: CPU cores to use (default: those allowed here).
        trials_per_gpu: processes that share a GPU.
        lanes: trials that an engine trains at a time (default: chosen).
        cluster: a Ray cluster to train on, `host:port` or `auto`.
        runner: `lanes` (default), `processes`, or `inline`: one trial at a time in this process, without Ray.
        precision: of the search; default: bf16 where the device has it.
        deterministic: the same result however many devices.
        protocol: `validation` (default), or `published`: the retrained model keeps its best test epoch.
        finals: `full`: every finalist has all seeds; `race`: only those that may still win. Default: `race`, on GPUs
            `full`.
        final_seeds: seeds of the finals and of the retraining, at least 1; 10 for a score to publish.
        reference: also score plain `classifiers`, not tuned, beside the winner.
        default: also repeat, retrain and score the default configuration, which is about a third of the finals.
        keep: also keep the weights of so many best trials, as models.
        retry_failed: train the failed trials of the study again.
        track: also track it there, by a process of its own: `mlflow`, `mlflow:URI`, `wandb`, `wandb:PROJECT`, or
            several of them.
        max_failures: a trial whose process died or hung so many times fails.
        trial_timeout: seconds after which an epoch of a trial counts as hanging.
        classes: as for `load_dataset`, where `data` is a folder.
        quiet: print no progress and no result.
        verbose: log messages of avtune and its engines on standard error, as `--verbose` has them.

    Returns:
        The finished study.

    Raises:
        UserError: something given is wrong (a new study leaves no folder behind then), every trial failed, or there is
            too little memory or disk.

    >>> small = {"space.hidden_dim": 8, "final.finalists": 1, "final.seeds": 1}
    >>> study = search("demo", trials=1, epochs=1, set=small, runner="inline", gpus=0, name="tiny", quiet=True)
    >>> study.state, len(study.trials), study.results.trial
    ('finished', 1, 0)
    """
    with python_errors():
        place = Path(path_text(results, "results"))
    arguments = SearchArguments(
        space=space,
        trials=trials,
        epochs=epochs,
        stop_when_flat=stop_when_flat,
        sampler=sampler,
        objective=objective,
        set=set or {},
        name=name,
        results=place,
        gpus=gpus,
        cpus=cpus,
        trials_per_gpu=trials_per_gpu,
        lanes=lanes,
        cluster=cluster,
        runner=runner,
        precision=precision,
        deterministic=deterministic,
        protocol=protocol,
        finals=finals,
        final_seeds=final_seeds,
        reference=reference,
        default=default,
        keep=keep,
        retry_failed=retry_failed,
        track=track,
        start=start,
        like=like,
        portfolio=portfolio,
        around=around,
        time=time,
        width=width,
        max_failures=max_failures,
        trial_timeout=trial_timeout,
    )
    with python_errors():
        dataset, code = dataset_for(data, classes), named_code(method, train)
        request = request_for(dataset, data, arguments, code)
        folder = request.folder
        listener: AbstractContextManager[SearchListener] = (
            contextlib.nullcontext(Silent()) if quiet else SearchConsole()
        )
        with log.shown() if verbose else contextlib.nullcontext(), listener as told:
            run(lambda: run_search(request, told), lambda: f"study {folder.root}" if folder.exists else "")
    return StudyView(folder.root)


def retrain(
    study: StudyView | Place,
    *,
    trial: int | None = None,
    epochs: int | None = None,
    seeds: int | None = None,
    data: Dataset | Place | None = None,
    out: Place | None = None,
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
) -> Retrained:
    """Retrains one trial of a study on the whole training set over seeds, and scores it on the test split, which counts
    as a look at it.

    Args:
        study: a study, its folder, or its name below `results`.
        trial: the number of the trial (default: the study's best).
        epochs: to train (default: those that the finalists' curves say, else the trial's best epoch).
        seeds: how many (default: the study's `final.seeds`).
        data: the study's dataset, or where it is now (default: where it was).
        out: the folder of the model (default: `retrained_trial_N` in the study).
        method, train: code of your own, where the study is of such.
        results, gpus, ..., verbose: as for `search`.

    Returns:
        `.results`, as a study has them, and the model's folder `.path`, which `load_model` takes.

    Raises:
        UserError: there is no such study or trial, the dataset is another one, `out` exists, or a run failed.
    """
    with python_errors():
        place, to = Path(path_text(results, "results")), None if out is None else Path(path_text(out, "out"))
    options = DeviceOptions(
        results=place,
        gpus=gpus,
        cpus=cpus,
        trials_per_gpu=trials_per_gpu,
        lanes=lanes,
        cluster=cluster,
        runner=runner,
        max_failures=max_failures,
        trial_timeout=trial_timeout,
    )
    with python_errors():
        folder = study.path if isinstance(study, StudyView) else existing(path_text(study, "study"), place)
        dataset = None if data is None else dataset_for(data, classes)
        numbers, code = (trial, epochs, seeds), named_code(method, train)
        request = retrain_request(folder, dataset, options, code, numbers, out=to, classes=classes)
        listener: AbstractContextManager[RetrainListener] = (
            contextlib.nullcontext(SilentRetrain()) if quiet else RetrainConsole()
        )
        with log.shown() if verbose else contextlib.nullcontext(), listener as told:
            return run(lambda: run_retrain(request, told))


def load_study(study: Place, *, results: Place = "results") -> StudyView:
    """A study that exists, finished or not. Nothing is changed, and a search that is running is not disturbed.

    Args:
        study: its folder, or its name below `results`.
        results: the folder of studies.

    Raises:
        UserError: there is none.

    >>> load_study("results/first").state
    'finished'
    """
    with python_errors():
        return StudyView(existing(path_text(study, "study"), Path(path_text(results, "results"))))
