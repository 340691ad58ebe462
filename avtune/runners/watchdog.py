"""Ends a process whose training hangs, wherever in Python or C it does, and leaves word of it. No Ray here."""

from __future__ import annotations

import faulthandler
import sys
from pathlib import Path
from typing import IO


class Watch:
    """The time limit of a process that trains: unless `end` is called in time after `begin`, the process ends at once
    and its stack is in the file.

    A thread of C code keeps the time (`faulthandler`), so that nothing the training does can hold it up.

    Args:
        seconds: the limit; None for no limit.
        file: for the stack. Where it cannot be written, e.g. on another machine, the stack goes to standard error.
    """

    def __init__(self, seconds: float | None, file: Path) -> None:
        self._seconds = seconds
        self._file: IO[str] = sys.stderr
        if seconds is not None:
            try:
                self._file = file.open("w")
            except OSError:
                self._file = sys.stderr

    def begin(self) -> None:
        """The time starts, or starts again."""
        if self._seconds is not None:
            faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def end(self) -> None:
        """Nobody is waited for."""
        if self._seconds is not None:
            faulthandler.cancel_dump_traceback_later()


def last_stack(file: Path) -> str:
    """What a `Watch` left in its file, once; empty when its process did not hang."""
    try:
        text = file.read_text(errors="replace")
        file.unlink()
    except OSError:
        return ""
    return text
