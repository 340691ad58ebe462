"""A private Ray on this machine: loopback only, a token of its own, no telemetry, quiet, gone afterwards."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

from avtune.core import signals
from avtune.core.errors import UserError
from avtune.runners.loopback import check_loopback
from avtune.runners.out_of_memory import LACK, LOWER, Deaths, out_of_memory
from avtune.runners.ray import private
from avtune.runners.ray.session import ray_session
from avtune.runners.ray.start_errors import last_words
from avtune.runners.ray.watched import watched
from avtune.runners.scratch import check_not_full, scratch_folder
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
        UserError: it does not start: there is no folder, memory, number of threads or loopback interface for it,
            Python runs without what Ray needs, or for a reason of Ray's.
    """
    check_threads(num_cpus)
    check_loopback()
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
    with private.processes_in_own_session(), private.few_processes(), private.seen_at_once():
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
    """Ends what runs in the block when a process that all of Ray needs has died, see `watched`."""
    vital, kill_all = private.vital_processes()
    causes = Deaths()

    def why() -> str:
        if causes.for_lack_of_memory():
            return f"a process of Ray's {LACK}; {LOWER}"
        return "a process of Ray's has died, or was killed"

    with watched(scratch, lambda: any(process.poll() is not None for process in vital), why, kill_all):
        yield
