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

from avtune.core import log
from avtune.core.errors import StorageError, UserError
from avtune.core.trained_on import TrainedOn
from avtune.data.prepare import Prepared, handed
from avtune.engine import user_code
from avtune.engine.messages import Message, Orders
from avtune.runners._base import Placement, Run, Source
from avtune.runners.dispatcher import Dispatcher, spare_trials
from avtune.runners.lane_process import run_engine, stack_file
from avtune.runners.mailbox import Mailbox
from avtune.runners.out_of_memory import LACK, LOWER, Deaths, out_of_memory
from avtune.runners.ray.choose import ray_for
from avtune.runners.ray.engine_trials import EngineList, here, run_engines
from avtune.runners.ray.machines import Machines
from avtune.runners.ray.node_watch import NodeWatch
from avtune.runners.ray.private import TUNE_THREAD
from avtune.runners.ray.send_files import offered
from avtune.runners.ray.session import LOST
from avtune.runners.watchdog import last_stack

_RESTARTS = 3  # deaths an engine since an epoch was last trained, before the run ends; at least `--max-failures`
_LONGEST_TAKE = 0.5  # seconds to wait for a message when there is nothing else to do
_LEAVE, _LONGEST_LEAVE = 3.0, 30.0  # seconds in which engines return by themselves, and in which Tune ends them
_LONGEST_WORDS = 300  # characters of an error that are shown
_OVER = json.dumps(asdict(Orders([], [], over=True)))


@contextlib.contextmanager
def opened(placement: Placement, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. Each process of the placement is an engine. Starts a private Ray, or attaches to the
    placement's cluster; the data of a call goes into its object store once, but for what is on this machine's disk."""
    with ray_for(placement, data_bytes) as scratch:
        engines = _Engines(placement, scratch)
        try:
            yield engines.run
        finally:
            engines.dismiss()


class _Engines:
    """The engines, and the driver's side of their sessions."""

    def __init__(self, placement: Placement, storage: Path) -> None:
        import ray

        self._placement = placement
        self._scratch = storage
        self._session = 0
        self._lost: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._deaths = 0  # of engines, since an epoch was last trained
        self._last_words = "none"
        self._causes = Deaths()
        self._machines = Machines()
        self._lacked_memory = False  # whether the engine that died last did for lack of memory
        self._list = EngineList(placement.count)
        self._nodes = NodeWatch(placement)
        self._mailbox = ray.remote(num_cpus=0, max_concurrency=10_000, **here())(Mailbox).remote(_OVER)
        self._files = offered(placement, storage)
        self._tune = threading.Thread(target=self._run_tune, args=(storage,), name=TUNE_THREAD, daemon=True)
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
        except ray.exceptions.RayActorError as error:  # the mailbox's process has died
            if self._causes.for_lack_of_memory(str(error)):
                raise UserError(out_of_memory("a process of the search was ended")) from None
            raise

    def _run(self, source: Source, data: Sequence[Prepared]) -> None:
        import ray

        most = self._placement.max_failures
        spare, engines = spare_trials(self._placement), self._placement.count
        dispatcher = Dispatcher(source, spare=spare, max_failures=most, engines=engines)
        self._session += 1
        lanes = self._placement.lanes_for(source.independent)
        sent = handed(data, same_machine=self._placement.cluster is None)
        ray.get(self._mailbox.open.remote(self._session, [ray.put(sent)], lanes))
        idle = False
        while not source.exhausted:
            taken = ray.get(self._mailbox.take.remote(_LONGEST_TAKE if idle else 0.0))
            # Tune reports the death of an engine before its new process says hello.
            self._take_deaths(dispatcher)
            self._take_news(dispatcher, source)
            for ticket, text in taken:
                self._reply(dispatcher, ticket, text)
            idle = not taken and not dispatcher.prepare()
            if not self._tune.is_alive() or self._deaths > max(_RESTARTS, most) * self._placement.count:
                if self._lacked_memory:
                    raise UserError(out_of_memory("the engines were ended before they trained an epoch"))
                raise RuntimeError(f"the engines die before they train an epoch; the last words: {self._last_words}")
        ray.get(self._mailbox.end.remote())

    def dismiss(self) -> None:
        """Ends the engines, and Tune with them: a Ray that is shut down while Tune's thread runs can crash the process
        in C. Engines return when their epoch ends; Tune ends those that take longer."""
        import ray

        if LOST.is_set():  # Tune waits for what has gone, and ends with this process
            self._list.dismissed.set()
            self._tune.join(_LEAVE)
            return
        self._nodes.close()
        self._list.over.set()
        with contextlib.suppress(ray.exceptions.RayError):  # the mailbox may be gone
            ray.get(self._mailbox.close.remote(), timeout=_LEAVE)
        self._tune.join(_LEAVE)
        self._list.dismissed.set()
        self._tune.join(_LONGEST_LEAVE)

    def _take_news(self, dispatcher: Dispatcher, source: Source) -> None:
        """Has engines start on nodes that have joined the cluster."""
        news = self._nodes.news()
        if news is not None:
            for line in news.lines:
                source.note(line, shown=True)
            self._list.add(news.processes)
            self._placement = self._placement.with_more(news.processes)
            dispatcher.spare, dispatcher.engines = spare_trials(self._placement), self._placement.count

    def _take_deaths(self, dispatcher: Dispatcher) -> None:
        """Takes note of the engines that have died."""
        while not self._lost.empty():
            engine, words = self._lost.get()
            stack = last_stack(stack_file(self._scratch, engine))
            why = f"trained no epoch in {self._placement.timeout:g} s" if stack else "died"
            self._last_words = _last_line(words)
            self._lacked_memory = self._causes.for_lack_of_memory(words)
            if self._lacked_memory:
                why = f"{LACK}; {LOWER}"
            self._deaths += 1
            lost = self._placement.cluster is not None and self._machines.lost(engine, words)
            if dispatcher.lost_machine(engine) if lost else dispatcher.died(engine, why, stack):
                self._deaths = 0  # the trial that failed may have been the cause

    def _reply(self, dispatcher: Dispatcher, ticket: int, text: str) -> None:
        answer = _OVER
        try:
            answer = self._answer(dispatcher, text)
        finally:
            self._mailbox.reply.remote(ticket, answer)

    def _answer(self, dispatcher: Dispatcher, text: str) -> str:
        said = json.loads(text)
        if said["session"] != self._session:  # the message belongs to a session that is over
            return _OVER
        if said["broken"]:
            raise StorageError(said["broken"])
        if said["hello"]:  # a new process: orders to the one that died may have leased it trials
            dispatcher.give_back(said["engine"])
            dispatcher.runs_on(said["engine"], TrainedOn(**said["on"]))
            if self._placement.cluster is not None:
                self._machines.runs_on(said["engine"], said["node"])
        if said["reports"] or said["ends"]:
            self._deaths = 0
        log.show_again(said["engine"], said["log"])
        message = Message(said["want"], said["reports"], said["ends"], said["returned"], said["notes"])
        leaves = self._nodes.leaves(self._machines.node_of(said["engine"]))
        return json.dumps(asdict(dispatcher.exchange(said["engine"], message, leaves=leaves)))

    def _run_tune(self, storage: Path) -> None:
        """Runs in a thread of its own: Tune, until every engine has returned or died for good."""
        settings = {
            "threads": self._placement.threads,
            "timeout": self._placement.timeout,
            "exact": self._placement.exact,
            "cluster": self._placement.cluster is not None,
            "scratch": str(storage.resolve()),
            "files": self._files,
            "user_code": user_code.registered(),
            "verbose": log.is_shown(),
        }
        try:
            run_engines(
                run_engine,
                self._list,
                self._placement.resources,
                storage,
                on_death=lambda engine, words: self._lost.put((engine, words)),
                mailbox=self._mailbox,
                settings=settings,
            )
        except BaseException as error:  # also raised when Ray is shut down after an interrupt
            self._last_words = _last_line(str(error))


def _last_line(text: str) -> str:
    return next(reversed(text.strip().splitlines()), "none")[:_LONGEST_WORDS]
