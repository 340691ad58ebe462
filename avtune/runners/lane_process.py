"""What runs in the process of an engine under the runner `lanes`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from avtune.core import log
from avtune.core.errors import StorageError
from avtune.core.trained_on import TrainedOn
from avtune.core.trial import Trial
from avtune.engine import user_code
from avtune.engine.messages import Message, Orders
from avtune.runners.study_files import StudyFiles
from avtune.runners.watchdog import Watch


def stack_file(scratch: Path, engine: str) -> Path:
    """Where an engine that hangs leaves its stack."""
    return scratch / f"{engine}.stack"


def run_engine(config: dict[str, Any], mailbox: Any, settings: dict[str, Any]) -> None:
    """A Tune function: serves one session after the other until the mailbox says that there will be none.

    Args:
        config: `engine`, its name.
        mailbox: handle of the `Mailbox` actor.
        settings: `threads`, `timeout`, `exact` (see `Placement`), `cluster` (there is one), `scratch` (the run's
            folder), `files` (see `ray.send_files`), `user_code` (what the driver has registered) and `verbose` (what
            the loggers say goes to the driver with the messages).
    """
    kept = log.Kept()
    with kept.keeping() if settings["verbose"] else contextlib.nullcontext():
        _serve(config, mailbox, settings, kept)


def _serve(config: dict[str, Any], mailbox: Any, settings: dict[str, Any], kept: log.Kept) -> None:
    import ray
    import torch
    from ray import tune

    from avtune.data.prepare import received
    from avtune.engine.engine import Engine
    from avtune.runners.lane_files import LaneFiles
    from avtune.runners.ray.send_files import study_files
    from avtune.runners.ray.where import trained_on
    from avtune.runners.work import save_weights

    user_code.restore(settings["user_code"])
    torch.set_num_threads(settings["threads"])
    device = "cuda:0" if torch.cuda.is_available() and ray.get_gpu_ids() else "cpu"
    where = trained_on(config["engine"], device, cluster=settings["cluster"])
    watch = Watch(settings["timeout"], stack_file(Path(settings["scratch"]), config["engine"]))
    files = study_files(settings["files"])
    session = 0
    while (found := ray.get(mailbox.session.remote(session))) is not None:
        session, (data,), lanes = found
        exchange = _exchange(where, session, mailbox, watch, kept, files)
        engine = Engine(
            received(ray.get(data)),
            capacity=lanes,
            device=device,
            save=partial(save_weights, files=files),
            lane_files=LaneFiles(files),
            name=config["engine"],
            exact=settings["exact"],
        )
        try:
            engine.run(exchange)
        except StorageError as error:  # the driver ends the run
            exchange(Message(0), str(error))
        watch.end()
        del engine, data, found  # frees the memory while this process waits for a session
    files.close()
    tune.report({"engine": config["engine"]})


def _exchange(
    where: TrainedOn, session: int, mailbox: Any, watch: Watch, kept: log.Kept, files: StudyFiles
) -> Callable[..., Orders]:
    """What takes an engine's message to the mailbox and brings its orders. The watch rests while it waits."""
    import ray

    hello = True

    def exchange(message: Message, broken: str = "") -> Orders:
        nonlocal hello
        watch.end()
        if not broken:
            files.sync()
        said = {"engine": where.engine, "session": session, "hello": hello, "broken": broken, "log": kept.taken()}
        if hello:
            said |= {"node": ray.get_runtime_context().get_node_id(), "on": asdict(where)}
        text = json.dumps(said | asdict(message), default=repr)
        answer = json.loads(ray.get(mailbox.exchange.remote(text)))
        hello = False
        watch.begin()
        trials = [files.received(Trial(**trial)) for trial in answer["trials"]]
        return Orders(answer["stop"], trials, answer["over"], answer["leave"])

    return exchange
