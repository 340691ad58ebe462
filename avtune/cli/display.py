"""Where progress is shown: a region at the foot of a terminal, drawn again and again, or plain lines elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from avtune.cli import console
from avtune.core.streams import width
from avtune.report.text import duration

if TYPE_CHECKING:
    from avtune.cli.live import Region

Line = tuple[str, str]
"""A line of the region, and its style: empty, `bold` or `dim`."""
Lines = Callable[[int, int], Sequence[Line]]
"""What the region holds, for so many columns and rows."""

SHOWN_AFTER = 2.0
"""Seconds after which a step that has not ended is worth a line."""


def is_live() -> bool:
    """Whether standard output is a terminal on which lines can be drawn again."""
    return width() is not None and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def event(text: str) -> None:
    """A line that stays. Elsewhere than on a terminal it begins with the time of day."""
    console.say(stamped(text))


def stamped(text: str) -> str:
    """The text of an event, with the time of day where standard output is no terminal."""
    return text if width() is not None else f"{time.strftime('%H:%M:%S')} {text}"


class Display:
    """Shows what goes on: a table while there is one, else the step that is being done.

    Use it as a context manager: whatever ends the block, the terminal is left as it was.
    """

    def __init__(self) -> None:
        self.live = is_live()
        self._out = sys.stdout
        self._region: Region | None = None
        self._table: Lines | None = None
        self._doing = ""
        self._since = 0.0
        self._timer: threading.Timer | None = None
        self._said = False  # the step has got a line

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        self.done()
        self.hide()

    @property
    def doing(self) -> str:
        """The step that is being done, with the time that it has taken; empty for none."""
        return f"{self._doing} ({duration(time.monotonic() - self._since)})" if self._doing else ""

    def step(self, text: str) -> None:
        """From now on this is done, instead of the step before. Elsewhere than on a terminal it gets a line once it has
        taken two seconds, and another one when it ends."""
        self.done()
        self._doing, self._since = text, time.monotonic()
        if self.live:
            self._draw()
        else:
            self._timer = threading.Timer(SHOWN_AFTER, self._say_step, [text])
            self._timer.daemon = True
            self._timer.start()

    def done(self) -> None:
        """The step has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # it may be printing
            self._timer = None
        if self._said:
            event(f"{self._doing}: {duration(time.monotonic() - self._since)}")
        self._doing, self._said = "", False
        if self._table is None:
            self.hide()

    def table(self, lines: Lines) -> None:
        """Shows a table from now on, drawn four times a second; nothing where there is no terminal."""
        self._table = lines
        if self.live:
            self._draw()

    def hide(self) -> None:
        """Takes away what is drawn."""
        self._table = None
        if self._region is not None:
            self._region.stop()
            self._region = None

    def _draw(self) -> None:
        if self._region is None:
            from avtune.cli.live import Region

            self._region = Region(self._lines)
            self._region.start()

    def _lines(self, columns: int, rows: int) -> Sequence[Line]:
        if self._table is not None:
            return self._table(columns, rows)
        return [(self.doing, "")]

    def _say_step(self, text: str) -> None:
        """In a thread of its own, in which `sys.stdout` may be the file of a trial whose code prints."""
        with contextlib.suppress(ValueError, OSError):  # it is closed, or nobody reads it: the search will say so
            print(stamped(f"{text} ..."), file=self._out, flush=True)
        self._said = True


@contextlib.contextmanager
def step(text: str, *, json: bool = False) -> Iterator[None]:
    """Shows that something is being done in the block, if it takes long enough.

    Args:
        json: standard output is for JSON alone: nothing is shown.
    """
    with Display() as display:
        if not json:
            display.step(text)
        yield
