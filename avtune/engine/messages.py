"""What an engine and whoever gives it work say to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from avtune.core.trial import Trial


@dataclass
class Message:
    """From an engine: how many more trials it has room for, and what happened since its last message.

    Attributes:
        want: free lanes.
        reports: (number, epoch, metrics) of every trial that has trained an epoch.
        ends: (number, failure or None, details) of every trial that has ended by itself.
        returned: numbers of trials that it does not hold any more: they go on elsewhere from their lane files, or start
            again.
        notes: lines about how the engine works, for the log.
    """

    want: int
    reports: list[tuple[int, int, dict[str, float]]] = field(default_factory=list)
    ends: list[tuple[int, str | None, str]] = field(default_factory=list)
    returned: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Orders:
    """To an engine.

    Attributes:
        stop: numbers of trials to leave.
        trials: trials to train.
        over: no trial will come any more, and none of this engine's is wanted.
        leave: the engine's machine is about to go: it saves its trials and returns them.
    """

    stop: Sequence[int]
    trials: Sequence[Trial]
    over: bool
    leave: bool = False
