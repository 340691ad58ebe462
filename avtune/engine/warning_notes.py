"""What avtune's loggers warn of in an engine, as lines for the study's `log.txt`."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


class WarningNotes(logging.Handler):
    """Keeps warnings, each text once: a group that is made again falls back for the same reason again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said: set[str] = set()
        self._new: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self._said:
            self._said.add(line)
            self._new.append(line)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keeps what is said in the block."""
        logger = logging.getLogger("avtune")
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)

    def taken(self) -> list[str]:
        """What is new since the last call."""
        new, self._new = self._new, []
        return new
