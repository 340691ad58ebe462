"""Fused trials under Ray Tune: each Tune trial is an engine with its share of the devices, which trains many trials.

Tune, in a thread of its own, gives placement and restarts; the source gives the work. Engines and driver talk through a
mailbox, a small actor: an engine's message waits there for its orders, and the driver's main thread takes all messages
that have come, has the dispatcher answer them, and asks for the next trials while the engines train. Engines live as
long as the runner is open and serve one call after the other: a call is a session.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avtune.core.errors import StorageError, UserError
from avtune.core.trial import Trial
from avtune.data.prepare import Prepared
from avtune.engine import user_code
from avtune.engine.engine import Message, Orders
from avtune.runners._base import Placement, Run, Source
from avtune.runners.dispatcher import Dispatcher
from avtune.runners.mailbox import Mailbox
from avtune.runners.out_of_memory import LACK, LOWER, Deaths, out_of_memory
from avtune.runners.ray.choose import ray_for
from avtune.runners.watchdog import Watch, last_stack

_RESTARTS = 3
_LANES_PER_SPARE = 8
_MOST_SPARE = 2  # an engine
_LONGEST_TAKE = 0.5
_LEAVE = 3.0
_LONGEST_LEAVE = 30.0
_LONGEST_WORDS = 300
_OVER = json.dumps(asdict(Orders([], [], over=True)))


@contextlib.contextmanager
def opened(placement: Placement, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. Each process of the placement is an engine. Starts a private Ray, or attaches to the
    placement's cluster; the data of a call goes into its object store once."""
    with ray_for(placement, data_bytes) as scratch:
        engines = _Engines(placement, scratch)
        try:
            yield engines.run
        finally:
            engines.dismiss()


def spare_trials(placement: Placement) -> int:
    """How many trials are asked for ahead of need, so that engines do not wait for suggestions: few, because each is
    suggested without knowing what comes of the trials that end meanwhile."""
    return min(_MOST_SPARE * placement.count, max(1, placement.count * placement.lanes // _LANES_PER_SPARE))


class _Engines:
    """The engines, and the driver's side of their sessions."""

    def __init__(self, placement: Placement, storage: Path) -> None:
        import ray

        self._placement = placement
        self._scratch = storage
        self._session = 0
        self._lost: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._deaths = 0  # since an epoch was last trained
        self._last_words = "none"
        self._causes = Deaths()
        self._lacked_memory = False  # the last that died
        self._dismissed = threading.Event()
        self._mailbox = ray.remote(num_cpus=0, max_concurrency=10_000)(Mailbox).remote(_OVER)
        self._tune = threading.Thread(target=self._run_tune, args=(storage,), name="avtune engines", daemon=True)
        self._tune.start()

    def run(self, source: Source, data: Sequence[Prepared]) -> None:
        """One session. This thread alone touches the source.

        Raises:
            UserError: the engines, or the mailbox, have no memory.
            RuntimeError: they die of something else before they train an epoch.
        """
        import ray

        try:
            self._run(source, data)
        except ray.exceptions.RayActorError as error:  # of the mailbox
            if self._causes.for_lack_of_memory(str(error)):
                raise UserError(out_of_memory("a process of the search was ended")) from None
            raise

    def _run(self, source: Source, data: Sequence[Prepared]) -> None:
        import ray

        placement = self._placement
        dispatcher = Dispatcher(source, spare=spare_trials(placement), max_failures=placement.max_failures)
        self._session += 1
        lanes = placement.lanes_for(source.independent)
        ray.get(self._mailbox.open.remote(self._session, [ray.put(list(data))], lanes))
        idle = False
        while not source.exhausted:
            taken = ray.get(self._mailbox.take.remote(_LONGEST_TAKE if idle else 0.0))
            self._take_deaths(
                dispatcher
            )  # before a new process of an engine says hello, Tune says that the old one is gone
            for ticket, text in taken:
                answer = _OVER
                try:
                    answer = self._answer(dispatcher, text)
                finally:
                    self._mailbox.reply.remote(ticket, answer)
                idle = False
                break
            else:
                idle = not dispatcher.prepare()
            if not self._tune.is_alive() or self._deaths > max(_RESTARTS, placement.max_failures) * placement.count:
                if self._lacked_memory:
                    raise UserError(out_of_memory("the engines were ended before they trained an epoch"))
                raise RuntimeError(f"the engines die before they train an epoch; the last words: {self._last_words}")
        ray.get(self._mailbox.end.remote())

    def dismiss(self) -> None:
        """Lets the engines go home, and Tune with them: Ray shut down under Tune's thread can crash the process in C.
        Engines go when their epoch ends; Tune ends those that take longer."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):  # the mailbox may be gone
            ray.get(self._mailbox.close.remote(), timeout=_LEAVE)
        self._tune.join(_LEAVE)
        self._dismissed.set()
        self._tune.join(_LONGEST_LEAVE)

    def _take_deaths(self, dispatcher: Dispatcher) -> None:
        """Takes note of the engines that have died."""
        while not self._lost.empty():
            engine, words = self._lost.get()
            stack = last_stack(_stack_file(self._scratch, engine))
            why = f"trained no epoch in {self._placement.timeout:g} s" if stack else "died"
            self._last_words = _last_line(words)
            self._lacked_memory = self._causes.for_lack_of_memory(words)
            if self._lacked_memory:
                why = f"{LACK}; {LOWER}"
            self._deaths += 1
            if dispatcher.died(engine, why, stack):
                self._deaths = 0  # the cause may be gone with the trial

    def _answer(self, dispatcher: Dispatcher, text: str) -> str:
        said = json.loads(text)
        if said["session"] != self._session:  # of a session that is over
            return _OVER
        if said["broken"]:
            raise StorageError(said["broken"])
        if said["hello"]:  # an answer to the last message of its dead forerunner may have leased it trials
            dispatcher.give_back(said["engine"])
        if said["reports"] or said["ends"]:
            self._deaths = 0
        message = Message(said["want"], said["reports"], said["ends"], said["returned"], said["notes"])
        return json.dumps(asdict(dispatcher.exchange(said["engine"], message)))

    def _run_tune(self, storage: Path) -> None:
        """Runs in its own thread: Tune, until every engine has gone home or died for good."""
        from ray import tune

        class Deaths(tune.Callback):  # type: ignore[misc]
            """Tells the driver which engines have died; Tune starts them again."""

            def __init__(self, owner: _Engines) -> None:
                self._owner = owner

            def __getstate__(self) -> dict[str, Any]:
                return {}  # Tune saves its callbacks; there is nothing to save

            def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                error = Path(trial.error_file) if trial.error_file else None
                words = error.read_text(errors="replace") if error and error.is_file() else ""
                self._owner._lost.put((trial.config["engine"], words))

            def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                self.on_trial_recover(iteration, trials, trial)

        class Dismissed(tune.Stopper):  # type: ignore[misc]
            """Ends all engines at Tune's next step."""

            def __init__(self, owner: _Engines) -> None:
                self._owner = owner

            def __getstate__(self) -> dict[str, Any]:
                return {}  # as above

            def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
                return False

            def stop_all(self) -> bool:
                return self._owner._dismissed.is_set()

        placement = self._placement
        settings = {
            "threads": placement.threads,
            "timeout": placement.timeout,
            "exact": placement.exact,
            "scratch": str(storage),
            "own": user_code.registered(),
        }
        try:
            tuner = tune.Tuner(
                tune.with_resources(
                    tune.with_parameters(_engine, mailbox=self._mailbox, settings=settings), placement.resources
                ),
                param_space={"engine": tune.grid_search([f"engine {index}" for index in range(placement.count)])},
                tune_config=tune.TuneConfig(trial_dirname_creator=lambda trial: trial.trial_id),
                run_config=tune.RunConfig(
                    name="engines",
                    storage_path=str(storage),
                    verbose=0,
                    failure_config=tune.FailureConfig(max_failures=-1),
                    callbacks=[Deaths(self)],
                    stop=Dismissed(self),
                ),
            )
            tuner.fit()
        except BaseException as error:  # also when Ray is shut down under it after an interrupt; nobody reads it then
            self._last_words = _last_line(str(error))


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "none")[:_LONGEST_WORDS]


def _stack_file(scratch: Path, engine: str) -> Path:
    """Where an engine that hangs leaves its stack."""
    return scratch / f"{engine}.stack"


def _engine(config: dict[str, Any], mailbox: Any, settings: dict[str, Any]) -> None:
    """Runs in the engine's process."""
    import ray
    import torch
    from ray import tune

    from avtune.engine.engine import Engine
    from avtune.runners.lane_files import LaneFiles
    from avtune.runners.work import save_weights

    user_code.restore(settings["own"])
    torch.set_num_threads(settings["threads"])
    device = "cuda:0" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    watch = Watch(settings["timeout"], _stack_file(Path(settings["scratch"]), config["engine"]))
    session = 0
    while (found := ray.get(mailbox.session.remote(session))) is not None:
        session, (data,), lanes = found
        hello = True

        def exchange(message: Message, broken: str = "") -> Orders:
            nonlocal hello
            watch.end()
            said = {"engine": config["engine"], "session": session, "hello": hello, "broken": broken}  # noqa: B023
            text = json.dumps(said | asdict(message), default=repr)
            answer = json.loads(ray.get(mailbox.exchange.remote(text)))
            hello = False
            watch.begin()
            return Orders(answer["stop"], [Trial(**trial) for trial in answer["trials"]], answer["over"])

        engine = Engine(
            ray.get(data),
            capacity=lanes,
            device=device,
            save=save_weights,
            lane_files=LaneFiles(),
            name=config["engine"],
            exact=settings["exact"],
        )
        try:
            engine.run(exchange)
        except StorageError as error:  # for the driver, which ends the run
            exchange(Message(0), str(error))
        watch.end()
        del engine, data, found  # the next session may be long in coming, and brings its own
    tune.report({"engine": config["engine"]})
