"""A private Ray on this machine: loopback only, a token of its own, no telemetry, quiet, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avtune.core import signals
from avtune.core.errors import UserError
from avtune.runners.out_of_memory import LACK, LOWER, Deaths, out_of_memory
from avtune.runners.ray.session import ray_session
from avtune.runners.ray.start_errors import last_words
from avtune.runners.scratch import check_not_full, remove, scratch_folder
from avtune.runners.thread_limit import check_threads, no_threads

# Every listener on 127.0.0.1 instead of all interfaces. An undocumented use of this flag: a test pins it.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# Workers run at the priority that avtune was started with. By default Ray takes theirs down by 15 steps, which leaves
# them a thirtieth of a core that anybody else uses.
_PRIORITY = {"RAY_worker_niceness": "0"}

_LOOK_EVERY = 0.5  # seconds

# One for the life of this process: Ray's core reads it once.
_TOKEN = secrets.token_hex(32)


@contextlib.contextmanager
def local_ray(num_cpus: int, num_gpus: int, data_bytes: int) -> Iterator[Path]:
    """Starts Ray for the length of the block.

    Args:
        num_cpus, num_gpus: logical resources.
        data_bytes: what the objects in its store take.

    Yields:
        A private scratch folder, removed afterwards.

    Raises:
        UserError: it does not start: there is no folder, memory or number of threads for it, Python runs without what
            Ray needs, or for a reason of Ray's.
    """
    check_threads(num_cpus)
    if sys.flags.optimize > 1:
        raise UserError(
            "Python runs with -OO (PYTHONOPTIMIZE=2), without the texts that Ray reads from its own code\n"
            "unset PYTHONOPTIMIZE, or take --runner inline"
        )
    with (
        scratch_folder() as scratch,
        ray_session(
            {**_LOOPBACK, **_PRIORITY, "RAY_AUTH_TOKEN": _TOKEN},
            lambda: _start(scratch / "ray"),
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=data_bytes + data_bytes // 2 + (128 << 20),
            include_dashboard=False,
            _temp_dir=str(scratch / "ray"),
        ),
        _node_watched(scratch),
        _any_worker(),
    ):
        yield scratch


@contextlib.contextmanager
def _start(folder: Path) -> Iterator[None]:
    """Around the start of Ray in a folder.

    Raises:
        UserError: it has failed; says why in Ray's last words.
    """
    causes = Deaths()
    with _few_processes():
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            check_not_full(folder.parent)
            words = last_words(folder)
            if causes.for_lack_of_memory(words):
                raise UserError(out_of_memory("a process of Ray's was ended while it started")) from error
            if (said := no_threads(error, words)) is not None:
                raise UserError(said) from error
            lines = [*(line for line in str(error).splitlines() if line.strip()), type(error).__name__]
            said = f"Ray does not start: {lines[0][:200]}"
            raise UserError(f"{said}\nits last words: {words}" if words else said) from error


@contextlib.contextmanager
def _few_processes() -> Iterator[None]:
    """Ray starts without the processes that serve other uses of it: the dashboard's, which runs (and reports usage)
    even without a dashboard, the autoscaler's, and the one that copies the workers' logs to the driver. They would make
    a run's start and its end longer by half.

    Those that it starts have a session of their own: a signal to the driver's process group reaches the driver alone,
    which ends them in order. Where Ray's are gone first, its core ends the driver with status 1, without a word. (When
    the driver is killed, the kernel kills them.)

    Undocumented: a test pins what runs."""
    from ray._private import services
    from ray._private.node import Node

    class Apart(services.ConsolePopen):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, start_new_session=True, **more)

    before = {name: getattr(Node, name) for name in ("start_api_server", "start_monitor", "start_log_monitor")}
    popen = services.ConsolePopen
    for name in before:
        setattr(Node, name, lambda node, **more: None)
    services.ConsolePopen = Apart
    try:
        yield
    finally:
        services.ConsolePopen = popen
        for name, method in before.items():
            setattr(Node, name, method)


@contextlib.contextmanager
def _any_worker() -> Iterator[None]:
    """Tune takes the worker processes that Ray has started in advance. By itself it asks for others, with variables of
    their own; but all workers of a private Ray have the driver's environment."""
    from ray.tune.execution import class_cache

    before = class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = {}, set()
    try:
        yield
    finally:
        class_cache.DEFAULT_ENV_VARS, class_cache.ENV_VARS_TO_PROPAGATE = before


@contextlib.contextmanager
def _node_watched(scratch: Path) -> Iterator[None]:
    """Ends this process when one that all of Ray needs has died: Ray would end it too, but after a minute of waiting
    and with a page of its log. The study's files are whole at any moment, so nothing needs an orderly end.

    A job scheduler signals all processes of a job at once: then that is why Ray's have gone.
    """
    from ray._private import worker

    node = worker._global_node
    causes = Deaths()
    vital = [info.process for kind in ("raylet", "gcs_server") for info in node.all_processes[kind]]
    over = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    # Python's own handlers wait for the main thread, which may be waiting for the process that has died.
    came, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False) if main else -1

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            if any(process.poll() is not None for process in vital):
                heard = os.read(came, 1 << 16) if select.select([came], [], [], _LOOK_EVERY)[0] else b""
                why = "a process of Ray's has died, or was killed"
                if causes.for_lack_of_memory():
                    why = f"a process of Ray's {LACK}; {LOWER}"
                with contextlib.suppress(OSError):
                    sys.stdout.flush()
                number = signals.first(heard)
                code = signals.part(number) if number is not None else signals.say(why, 1)
                with contextlib.suppress(Exception):
                    node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
                remove(scratch)
                os._exit(code)

    thread = threading.Thread(target=watch, name="avtune watches Ray", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        if main:
            signal.set_wakeup_fd(before)
        os.close(came)
        os.close(tell)
