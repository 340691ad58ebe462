"""Whether a run may start the threads that it takes, and what to say where it may not. No Ray here."""

from __future__ import annotations

import errno
import os

from avtune.core import system
from avtune.core.errors import UserError

# Threads, measured on two cores: Ray's two daemons take 53, its two agents 32, the driver 30 more than before, and each
# process of a run (the mailbox is one) 25. The daemons have pools that grow with the machine.
_OF_RAY, _OF_A_PROCESS = 110, 25
_MARKS = ("can't start new thread", "Resource temporarily unavailable", "pthread_create")
_WAY_OUT = "raise the limit, lower --cpus, or take --runner inline"


def threads_of_a_run(processes: int) -> int:
    """About how many processes and threads a run takes with so many engines, or trials at a time."""
    return _OF_RAY + (os.cpu_count() or 1) + _OF_A_PROCESS * (processes + 1)


def check_threads(processes: int) -> None:
    """Raises:
    UserError: a run with so many engines needs more threads than this process may start.
    """
    left, need = system.threads(), threads_of_a_run(processes)
    if left is not None and left.amount < need:
        raise UserError(f"a search takes about {need} threads here, and {left.amount} are {left.why}\n{_WAY_OUT}")


def no_threads(error: BaseException, words: str = "") -> str | None:
    """What to say of an error, or of what Ray says of it, where the cause is that no thread could be started; None for
    other errors."""
    if isinstance(error, OSError) and error.errno == errno.EAGAIN:
        words += os.strerror(errno.EAGAIN)
    words += str(error)
    if not any(mark in words for mark in _MARKS):
        return None
    left = system.threads()
    why = f"{left.amount} are {left.why}" if left is not None else "the system allows no more"
    return f"threads cannot be started: {why}\n{_WAY_OUT}"
