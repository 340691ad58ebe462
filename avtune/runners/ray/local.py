"""A private Ray on this machine: loopback only, a token of its own, no telemetry, quiet, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from avtune.core import signals
from avtune.core.errors import UserError
from avtune.runners.out_of_memory import LACK, LOWER, Deaths, out_of_memory
from avtune.runners.ray import private
from avtune.runners.ray.session import LOST, ray_session
from avtune.runners.ray.start_errors import last_words
from avtune.runners.scratch import check_not_full, remove, scratch_folder
from avtune.runners.thread_limit import check_threads, no_threads

# All listeners on 127.0.0.1 instead of all interfaces. An undocumented use of this flag;
# tests/runners/test_ray_is_private.py fails if it ends.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}

# Workers run at the priority that avtune was started with. By default Ray takes theirs down by 15 steps, which leaves
# them a thirtieth of a core that anybody else uses.
_PRIORITY = {"RAY_worker_niceness": "0"}

# In a process of a caller's in Python: by default Ray's core ends a process that has had no answer of GCS for a minute,
# although Ray has been shut down meanwhile, where a thread waits for such an answer.
_OUTLIVES_GCS = {"RAY_gcs_rpc_server_reconnect_timeout_s": str(10**8)}

_LOOK_EVERY = 0.5  # seconds

_LONGEST_LEAVE = 40.0  # seconds in which a caller's search is left when Ray is lost, or else the process is ended

# The same for all runs of this process, as Ray's core reads it once.
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
    more = {} if signals.is_command() else _OUTLIVES_GCS
    with (
        scratch_folder() as scratch,
        ray_session(
            {**_LOOPBACK, **_PRIORITY, **more, "RAY_AUTH_TOKEN": _TOKEN},
            lambda: _start(scratch / "ray"),
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=data_bytes + data_bytes // 2 + (128 << 20),
            include_dashboard=False,
            _temp_dir=str(scratch / "ray"),
        ),
        _node_watched(scratch),
        private.any_worker(),
    ):
        yield scratch


@contextlib.contextmanager
def _start(folder: Path) -> Iterator[None]:
    """Around the start of Ray in a folder.

    Raises:
        UserError: it has failed; says why in Ray's last words.
    """
    causes = Deaths()
    with private.processes_in_own_session(), private.few_processes():
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
def _node_watched(scratch: Path) -> Iterator[None]:
    """Ends what runs in the block when a process that all of Ray needs has died: by default Ray would end this process,
    but after a minute of waiting and with a page of its log. The study's files are whole at any moment, so nothing
    needs an orderly end.

    A command is ended with its process. In a process of a caller's in Python, the block is left with an error; the
    process ends only where the block does not hear of it: in another thread than the main one, where Ctrl-C is handled
    otherwise, or while Tune waits in C for the process that has died.

    Raises:
        UserError: such a process has died.
    """
    vital, kill_all = private.vital_processes()
    causes = Deaths()
    over = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    # Signals are also written to a pipe, because Python's handlers run in the main thread only, which may be waiting
    # for the process that has died.
    came, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False) if main else -1

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            if _have_died(vital):
                heard = os.read(came, 1 << 16) if select.select([came], [], [], _LOOK_EVERY)[0] else b""
                number, why = signals.first(heard), _why(causes)
                LOST.set()
                with contextlib.suppress(Exception):
                    kill_all()
                if main and not signals.is_command() and _leaves(over, number):
                    return
                _end(number, why, scratch)

    thread = threading.Thread(target=watch, name="avtune watches Ray", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if signals.is_command() or not _have_died(vital):
            raise
        LOST.set()
        raise UserError(f"{_why(causes)}; the same command continues") from error
    finally:
        over.set()
        thread.join()
        if main:
            signal.set_wakeup_fd(before)
        os.close(came)
        os.close(tell)


def _have_died(processes: Sequence[Any]) -> bool:
    return any(process.poll() is not None for process in processes)


def _why(causes: Deaths) -> str:
    """What has happened to a process of Ray's."""
    if causes.for_lack_of_memory():
        return f"a process of Ray's {LACK}; {LOWER}"
    return "a process of Ray's has died, or was killed"


def _leaves(over: threading.Event, number: int | None) -> bool:
    """Interrupts the main thread as Ctrl-C does, where no signal that has come has done so; whether it leaves the
    block in time."""
    main = threading.main_thread().ident
    if number is None and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    return over.wait(_LONGEST_LEAVE)


def _end(number: int | None, why: str, scratch: Path) -> NoReturn:
    """Ends this process with a line.

    Args:
        number: the signal that has come, None for none.
        why: what has happened otherwise.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    code = signals.part(number) if number is not None else signals.say(why, 1)
    remove(scratch)
    os._exit(code)
