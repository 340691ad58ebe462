"""One Ray Tune trial for each configuration, in a worker process of its own, on a CPU core or (a part of) a GPU.

Tune places the work; the source alone decides. Tune's own search state, stopping rule, loggers and restore are not
used.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avtune.core import log
from avtune.core.errors import StorageError, UserError
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared, handed, received
from avtune.engine import user_code
from avtune.runners._base import Placement, Run, Source
from avtune.runners.dispatcher import MOST_MACHINES
from avtune.runners.out_of_memory import LACK, LOWER, Deaths
from avtune.runners.ray import private
from avtune.runners.ray.choose import ray_for
from avtune.runners.ray.machines import Machines
from avtune.runners.ray.node_watch import NodeWatch
from avtune.runners.ray.send_files import offered
from avtune.runners.ray.trial_adapters import scheduler, searcher
from avtune.runners.watchdog import Watch, last_stack

_LOG = logging.getLogger(__name__)
_MOST = 1 << 20  # trials: without a number Tune starts them one after the other


@contextmanager
def opened(placement: Placement, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. Starts a private Ray, or attaches to the placement's cluster; the data of a call goes
    into its object store once, but for what is on this machine's disk."""
    calls = itertools.count()
    with ray_for(placement, data_bytes) as scratch:
        room, files = _Room(placement), offered(placement, scratch)
        try:
            yield lambda source, data: _run(source, data, placement, room, scratch, files, f"run{next(calls)}")
        finally:
            room.close()


def _run(
    source: Source,
    data: Sequence[Prepared],
    placement: Placement,
    room: _Room,
    storage: Path,
    files: dict[str, Any] | None,
    name: str,
) -> None:
    from ray import tune

    answers = _Answers(source, placement, room, storage)
    trainable = tune.with_resources(
        tune.with_parameters(
            _trial,
            data=handed(data, same_machine=placement.cluster is None),
            threads=placement.threads,
            timeout=placement.timeout,
            scratch=str(storage.resolve()),
            offer=files,
            named=user_code.registered(),
            verbose=log.is_shown(),
        ),
        placement.resources,
    )
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=searcher(answers),
            scheduler=scheduler(answers),
            num_samples=-1,
            max_concurrent_trials=_MOST,  # so many as there is room for, see `_Answers.next_config`
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=-1),  # `_Answers.died` counts
            callbacks=private.silent_progress(),
        ),
    )
    tuner.fit()
    if answers.error is not None:
        raise answers.error
    assert source.exhausted, "Tune ended before the source was exhausted"


def _trial(
    config: dict[str, Any],
    data: Any,
    threads: int,
    timeout: float | None,
    scratch: str,
    offer: dict[str, Any] | None,
    named: Sequence[tuple[str, str, str]],
    verbose: bool,
) -> None:
    """Runs in the worker: trains and reports. What goes wrong is reported too, so that Tune has nothing to print."""
    import ray
    import torch
    from ray import tune

    from avtune.runners.ray.send_files import study_files
    from avtune.runners.ray.where import trained_on
    from avtune.runners.work import work

    kept, trial = log.Kept(), Trial(**config["trial"])

    def tell(**said: Any) -> None:
        lines = kept.taken()
        tune.report(said | ({"log": json.dumps([f"process {os.getpid()}", lines])} if lines else {}))

    if offer is not None:
        tell(node=ray.get_runtime_context().get_node_id())
    try:
        user_code.restore(named)
    except UserError as error:  # the user's file has changed, or differs on this machine
        tell(failure=" ".join(str(error).split()), details="")
        return
    torch.set_num_threads(threads)
    watch = Watch(timeout, _stack_file(Path(scratch), trial.number))

    def report(epoch: int, metrics: dict[str, float]) -> bool:
        watch.end()
        # As text: Tune flattens nested results, and raises on values that are no numbers.
        tell(epoch=epoch, metrics=json.dumps(metrics, default=repr), on=where)
        watch.begin()
        return True  # Tune stops a trial by an exception that `tune.report` raises

    device = "cuda:0" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    where = json.dumps(asdict(trained_on(f"process {os.getpid()}", device, cluster=offer is not None)))
    files = study_files(offer)
    watch.begin()
    try:
        with kept.keeping() if verbose else nullcontext():
            failure = work(trial, received(data), report, device=device, files=files)
    except StorageError as error:  # the driver ends the run
        watch.end()
        tell(broken=str(error))
        return
    finally:
        watch.end()
        files.close()
    if failure is not None:
        tell(failure=failure.line, details=failure.details)
    elif verbose:
        tell()


def _process(number: int) -> str:
    """The name of a trial's process."""
    return f"trial {number}"


def _stack_file(scratch: Path, number: int) -> Path:
    """Where a trial that hangs leaves its stack."""
    return scratch / f"trial {number}.stack"


class _Room:
    """How many trials there is room for at a time: more when nodes join the cluster.

    Attributes:
        count: so many.
    """

    def __init__(self, placement: Placement) -> None:
        self.count = placement.count
        self._nodes = NodeWatch(placement)

    def look(self, source: Source) -> None:
        """Takes what has become of the nodes, and notes it."""
        news = self._nodes.news()
        if news is not None:
            self.count += news.processes
            for line in news.lines:
                source.note(line, shown=True)

    def close(self) -> None:
        self._nodes.close()


class _Answers:
    """The source's side of Tune's questions, see `ray.trial_adapters`. Nothing is raised here, since Tune would hide it
    in a report of its own: what goes wrong is kept, no trial goes on, and `_run` raises it once Tune has ended.

    Attributes:
        error: the first that was raised.
    """

    def __init__(self, source: Source, placement: Placement, room: _Room, scratch: Path) -> None:
        self.error: Exception | None = None
        self._source = source
        self._room = room
        self._running: set[int] = set()
        self._timeout = placement.timeout
        self._max_failures = placement.max_failures
        self._machines = Machines() if placement.cluster is not None else None
        self._preempted: Counter[int] = Counter()  # machines that have died with a trial
        self._scratch = scratch
        self._deaths: dict[int, list[str]] = {}  # Tune's text of each death, by trial
        self._lacked_memory: set[int] = set()
        self._causes = Deaths()

    def next_config(self) -> tuple[int, dict[str, Any]] | None:
        if self.error is None:
            with self._kept():
                self._room.look(self._source)
                trial = self._source.ask() if len(self._running) < self._room.count else None
                if trial is not None:
                    self._running.add(trial.number)
                    return trial.number, {"trial": asdict(trial)}
        return None

    @property
    def finished(self) -> bool:
        return self.error is not None or self._source.exhausted

    def result(self, number: int, result: Mapping[str, Any]) -> bool:
        if self.error is None:
            with self._kept():
                if "log" in result:
                    log.show_again(*json.loads(result["log"]))
                if "broken" in result:
                    raise StorageError(result["broken"])
                if "node" in result and self._machines is not None:
                    self._machines.runs_on(_process(number), result["node"])
                if "failure" in result:
                    self._source.tell(number, result["failure"], result["details"])
                elif "epoch" in result:
                    self._source.trained_on(number, TrainedOn(**json.loads(result["on"])))
                    return self._source.report(number, result["epoch"], json.loads(result["metrics"]))
                else:  # only its last lines have come
                    return True
        return False

    def died(self, number: int, details: str) -> bool:
        if self._machines is not None and self._machines.lost(_process(number), details):
            self._preempted[number] += 1
            if self._preempted[number] < MOST_MACHINES:  # which is no attempt
                _LOG.debug("trial %d starts again: its machine has died", number)
                return self.error is None
            self._fails(number, f"{MOST_MACHINES} machines died while it was trained on them", details)
            return False
        self._deaths.setdefault(number, []).append(details)
        if self._causes.for_lack_of_memory(details):
            self._lacked_memory.add(number)
        if len(self._deaths[number]) < self._max_failures:
            return self.error is None
        self._fails(number, *self._failure(number))
        return False

    def ended(self, number: int, *, given_up: bool) -> None:
        self._running.discard(number)
        if self.error is None:  # after an error no trial is recorded as ended: the study continues with it
            with self._kept():
                self._source.tell(number, *(self._failure(number) if given_up else ()))

    def _fails(self, number: int, why: str, details: str) -> None:
        if self.error is None:
            with self._kept():
                self._source.tell(number, why, details)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error

    def _failure(self, number: int) -> tuple[str, str]:
        """Why a trial that Tune has given up failed, and the details."""
        stack = last_stack(_stack_file(self._scratch, number))
        why = f"it trained no epoch in {self._timeout:g} s" if stack else "its process died"
        deaths = self._deaths.pop(number, [""])
        times = f" ({len(deaths)} times)" if len(deaths) > 1 else ""
        if number in self._lacked_memory:
            return f"its process {LACK}{times}; {LOWER}", deaths[-1]
        return why + times, stack or deaths[-1]
