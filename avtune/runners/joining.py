"""Which nodes of a cluster a search may use as they come and go; those that join are looked at first. No Ray here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from avtune.core.environment import versions
from avtune.runners._base import Cluster, Placement
from avtune.runners.nodes import Node, problems

_DRAIN = 30.0  # seconds in which a node is held to go that is drained without a time
_LOOKS = 3  # at a node that does not answer: it may be starting


class Look(Protocol):
    """A look at nodes, which has begun; see `ray.preflight.Look`."""

    def is_over(self) -> bool: ...
    def answers(self) -> Mapping[str, Node]: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class News:
    """What has become of a cluster.

    Attributes:
        lines: for the log.
        processes: for how many further ones there is room.
    """

    lines: list[str]
    processes: int = 0


class ClusterNodes:
    """The nodes of a cluster during a run. It never waits: one call begins a look, a later one takes the answers.

    Args:
        cluster: as it was before the run.
        placement: of the run.
        alive: what the cluster says of each node that it has now, by identifier: `address`, `cpus` and `gpus`.
        look: begins a look at some of these.
        draining: the nodes that are about to go, by identifier, and when, in seconds since 1970; 0 where nobody says.

    Attributes:
        leaving: identifiers of the nodes that are about to go.
    """

    def __init__(
        self,
        cluster: Cluster,
        placement: Placement,
        alive: Callable[[], Mapping[str, Mapping[str, Any]]],
        look: Callable[[Mapping[str, Mapping[str, Any]]], Look],
        draining: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._placement = placement
        self._alive, self._look, self._draining = alive, look, draining
        self.leaving: frozenset[str] = frozenset()
        self._used = {node.id: node for node in cluster.nodes}
        self._refused: set[str] = set()
        self._silent: dict[str, int] = {}  # looks that a node has not answered
        self._count = placement.count
        self._looking: Look | None = None

    def news(self) -> News | None:
        """What has changed since the last call; None for nothing."""
        alive, draining = self._alive(), self._draining()
        lines = [
            f"node {self._used[name].name} is about to leave the cluster, {_when(when)}"
            for name, when in draining.items()
            if name in self._used and name not in self.leaving
        ]
        self.leaving = frozenset(draining)
        lines += [f"node {node.name} has left the cluster" for name, node in self._used.items() if name not in alive]
        self._used = {name: node for name, node in self._used.items() if name in alive}
        if self._looking is not None and self._looking.is_over():
            found = self._looking.answers()
            self.close()
            lines += [line for name, node in found.items() if name in alive for line in self._met(name, node)]
        more = 0 if self._placement.bounded else max(0, sum(map(self._room, self._used.values())) - self._count)
        self._count += more
        new = {name: alive[name] for name in alive.keys() - self._used.keys() - self._refused}
        if new and self._looking is None:
            self._looking = self._look(new)
        if more:
            lines.append(f"{more} further process{'es start' if more > 1 else ' starts'}")
        return News(lines, more) if lines else None

    def gets_trials(self, name: str) -> bool:
        """Whether a node may train: Tune starts an engine anew wherever there is room, also on a node that has joined
        and is not fit, or has not been looked at yet."""
        return name in self._used and name not in self.leaving

    def close(self) -> None:
        """Ends a look that goes on."""
        if self._looking is not None:
            self._looking.close()
            self._looking = None

    def _met(self, name: str, node: Node) -> list[str]:
        """Takes a node that has been looked at; returns what to say of it."""
        if node.host is None and self._silent.get(name, 0) + 1 < _LOOKS:
            self._silent[name] = self._silent.get(name, 0) + 1
            return []
        gpus = self._placement.gpus > 0
        found = problems([node], versions(), gpus=gpus) if node.trains else []
        if found:
            self._refused.add(name)
            return [f"node {node.name} has joined the cluster, and is not used:", *found]
        self._used[name] = node
        if not self._room(node):
            idle = "it has nothing that this run trains on"
        elif self._placement.bounded:
            idle = f"it stays idle: {'--gpus' if gpus else '--cpus'} says how many are used"
        else:
            idle = ""
        return [f"node {node.line} has joined the cluster{'; ' * bool(idle)}{idle}{node.unseen}"]

    def _room(self, node: Node) -> int:
        """For how many processes of the run a node has devices."""
        if self._placement.gpus:
            return node.gpus * self._placement.count // self._placement.gpus
        return node.cpus


def _when(when: float) -> str:
    if not when:
        return f"without saying when: held to be in {_DRAIN:g} s"
    return f"in {max(0.0, when - time.time()):.0f} s"
