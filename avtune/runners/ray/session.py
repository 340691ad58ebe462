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
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from avtune.core import signals
from avtune.core.errors import UserError
from avtune.core.files import private_files
from avtune.engine.user_code import SAFE_PATH
from avtune.runners.one_search import only_search
from avtune.runners.ray import private

SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9/",
    # Trials keep the driver's working directory: relative paths stay valid.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Old output engine and verbose=0: nothing is printed.
    "RAY_AIR_NEW_OUTPUT": "0",
    # A thread that still runs when Ray is shut down must not start another Ray, which would be open to the network.
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
    # No process of a run looks for modules in the current folder or beside its script; see also `private.job_config`.
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

NEXT = ("sklearn.model_selection",)
"""What the driver needs next and takes a second to import: the splitting of rows. Like Tune it is imported in a thread,
which overlaps with the wait for Ray's processes; one after the other, as they import much in common."""

LOST = threading.Event()
"""Set when a private Ray has lost a process that all of it needs, until the next session."""

_set_up_here = False  # Ray was imported by `ray_session`


def is_of_another() -> bool:
    """Whether code that is not ours has imported Ray in this process: then it may have read a token that is not that
    of a private Ray, or none."""
    return "ray" in sys.modules and not _set_up_here


@contextlib.contextmanager
def ray_session(
    settings: Mapping[str, str],
    start: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    notes: Mapping[str, str] | None = None,
    **init: Any,
) -> Iterator[None]:
    """`ray.init(**init)` with `SETTINGS` and further ones in the environment; all is as before afterwards. A Ray that
    this process is connected to already (of a caller in Python, who asked for it: see `cluster.find_cluster`) is used
    as it is, and stays.

    Args:
        settings: further environment variables.
        start: a context for the start of Ray alone.
        notes: what the job says of itself, see `jobs`.
        init: further arguments of `ray.init`.

    Raises:
        UserError: Ray was imported before, without these settings; or another thread of this process searches.
    """
    with only_search(), _environment(settings), warnings.catch_warnings(), contextlib.ExitStack() as held:
        _prepare()
        warnings.simplefilter("ignore")  # deprecations inside Ray and its dependencies
        import ray

        _check_token()
        connected = ray.is_initialized()
        held.enter_context(_quiet_loggers())
        tune = _Import("ray.tune", then=NEXT)
        tune.start()
        try:
            if not connected:
                with _signals_wait(), private_files(), private.quiet_errors(), start():
                    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
                    ray.init(job_config=private.job_config(notes), **quiet, **init)
            tune.join()
            if tune.error is not None:
                raise UserError(f"Ray Tune cannot be imported: {tune.error!r}"[:200]) from tune.error
            held.enter_context(private.guarded_tune())
            yield
        finally:
            tune.join()
            if not connected:
                with _signals_wait():
                    ray.shutdown(wait_for_processes=True)


@contextlib.contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """`SETTINGS` and these in the environment for the length of the block."""
    before = dict(os.environ)
    os.environ.update(SETTINGS, **settings)
    os.environ.setdefault(*KEEP_MEMORY)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextlib.contextmanager
def _quiet_loggers() -> Iterator[None]:
    """In the block Ray logs what ends a process, and nothing else; where Tune runs on after it, too."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        if not private.tune_runs_on():
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)


def _prepare() -> None:
    global _set_up_here
    _set_up_here = not is_of_another()
    LOST.clear()


def _check_token() -> None:
    if not private.asks_for_token():
        raise UserError(
            "Ray was imported before avtune could set it up: without a token, open to the network. Does a "
            "module that --method or --train names import it? Import it in the function that uses it instead"
        )


class _Import(threading.Thread):
    """Imports a module. `error` is what came of it, after its end.

    Args:
        module: name.
        then: further ones, whose errors are left to who needs them.
    """

    def __init__(self, module: str, then: Sequence[str] = ()) -> None:
        super().__init__(name=f"import {module}")
        self._module = module
        self._then = then
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            importlib.import_module(self._module)
        except Exception as error:
            self.error = error
        for module in self._then:
            with contextlib.suppress(Exception):
                importlib.import_module(module)


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and the signals that end a command wait for the end of the block: half a start or half an end of Ray
    leaves processes behind.

    They then reach the handlers of before. Ray has two handlers of its own for SIGTERM: one in Python, which is kept
    out, and one in its core, which writes to stderr and is replaced afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, *signals.ending())}
    for each in before:
        signal.signal(each, lambda number, frame: came.append(number))
    try:
        with private.no_sigterm_handler():
            yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in came:
        signal.raise_signal(number)
