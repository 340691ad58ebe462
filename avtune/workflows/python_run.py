"""Runs a workflow in a process that is not ours: signals, Ray and the interpreter stay the caller's."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from avtune.core import signals
from avtune.core.errors import StorageError, UserError
from avtune.runners.one_search import only_search
from avtune.runners.ray.session import is_of_another
from avtune.workflows.choose_runner import runner_named
from avtune.workflows.options import DeviceOptions

T = TypeVar("T")


def run(act: Callable[[], T], there: Callable[[], str] = lambda: "") -> T:
    """Runs a workflow. When it is over the caller's signal handlers are as they were.

    Args:
        act: the workflow.
        there: what it leaves that the same call continues, as `study results/first`; empty where there is nothing.

    Raises:
        UserError: as the workflow; or another thread runs one.
        KeyboardInterrupt: Ctrl-C; what it writes has been closed before.
    """
    try:
        with only_search(), _ended_in_order():
            return act()
    except KeyboardInterrupt as error:
        if what := there():
            error.add_note(f"the {what} has been closed; the same call continues it")
        raise
    except StorageError as error:
        if not (what := there()):
            raise
        raise StorageError(f"{error}\nthe {what.split()[0]} keeps what it has; the same call continues") from None
    except SystemExit as error:  # no code of ours
        raise UserError(f"code of the method or training function ended the call (SystemExit: {error})") from error


def check_ray(options: DeviceOptions) -> None:
    """Raises:
    UserError: another thread searches; this process has used Ray in a way that leaves no room for that of a search; or
        no runner has the name.
    """
    if options.runner is not None:
        runner_named(options.runner)
    with only_search():  # what is connected to Ray now may be the search of another thread
        pass
    ray = sys.modules.get("ray")
    if ray is None or options.runner == "inline":
        return
    ways = (
        "run the search in a process that has not imported Ray (in a notebook: restart the kernel and import avtune "
        "alone), or take runner='inline', which trains without Ray"
    )
    if ray.is_initialized() and options.cluster != "auto":
        raise UserError(
            "this process is connected to a Ray of yours, and a search starts a private one\n"
            f"give cluster='auto' to train on yours, {ways}"
        )
    if is_of_another() and options.cluster is None:
        raise UserError(
            "this process imported Ray before avtune could set it up: with another token, or open to the network\n"
            f"{ways}"
        )


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """In the block the signals that would end this process at once (SIGTERM, SIGHUP, SIGUSR1) interrupt the search as
    Ctrl-C does, and then do what they would have done. A handler of the caller's own is left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def end(number: int, frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    ours = [number for number in signals.ending() if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        with signals.arriving(came):
            yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
        if came:
            with contextlib.suppress(OSError, ValueError, AttributeError):  # None where standard output is closed
                sys.stdout.flush()
            signal.raise_signal(came[0])
