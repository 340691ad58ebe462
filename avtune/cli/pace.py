"""How fast a search goes: epochs a second, and what a stage of the finals still takes."""

from __future__ import annotations

import time
from collections import deque

from avtune.cli.search_table import Stage

FINALISTS, RETRAINING = "finalists", "retraining"
"""Names of stages of the finals; what is added to the second says how the model's epoch is chosen."""


class Rate:
    """Epochs a second, over the last minute."""

    _WINDOW = 60.0

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._came: deque[tuple[float, int]] = deque()
        self._count = 0

    def add(self, epochs: int) -> None:
        """So many epochs have come."""
        self._forget()
        self._came.append((time.monotonic(), epochs))
        self._count += epochs

    @property
    def value(self) -> float | None:
        """None before the first epoch, and within the first second."""
        self._forget()
        span = min(self._WINDOW, time.monotonic() - self._start)
        return self._count / span if self._count and span >= 1 else None

    def _forget(self) -> None:
        """What came before the last minute counts no more."""
        start = time.monotonic() - self._WINDOW
        while self._came and self._came[0][0] < start:
            self._count -= self._came.popleft()[1]


class StageClock:
    """How long a stage of the finals will still take, from the runs of it that have ended: those that are under way
    count half."""

    def __init__(self) -> None:
        self.stage: Stage | None = None
        self._start = 0.0
        self._before = 0  # runs that were done when it began

    def set(self, name: str, done: int, total: int | None) -> None:
        """So many runs of the stage have ended."""
        if self.stage is None or self.stage.name != name:
            self._start, self._before = time.monotonic(), done
        self.stage = Stage(name, done, total)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._start

    def left(self, at_a_time: int) -> float | None:
        """Seconds; None before a run has ended."""
        stage = self.stage
        if stage is None or stage.total is None or stage.done == self._before:
            return None
        to_do = stage.total - stage.done
        done = stage.done - self._before + min(to_do, at_a_time) / 2
        return self.elapsed * (to_do - min(to_do, at_a_time) / 2) / done if to_do else 0.0
