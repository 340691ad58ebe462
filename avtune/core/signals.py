"""The signals that end a command in order, beside Ctrl-C, and its parting words and exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType

from avtune.core import streams

# SIGHUP: the terminal has gone. SIGUSR1: what job schedulers send before the end of a job's time.
_WORDS = {"SIGTERM": "terminated", "SIGHUP": "the terminal has gone (SIGHUP)", "SIGUSR1": "ended by SIGUSR1"}
_INTERRUPTED = "interrupted"

_AGAIN = 0.05  # seconds after which an interrupt that was lost comes again

_commands = 0  # blocks of `taken` that this process is in


def ending() -> list[int]:
    """Those that this process does not ignore: `nohup` has it ignore SIGHUP."""
    numbers = [getattr(signal, name) for name in _WORDS if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


@contextlib.contextmanager
def taken() -> Iterator[list[int]]:
    """In the block, which is a whole command, they interrupt as Ctrl-C does. Yields the numbers of those that have
    come."""
    global _commands
    came: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise KeyboardInterrupt  # of all exceptions a handler can raise, Ray's core lets only this one through

    before = {number: signal.signal(number, end) for number in ending()}
    _commands += 1
    try:
        with arriving(came):
            yield came
    finally:
        _commands -= 1
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def arriving(came: Sequence[int]) -> Iterator[None]:
    """In the block, which the main thread runs, an interrupt that Python drops comes again.

    A handler runs wherever the main thread is, and what it raises in a finaliser (`__del__`), in the callback of a weak
    reference or of the garbage collector goes no further: Python hands it to `sys.unraisablehook`. So this hook is
    where one is known to be lost, and no interrupt that has arrived is repeated.

    Args:
        came: the signals that handlers other than that of Ctrl-C have taken; they may grow in the block.
    """
    main, lock = threading.main_thread().ident, threading.Lock()
    over = False
    otherwise = sys.unraisablehook

    def again() -> None:
        with lock:
            if not over and main is not None and not _interrupted_now(main):
                signal.pthread_kill(main, came[-1] if came else signal.SIGINT)

    def hook(lost: sys.UnraisableHookArgs) -> None:
        interrupt = issubclass(lost.exc_type, KeyboardInterrupt) and threading.get_ident() == main
        if over or not interrupt:
            otherwise(lost)
            return
        timer = threading.Timer(_AGAIN, again)  # what this hook itself would raise is lost too
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        with lock:  # no signal of `again` finds the handlers of before
            over = True
        if sys.unraisablehook is hook:
            sys.unraisablehook = otherwise


def _interrupted_now(thread: int) -> bool:
    """Whether a thread is on its way out because of an interrupt, e.g. of one that code of ours raised again."""
    found = sys._current_exceptions().get(thread)
    error = found[1] if isinstance(found, tuple) else found  # a triple before Python 3.12
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def is_command() -> bool:
    """Whether this process runs a command of ours, which may end it; otherwise it is a caller's in Python."""
    return _commands > 0


def first(numbers: Iterable[int]) -> int | None:
    """The first that ends a command, of signals that have come."""
    names = {getattr(signal, name) for name in _WORDS if hasattr(signal, name)}
    return next((number for number in numbers if number in names), None)


def part(number: int | None) -> int:
    """Says why the command ends.

    Args:
        number: the signal; None for Ctrl-C.

    Returns:
        Its exit code.
    """
    word = _INTERRUPTED if number is None else _WORDS[signal.Signals(number).name]
    return say(word, 128 + (signal.SIGINT if number is None else number))


def say(why: str, code: int) -> int:
    """Says why a search ends before its time; returns the exit code given."""
    try:
        streams.error(f"{why}; the same command continues")
    except OSError:  # nobody reads it; what is still to be written at the end is not to fail either
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
    return code
