"""Fused trials under Ray Tune: one Tune trial for each device slot is an engine, which trains many trials in lanes.

Tune gives placement and restarts; the source gives the work. Engines and driver talk through a mailbox, a small actor:
an engine's message waits there for its orders, and a thread of the driver takes all messages that have come, answers
them, and asks for the next trials while the engines train.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from avtune.data.prepare import Prepared
from avtune.lanes.worker import Message, Orders
from avtune.runners._base import Run, Slots, Source
from avtune.runners.desk import Desk
from avtune.runners.ray_local import local_ray
from avtune.trial import Trial

_RESTARTS = 3
_SPARE_PER_ENGINE = 2
_LONGEST_TAKE = 0.5


@contextmanager
def opened(slots: Slots, data_bytes: int) -> Iterator[Run]:
    """See `_base.Runner`. A slot is an engine. Starts a private Ray; the data of a call goes into its object store
    once."""
    calls = 0
    with local_ray(slots.count, slots.gpus, data_bytes) as scratch:

        def run(source: Source, data: Sequence[Prepared]) -> None:
            nonlocal calls
            calls += 1
            _run(source, data, slots, scratch, f"engines{calls}")

        yield run


def _run(source: Source, data: Sequence[Prepared], slots: Slots, storage: Path, name: str) -> None:
    import ray
    from ray import tune

    mailbox = ray.remote(num_cpus=0, max_concurrency=10_000)(_Mailbox).remote()
    server = _Server(source, mailbox, spare=_SPARE_PER_ENGINE * slots.count)
    resources: dict[str, float] = {"cpu": 1}
    if slots.gpus:
        resources["gpu"] = slots.gpu_share if slots.gpu_share >= 1 else math.floor(slots.gpu_share * 1e4) / 1e4
    settings = {"threads": slots.threads, "lanes": slots.lanes}
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(_engine, data=list(data), mailbox=mailbox, settings=settings), resources
        ),
        param_space={"engine": tune.grid_search([f"engine {index}" for index in range(slots.count)])},
        tune_config=tune.TuneConfig(trial_dirname_creator=lambda trial: trial.trial_id),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=_RESTARTS),
        ),
    )
    with server:
        results = tuner.fit()
    if server.error is not None:
        raise server.error
    if not source.exhausted:
        cause = next((str(result.error).strip().splitlines()[-1] for result in results if result.error), "unknown")
        raise RuntimeError(f"every engine died {_RESTARTS + 1} times; the last words of the first: {cause}")


class _Server:
    """The driver's thread that serves the engines; it alone touches the source while it runs."""

    def __init__(self, source: Source, mailbox: Any, *, spare: int) -> None:
        self._desk = Desk(source, spare=spare)
        self._mailbox = mailbox
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="avtune desk", daemon=True)
        self.error: Exception | None = None

    def __enter__(self) -> _Server:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        import ray

        idle = False
        while not self._over.is_set():
            try:
                messages = ray.get(self._mailbox.take.remote(_LONGEST_TAKE if idle else 0.0))
            except ray.exceptions.RayError:
                return  # Ray is going down: an interrupt, and the main thread knows
            for ticket, text in messages:
                self._mailbox.reply.remote(ticket, self._answer(text))
            idle = False
            if not messages:
                try:
                    idle = self.error is not None or not self._desk.prepare()
                except Exception as error:
                    self.error = error

    def _answer(self, text: str) -> str:
        said = json.loads(text)
        if self.error is None:
            try:
                if said["hello"]:
                    self._desk.died(said["engine"])
                orders = self._desk.exchange(
                    said["engine"], Message(said["want"], said["reports"], said["ends"], said["returned"])
                )
                return json.dumps(asdict(orders))
            except Exception as error:
                # `_run` raises it in the main thread once the engines have ended.
                self.error = error
        return json.dumps({"stop": [], "trials": [], "over": True, "abort": True})


class _Mailbox:
    """Where messages wait for their answers. An async actor: a waiting engine costs nothing."""

    def __init__(self) -> None:
        import asyncio

        self._asyncio = asyncio
        self._messages: list[tuple[int, str]] = []
        self._answers: dict[int, Any] = {}
        self._arrived = asyncio.Event()
        self._tickets = 0

    async def exchange(self, text: str) -> str:
        """Leaves a message and waits for the answer."""
        self._tickets += 1
        ticket = self._tickets
        answer = self._asyncio.get_running_loop().create_future()
        self._answers[ticket] = answer
        self._messages.append((ticket, text))
        self._arrived.set()
        return str(await answer)

    async def take(self, patience: float) -> list[tuple[int, str]]:
        """All messages that have come; waits up to `patience` seconds for the first."""
        if not self._messages and patience > 0:
            self._arrived.clear()
            try:
                await self._asyncio.wait_for(self._arrived.wait(), patience)
            except TimeoutError:
                return []
        taken, self._messages = self._messages, []
        return taken

    async def reply(self, ticket: int, text: str) -> None:
        """Answers a message."""
        answer = self._answers.pop(ticket)
        if not answer.done():
            answer.set_result(text)


def _engine(config: dict[str, Any], data: Any, mailbox: Any, settings: dict[str, Any]) -> None:
    """Runs in the engine's process."""
    import ray
    import torch
    from ray import tune

    from avtune.lanes.worker import Worker
    from avtune.runners.work import save_weights

    torch.set_num_threads(settings["threads"])
    device = "cuda:0" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    hello = True

    def exchange(message: Message) -> Orders:
        nonlocal hello
        said = {"engine": config["engine"], "hello": hello, **asdict(message)}
        answer = json.loads(ray.get(mailbox.exchange.remote(json.dumps(said, default=repr))))
        hello = False
        if answer.get("abort"):
            raise SystemExit
        return Orders(answer["stop"], [Trial(**trial) for trial in answer["trials"]], answer["over"])

    with contextlib.suppress(SystemExit):
        Worker(data, capacity=settings["lanes"], device=device, save=save_weights).run(exchange)
    tune.report({"engine": config["engine"]})
