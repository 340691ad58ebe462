"""Whether a process died with its machine: the machine was preempted, drained or switched off, or lost its network."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

_PATIENCE = 2.0  # seconds for a connection to a node's Ray
_WORDS = re.compile(r"its node has died|node was terminated|preempted|drained")  # Ray's own, where it knows


@dataclass
class Machines:
    """Where engines, or the processes of trials, run.

    Ray's first words of a lost machine are those of a lost process (`The actor is temporarily unavailable`), and it
    takes up to half a minute to learn more. So the port of the machine's Ray is tried: Ray's own processes outlive one
    of ours that dies alone.
    """

    _node: dict[str, str] = field(default_factory=dict)  # of each process
    _where: dict[str, tuple[str, int]] = field(default_factory=dict)  # the port of each node
    _lost: set[str] = field(default_factory=set)  # nodes; one that returns has another identifier

    def runs_on(self, process: str, node: str) -> None:
        """A process has begun on a node, named by Ray's identifier."""
        self._node[process] = node
        if node not in self._where:
            self._where |= _ports()

    def node_of(self, process: str) -> str | None:
        """Ray's identifier of the node that a process runs on; None where it has not said."""
        return self._node.get(process)

    def lost(self, process: str, words: str) -> bool:
        """Whether the machine of a process that has died is gone.

        Args:
            words: what Ray says of the death.
        """
        node = self._node.pop(process, None)  # its next one says anew where it is
        if node in self._lost or _WORDS.search(words):
            return True
        if node is None or node not in self._where:  # it died before it said where it is
            return False
        try:
            socket.create_connection(self._where[node], timeout=_PATIENCE).close()
        except OSError:
            self._lost.add(node)
            return True
        return False


def _ports() -> dict[str, tuple[str, int]]:
    import ray

    return {each["NodeID"]: (each["NodeManagerAddress"], int(each["NodeManagerPort"])) for each in ray.nodes()}
