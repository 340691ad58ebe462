"""What a developer reads: the `avtune.*` loggers, shown with `--verbose`, and the lines of a study's `log.txt`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from avtune.core.files import private_opener, using
from avtune.core.output import standard_error
from avtune.core.streams import visible

Level = Literal["INFO", "WARNING", "ERROR"]
Line = tuple[int, str, str]
"""Level, name of the logger and message of one record."""

_TOP = logging.getLogger("avtune")
_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S"


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """In the block, the `avtune.*` loggers write to standard error, from level DEBUG on."""
    handler = _OnStandardError()
    handler.setFormatter(logging.Formatter(_FORMAT, _TIME))
    with _handled_by(handler):
        yield


def is_shown() -> bool:
    """Whether `shown` holds in this process."""
    return any(isinstance(handler, _OnStandardError) for handler in _TOP.handlers)


class Kept(logging.Handler):
    """Keeps what the `avtune.*` loggers of this process say, for another process to show; see `show_again`."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.levelno, record.name, record.getMessage()))

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Keeps in the block, from level DEBUG on."""
        with _handled_by(self):
            yield

    def taken(self) -> list[Line]:
        """What was said since the last call."""
        lines, self._lines = self._lines, []
        return lines


def show_again(process: str, lines: list[Line]) -> None:
    """Logs here what `Kept` has kept in another process, whose name stands before each message."""
    for level, name, message in lines:
        logging.getLogger(name).log(level, "%s: %s", process, message)


def append_note(path: Path, text: str, level: Level = "INFO") -> None:
    """Appends to a `log.txt`: the time (UTC), the level and the text, in each line.

    Raises:
        StorageError: it cannot be written.
    """
    stamp = datetime.now(UTC).strftime(f"{_TIME}Z")
    with using(path), open(path, "a", encoding="utf-8", opener=private_opener) as handle:
        handle.writelines(f"{stamp} {level} {line}\n" for line in text.rstrip().splitlines())


class _OnStandardError(logging.Handler):
    """Finds the stream anew for every record: while a trial of user code trains, or a live table is on the terminal,
    `sys.stderr` is another one."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = standard_error()
            if stream is not None:
                stream.write(visible(self.format(record)) + "\n")
                stream.flush()
        except Exception:
            self.handleError(record)


@contextlib.contextmanager
def _handled_by(handler: logging.Handler) -> Iterator[None]:
    before = _TOP.level, _TOP.propagate
    _TOP.addHandler(handler)
    _TOP.setLevel(logging.DEBUG)
    _TOP.propagate = False  # else the root logger's handlers, e.g. of user code, would print it once more
    try:
        yield
    finally:
        _TOP.removeHandler(handler)
        _TOP.setLevel(before[0])
        _TOP.propagate = before[1]
