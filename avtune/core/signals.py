"""The signals that end a command in order, beside Ctrl-C, and its parting words and exit codes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from types import FrameType

from avtune.core import streams

# SIGHUP: the terminal has gone. SIGUSR1: what job schedulers send before the end of a job's time.
_WORDS = {"SIGTERM": "terminated", "SIGHUP": "the terminal has gone (SIGHUP)", "SIGUSR1": "ended by SIGUSR1"}
_INTERRUPTED = "interrupted"

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
        yield came
    finally:
        _commands -= 1
        for number, handler in before.items():
            signal.signal(number, handler)


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
