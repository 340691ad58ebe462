"""Exceptions that end a trial: which do not, and how they are told."""

from __future__ import annotations

import threading

from avtune.core.errors import is_out_of_memory


def is_interrupt(error: BaseException) -> bool:
    """Whether it may be Ctrl-C, which reaches the main thread only; engines train in another one."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def one_line(error: BaseException) -> str:
    """An exception as one line: its type and the first line of its text."""
    text = str(error).strip()
    line = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    return f"out of memory ({line}); lower batch_size or the widths" if is_out_of_memory(error) else line
