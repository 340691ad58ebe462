"""Ends a run whose Ray is gone. By itself Ray ends the process, but after a minute of waiting and with a page of its
log; and what waits for Ray in C hears no signal meanwhile."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from avtune.core import signals
from avtune.core.errors import UserError
from avtune.runners.ray.session import LOST
from avtune.runners.scratch import remove

# Seconds between two looks: soon after the death of a raylet Ray's control store tells this process, whose core then
# ends it without a word.
_LOOK_EVERY = 0.05

_SIGNALS = 0.5  # seconds in which a signal that comes with the death is waited for

_LONGEST_LEAVE = 40.0  # seconds in which a caller's search is left when Ray is lost, or else the process is ended


@contextlib.contextmanager
def watched(
    scratch: Path, is_lost: Callable[[], bool], why: Callable[[], str], clear: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Ends what runs in the block when Ray is lost. The study's files are whole at any moment, so nothing needs an
    orderly end.

    A command is ended with its process. In a process of a caller's in Python, the block is left with an error; the
    process ends only where the block does not hear of it: in another thread than the main one, where Ctrl-C is handled
    otherwise, or while Tune waits in C for the process that has died.

    Args:
        scratch: the run's folder, which goes with the process.
        is_lost: asked every few hundredths of a second, in a thread.
        why: what has happened, in words.
        clear: what is left of this Ray is to go.

    Raises:
        UserError: Ray is lost.
    """
    over = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    # Signals are also written to a pipe, because Python's handlers run in the main thread only, which may be waiting
    # for the process that has died.
    came, tell = os.pipe()
    os.set_blocking(tell, False)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False) if main else -1

    def watch() -> None:
        while not over.wait(_LOOK_EVERY):
            if is_lost():
                said = why()
                LOST.set()
                with contextlib.suppress(Exception):
                    clear()
                heard = os.read(came, 1 << 16) if select.select([came], [], [], _SIGNALS)[0] else b""
                number = signals.first(heard)
                if main and not signals.is_command() and _leaves(over, number):
                    return
                _end(number, said, scratch)

    thread = threading.Thread(target=watch, name="avtune watches Ray", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        if signals.is_command() or not is_lost():
            raise
        LOST.set()
        raise UserError(f"{why()}; the same command continues") from error
    finally:
        over.set()
        thread.join()
        if main:
            signal.set_wakeup_fd(before)
        os.close(came)
        os.close(tell)


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
    with contextlib.suppress(OSError, AttributeError):  # None where standard output is closed
        sys.stdout.flush()
    code = signals.part(number) if number is not None else signals.say(why, 1)
    remove(scratch)
    os._exit(code)
