"""Ray for the length of a block: quiet, without telemetry, gone afterwards, whichever Ray it is.

`import ray` happens here and in the Tune runners only, after the settings below are in place: Ray reads most of them
once.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from avtune.core import signals
from avtune.core.errors import UserError
from avtune.core.files import private_files
from avtune.engine.user_code import SAFE_PATH

SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    # Trials keep the working directory, so that relative paths mean what the user meant.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Old output engine and verbose=0: nothing is printed.
    "RAY_AIR_NEW_OUTPUT": "0",
    # What still runs when Ray is shut down must not start another Ray, which would be neither private nor quiet.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    # The study's files are the only resume path: Tune's own snapshots (10 KB a trial, again and again) are not used.
    "TUNE_GLOBAL_CHECKPOINT_S": "31536000",
    # A reused worker whose last trial takes more than this many seconds to leave would hang the run (default 2).
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "600",
    # Interrupts reach our own handler, which ends the run with a study that continues.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    # No process of a run looks for modules in the current folder or beside its script; see also `_job_config`.
    SAFE_PATH[0]: SAFE_PATH[1],
}
"""Environment of the driver and, in a cluster, of its workers."""

KEEP_MEMORY = (
    "GLIBC_TUNABLES",
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592",
)
"""Environment variable and value for processes that train on a CPU. By default the C library gives large blocks back to
the system when they are freed and gets them anew, page by page, with every operation: 10 to 15 % of the time that many
lanes take. So: keep them, in huge pages where the system has them."""


@contextlib.contextmanager
def ray_session(
    settings: Mapping[str, str], start: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext, **init: Any
) -> Iterator[None]:
    """`ray.init(**init)` with `SETTINGS` and further ones in the environment; all is as before afterwards.

    Args:
        start: a context for the start of Ray alone.

    Raises:
        UserError: Ray was imported before, without these settings.
    """
    before = dict(os.environ)
    os.environ.update(SETTINGS, **settings)
    os.environ.setdefault(*KEEP_MEMORY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's and its dependencies' deprecations are no news to the user
            import ray
            import ray._raylet as core

            if core.get_authentication_mode() != core.AuthenticationMode.TOKEN:  # type: ignore[attr-defined]
                raise UserError(
                    "Ray was imported before avtune could set it up: without a token, open to the network. Does a "
                    "module that --method or --train names import it? Import it in the function that uses it instead"
                )
            for name in ("ray", "ray.tune", "ray.train"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            # Tune takes more than a second to import, most of which Ray's start spends waiting for its processes.
            tune = _Import("ray.tune")
            tune.start()
            try:
                with _signals_wait(), private_files(), _quiet(), start():
                    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
                    ray.init(job_config=_job_config(), **quiet, **init)
                tune.join()
                if tune.error is not None:
                    raise UserError(f"Ray Tune cannot be imported: {tune.error!r}"[:200]) from tune.error
                import ray.tune.tune

                ray.tune.tune._ray_auto_init = _no_other_ray
                # Tune takes SIGUSR1 for itself, and would end a run as if all had been trained.
                ray.tune.tune._setup_signal_catching = threading.Event
                yield
            finally:
                tune.join()
                with _signals_wait():
                    ray.shutdown(wait_for_processes=True)
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray starts without the thread that prints a page, whatever the settings, for every worker that dies. The runners
    say it in a line."""
    from ray._private import worker

    before = worker.listen_error_messages
    worker.listen_error_messages = lambda worker, threads_stopped: None
    try:
        yield
    finally:
        worker.listen_error_messages = before


def _job_config() -> Any:
    """Workers import what is installed. By itself Ray puts the driver's current folder and that of its script at the
    head of their path, so that a file pandas.py there would be run in the place of pandas.

    Undocumented: a test pins it."""
    from ray.job_config import JobConfig

    class Installed(JobConfig):  # type: ignore[misc]
        def _get_proto_job_config(self) -> Any:
            self._py_driver_sys_path: list[str] = []
            return super()._get_proto_job_config()

    return Installed()


class _Import(threading.Thread):
    """Imports a module. `error` is what came of it, after its end."""

    def __init__(self, module: str) -> None:
        super().__init__(name=f"import {module}")
        self._module = module
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            importlib.import_module(self._module)
        except Exception as error:
            self.error = error


def _no_other_ray(*arguments: object, **more: object) -> None:
    """In place of Tune's own start of Ray: a run that begins when ours is over must end, not start a public one."""
    import ray

    if not ray.is_initialized():
        raise RuntimeError("Ray has been shut down")


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and the signals that end a command wait for the end of the block: half a start or half an end of Ray
    leaves processes behind.

    They then reach the handlers of before. Ray has two handlers of its own for SIGTERM: one in Python, which would exit
    in the middle of the start and is kept out, and one in its core, which writes to stderr and is replaced afterwards.
    """
    import ray._private.utils as ray_utils

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, *signals.ending())}
    for each in before:
        signal.signal(each, lambda number, frame: came.append(number))
    set_sigterm_handler = ray_utils.set_sigterm_handler
    ray_utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        ray_utils.set_sigterm_handler = set_sigterm_handler
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in came:
        signal.raise_signal(number)
