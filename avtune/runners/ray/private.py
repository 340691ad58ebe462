"""All that avtune uses of Ray beside its public interface.

What keeps a run private or safe is needed: a Ray that lacks it is refused. What only saves time or lines of output is
left out where Ray lacks it. `tests/runners/test_ray_private.py` fails when Ray changes any of it, and
`benchmarks/ray_start.py` measures the seconds.

`import ray` is inside the functions: `ray.session` sets its environment before.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from avtune.core.errors import UserError

USED = (
    ("ray._raylet", "get_authentication_mode"),
    ("ray._raylet", "AuthenticationMode"),
    ("ray.job_config", "JobConfig._get_proto_job_config"),
    ("ray._raylet", "GcsClient"),
    ("ray._private.state", "state.get_draining_nodes"),
    ("ray._private.utils", "set_sigterm_handler"),
    ("ray._private.services", "ConsolePopen"),
    ("ray._private.services", "get_node"),
    ("ray._private.worker", "_global_node"),
    ("ray._private.worker", "listen_error_messages"),
    ("ray._private.node", "Node.start_api_server"),
    ("ray._private.node", "Node.start_monitor"),
    ("ray._private.node", "Node.start_log_monitor"),
    ("ray.tune.progress_reporter", "TrialProgressCallback"),
    ("ray.tune.execution.class_cache", "DEFAULT_ENV_VARS"),
    ("ray.tune.execution.class_cache", "ENV_VARS_TO_PROPAGATE"),
    ("ray.tune.tune", "_ray_auto_init"),
    ("ray.tune.tune", "_setup_signal_catching"),
)
"""Modules, and what is taken from or replaced in them."""

TUNE_THREAD = "avtune engines"
"""The name of a thread of ours that runs Tune."""

_LOOK, _LONGEST_LOOK = 0.02, 30.0  # seconds between two looks for a node, and until Ray itself looks

_log = logging.getLogger(__name__)


def missing() -> list[str]:
    """What of `USED` the installed Ray lacks."""
    found = ((f"{module}.{name}", *_owner(module, name)) for module, name in USED)
    return [name for name, owner, attribute in found if not hasattr(owner, attribute)]


# --- what keeps a run private and safe: a Ray without it is refused


def asks_for_token() -> bool:
    """Whether the Ray of this process lets nobody in without a token. It reads that from its environment once, when it
    is imported; there is no public way to ask.

    Raises:
        UserError: this Ray cannot be asked.
    """
    mode, modes = _find("ray._raylet", "get_authentication_mode"), _find("ray._raylet", "AuthenticationMode")
    if mode is None or modes is None:
        _refuse("whether it asks for a token")
    return bool(mode() == modes.TOKEN)


def job_config(notes: Mapping[str, str] | None = None) -> Any:
    """A `JobConfig` with which workers import what is installed. By itself Ray puts the driver's current folder and
    that of its script at the head of their path: a file pandas.py there would be imported in the place of pandas.

    Args:
        notes: what `running_jobs` gives of this job.

    Raises:
        UserError: this Ray sets the path in another way.
    """
    from ray.job_config import JobConfig

    if not hasattr(JobConfig, "_get_proto_job_config"):
        _refuse("how its workers' import path is set")

    class Installed(JobConfig):  # type: ignore[misc]
        def _get_proto_job_config(self) -> Any:
            self._py_driver_sys_path: list[str] = []
            return super()._get_proto_job_config()

    return Installed(metadata=dict(notes or {}))


@contextlib.contextmanager
def guarded_tune() -> Iterator[None]:
    """In the block Tune starts no Ray of its own: a run that begins when ours has been shut down must end, and not
    start a Ray that is open to the network. And Tune leaves SIGUSR1 alone, which job schedulers send: it would end a
    run as if all had been trained. Where a thread of ours that runs Tune outlives the block, it stays so.

    Raises:
        UserError: this Ray's Tune is made differently.
    """
    tune: Any = importlib.import_module("ray.tune.tune")
    if not hasattr(tune, "_ray_auto_init") or not hasattr(tune, "_setup_signal_catching"):
        _refuse("when Tune starts a Ray and takes signals")
    before = tune._ray_auto_init, tune._setup_signal_catching
    tune._ray_auto_init, tune._setup_signal_catching = _no_other_ray, threading.Event
    try:
        yield
    finally:
        if not tune_runs_on():
            tune._ray_auto_init, tune._setup_signal_catching = before


def tune_runs_on() -> bool:
    """Whether a thread of ours that runs Tune is alive."""
    return any(thread.name == TUNE_THREAD for thread in threading.enumerate())


def _no_other_ray(*arguments: object, **more: object) -> None:
    import ray

    if not ray.is_initialized():
        raise RuntimeError("Ray has been shut down")


@contextlib.contextmanager
def no_sigterm_handler() -> Iterator[None]:
    """In the block Ray sets no handler for SIGTERM in Python: it would exit in the middle of a start, and leave
    processes behind. Where Ray lacks the function it has no such handler."""
    with _replaced("ray._private.utils", "set_sigterm_handler", lambda handler: None):
        yield


@contextlib.contextmanager
def processes_in_own_session() -> Iterator[None]:
    """The processes that Ray starts in the block have a session of their own: a signal to the driver's process group
    (Ctrl-C) reaches the driver alone, which ends them in order. If Ray's processes end first, its core ends the driver
    with status 1 and no message. When the driver is killed, the kernel kills them.

    Raises:
        UserError: this Ray starts processes in another way.
    """
    popen = _find("ray._private.services", "ConsolePopen")
    if popen is None:
        _refuse("how it starts its processes")

    class OwnSession(popen):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, start_new_session=True, **more)

    with _replaced("ray._private.services", "ConsolePopen", OwnSession):
        yield


def vital_processes() -> tuple[list[Any], Callable[[], None]]:
    """The processes without which the Ray that this process has started is dead (as `Popen`), and a function that kills
    all that belong to it.

    Raises:
        UserError: this Ray keeps its processes elsewhere.
    """
    node = _find("ray._private.worker", "_global_node")
    if node is None or not hasattr(node, "all_processes"):
        _refuse("which processes it has started")
    vital = [info.process for kind in ("raylet", "gcs_server") for info in node.all_processes[kind]]
    return vital, lambda: node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


def running_jobs(address: str) -> list[tuple[Mapping[str, str], int, float]]:
    """The jobs that a cluster runs, asked of its head: each with its notes, the process of its driver and when it
    began, in seconds since 1970. This process becomes no job of it.

    Args:
        address: `host:port`.

    Raises:
        UserError: this Ray cannot be asked.
    """
    client = _find("ray._raylet", "GcsClient")
    if client is None:
        _refuse("which jobs a cluster runs")
    jobs = client(address=address).get_all_job_info(
        skip_submission_job_info_field=True, skip_is_running_tasks_field=True
    )
    return [
        (dict(job.config.metadata), job.driver_pid, job.start_time / 1e3) for job in jobs.values() if not job.is_dead
    ]


def draining_nodes() -> dict[str, float]:
    """The nodes of this process' cluster that are about to go, by identifier, and until when they are there, in seconds
    since 1970; 0 where nobody has said. Empty where Ray does not say."""
    state = _find("ray._private.state", "state")
    if not hasattr(state, "get_draining_nodes"):
        return {}
    return {node: deadline / 1e3 for node, deadline in state.get_draining_nodes().items()}


# --- what saves time or output: left out where Ray lacks it


@contextlib.contextmanager
def quiet_errors() -> Iterator[None]:
    """A Ray that is started in the block has no thread that prints a page, whatever the settings, for every worker that
    dies. The runners say it in a line."""
    with _replaced("ray._private.worker", "listen_error_messages", lambda worker, threads_stopped: None):
        yield


def silent_progress() -> list[Any]:
    """A callback for Tune in the place of its own, which prints a line and an empty result for every trial that is
    stopped before it ends, whatever the verbosity. None where Tune has another."""
    usual = _find("ray.tune.progress_reporter", "TrialProgressCallback")
    if usual is None:
        return []

    class Silent(usual):  # type: ignore[misc, valid-type]
        def on_trial_result(self, *arguments: Any, **info: Any) -> None:
            """Nothing."""

        on_trial_error = on_trial_complete = on_trial_result

        def __getstate__(self) -> dict[str, Any]:
            return {}  # Tune pickles its callbacks; there is nothing to keep

    return [Silent()]


@contextlib.contextmanager
def few_processes() -> Iterator[None]:
    """A Ray that is started in the block has no processes for other uses of it: the dashboard's, which runs (and could
    report usage) even without a dashboard, the autoscaler's, and the one that copies the workers' logs to the driver.
    On a busy machine of two cores a run takes 27 s with this and 38 s without (reports/2026-11-26-ray_start.md)."""
    with contextlib.ExitStack() as stack:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            stack.enter_context(_replaced("ray._private.node", f"Node.{name}", lambda node, **more: None))
        yield


@contextlib.contextmanager
def seen_at_once() -> Iterator[None]:
    """A Ray that is started in the block is used as soon as its node is known to its head. By itself Ray looks once a
    second."""
    get_node, client = _find("ray._private.services", "get_node"), _find("ray._raylet", "GcsClient")

    def awaited(gcs_address: str, node_id: str) -> Any:
        until = time.monotonic() + _LONGEST_LOOK
        with contextlib.suppress(Exception):  # of a head that does not answer: Ray's own look says what is wrong
            known = client(address=gcs_address).get_all_node_info
            while time.monotonic() < until and not any(node.hex() == node_id for node in known()):
                time.sleep(_LOOK)
        return get_node(gcs_address, node_id)

    with _replaced("ray._private.services", "get_node", awaited):
        yield


@contextlib.contextmanager
def any_worker() -> Iterator[None]:
    """In the block Tune takes the worker processes that Ray has started in advance. By itself it asks for others, with
    environment variables of their own, although all workers of a private Ray have the driver's environment. On a busy
    machine of two cores a run takes 27 s with this and 32 s without (reports/2026-11-26-ray_start.md)."""
    cache = "ray.tune.execution.class_cache"
    empty_vars: dict[str, str] = {}
    empty_names: set[str] = set()
    with _replaced(cache, "DEFAULT_ENV_VARS", empty_vars), _replaced(cache, "ENV_VARS_TO_PROPAGATE", empty_names):
        yield


@contextlib.contextmanager
def _replaced(module: str, name: str, value: Any) -> Iterator[None]:
    """A block in which something of Ray's is replaced; not where Ray lacks it."""
    owner, attribute = _owner(module, name)
    if owner is None or not hasattr(owner, attribute):
        _log.warning("Ray has no %s.%s, which avtune would replace: it works on without", module, name)
        yield
        return
    before = getattr(owner, attribute)
    setattr(owner, attribute, value)
    try:
        yield
    finally:
        setattr(owner, attribute, before)


def _owner(module: str, name: str) -> tuple[Any, str]:
    """What holds the attribute, and the attribute's name; None for the first where it does not exist."""
    try:
        owner: Any = importlib.import_module(module)
    except ImportError:
        return None, name
    *path, attribute = name.split(".")
    for part in path:
        owner = getattr(owner, part, None)
    return owner, attribute


def _find(module: str, name: str) -> Any:
    owner, attribute = _owner(module, name)
    return getattr(owner, attribute, None)


def _refuse(what: str) -> NoReturn:
    import ray

    raise UserError(
        f"Ray {ray.__version__} does not say {what} in the way that avtune knows, so a run would not be private or "
        "safe\ninstall the version that avtune asks for (`pip install avtune` does), or take --runner inline"
    )
