"""One Ray Tune trial per configuration, each in a worker process of its own, on a CPU core or a whole or part of a GPU.

Tune places the work; the source alone decides. Tune's own search state, stopping rule, loggers and restore are not
used.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avtune.core.errors import StorageError, UserError
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine import user_code
from avtune.runners._base import Placement, Run, Source
from avtune.runners.out_of_memory import LACK, LOWER, Deaths
from avtune.runners.ray.choose import ray_for
from avtune.runners.watchdog import Watch, last_stack


@contextmanager
def opened(placement: Placement, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. Starts a private Ray, or attaches to the placement's cluster; the data of a call goes
    into its object store once."""
    calls = itertools.count()
    with ray_for(placement, data_bytes) as scratch:
        yield lambda source, data: _run(source, data, placement, scratch, f"run{next(calls)}")


def _run(source: Source, data: Sequence[Prepared], placement: Placement, storage: Path, name: str) -> None:
    from ray import tune

    adapters = _adapters()
    searcher = adapters.StudySearcher(source, placement, storage)
    trainable = tune.with_resources(
        tune.with_parameters(
            _trial,
            data=list(data),
            threads=placement.threads,
            timeout=placement.timeout,
            scratch=str(storage),
            named=user_code.registered(),
        ),
        placement.resources,
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=adapters.StudyScheduler(source, searcher),
            num_samples=-1,
            max_concurrent_trials=placement.count,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=placement.max_failures - 1),
        ),
    )
    tuner.fit()
    if searcher.error is not None:
        raise searcher.error
    assert source.exhausted, "Tune ended before the source was exhausted"


def _trial(
    config: dict[str, Any],
    data: Any,
    threads: int,
    timeout: float | None,
    scratch: str,
    named: Sequence[tuple[str, str, str]],
) -> None:
    """Runs in the worker: trains and reports. What goes wrong is reported too, so that Tune has nothing to print."""
    import ray
    import torch
    from ray import tune

    from avtune.runners.work import work

    try:
        user_code.restore(named)
    except UserError as error:  # the user's file has changed, or is another where this worker is
        tune.report({"failure": " ".join(str(error).split()), "details": ""})
        return
    torch.set_num_threads(threads)
    trial = Trial(**config["trial"])
    watch = Watch(timeout, _stack_file(Path(scratch), trial.number))

    def report(epoch: int, metrics: dict[str, float]) -> bool:
        watch.end()
        # As text: Tune flattens nested results, and trips over values that are no numbers.
        tune.report({"epoch": epoch, "metrics": json.dumps(metrics, default=repr)})
        watch.begin()
        return True  # a stop arrives as an exception that Tune raises here

    device = "cuda:0" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    watch.begin()
    try:
        failure = work(trial, data, report, device=device)
    except StorageError as error:  # for the driver, which ends the run
        watch.end()
        tune.report({"broken": str(error)})
        return
    finally:
        watch.end()
    if failure is not None:
        tune.report({"failure": failure.line, "details": failure.details})


def _stack_file(scratch: Path, number: int) -> Path:
    """Where a trial that hangs leaves its stack."""
    return scratch / f"trial {number}.stack"


def _adapters() -> Any:
    """The Searcher and the TrialScheduler that ask the source; made here because their base classes import Ray."""
    from types import SimpleNamespace

    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search import Searcher

    class StudySearcher(Searcher):  # type: ignore[misc]
        """Gives Tune the source's trials and tells the source how Tune's trials ended."""

        def __init__(self, source: Source, placement: Placement, scratch: Path) -> None:
            super().__init__(metric="epoch", mode="max")
            self._source = source
            self._placement = placement
            self._scratch = scratch
            self._numbers: dict[str, int] = {}
            self.error: Exception | None = None
            self.deaths: dict[int, list[str]] = {}  # what Tune knows of each
            self.lacked_memory: set[int] = set()
            self.causes = Deaths()

        def suggest(self, trial_id: str) -> Any:
            if self.error is not None:
                return Searcher.FINISHED
            try:
                trial = self._source.ask()
                if trial is None:
                    return Searcher.FINISHED if self._source.exhausted else None
            except Exception as error:
                self.error = error
                return Searcher.FINISHED
            self._numbers[trial_id] = trial.number
            return {"trial": asdict(trial)}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            number = self._numbers.pop(trial_id, None)
            if number is None or self.error is not None:  # of a run that has broken nothing is said to have ended
                return
            try:
                self._source.tell(number, *(self._failure(number) if error else ()))
            except Exception as problem:
                self.error = problem

        def _failure(self, number: int) -> tuple[str, str]:
            """Why a trial that Tune has given up failed, and the details."""
            stack = last_stack(_stack_file(self._scratch, number))
            why = f"it trained no epoch in {self._placement.timeout:g} s" if stack else "its process died"
            deaths = self.deaths.pop(number, [""])
            times = f" ({len(deaths)} times)" if len(deaths) > 1 else ""
            if number in self.lacked_memory:
                return f"its process {LACK}{times}; {LOWER}", deaths[-1]
            return why + times, stack or deaths[-1]

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune saves its parts; the study's own files are the only resume path

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the study's own files are the only resume path."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing, see `save`."""

    class StudyScheduler(FIFOScheduler):  # type: ignore[misc]
        """Hands every result to the source and stops the trials that it says."""

        def __init__(self, source: Source, searcher: StudySearcher) -> None:
            super().__init__()
            self._source = source
            self._searcher = searcher

        def __getstate__(self) -> dict[str, Any]:
            return {}

        def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> str:
            if self._searcher.error is not None:
                return str(self.STOP)
            number = trial.config["trial"]["number"]
            try:
                if "broken" in result:
                    raise StorageError(result["broken"])
                if "failure" in result:
                    self._source.tell(number, result["failure"], result["details"])
                    return str(self.STOP)
                go_on = self._source.report(number, result["epoch"], json.loads(result["metrics"]))
            except Exception as error:
                # Raised here it would drown in Tune's own report of it; `run` raises it once Tune has ended.
                self._searcher.error = error
                return str(self.STOP)
            return str(self.CONTINUE if go_on else self.STOP)

        def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
            """Its process died, or something outside of the training in it failed; Tune wrote down what it knows. Tune
            says this of every attempt, and to the searcher when there is none left."""
            known = Path(trial.error_file) if trial.error_file else None
            details = known.read_text(errors="replace") if known is not None and known.is_file() else ""
            number = trial.config["trial"]["number"]
            self._searcher.deaths.setdefault(number, []).append(details)
            if self._searcher.causes.for_lack_of_memory(details):
                self._searcher.lacked_memory.add(number)

    return SimpleNamespace(StudySearcher=StudySearcher, StudyScheduler=StudyScheduler)
