"""Whether an engine died with its machine: the machine was preempted, drained or switched off, or lost its network."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field

_PATIENCE = 2.0  # seconds for a connection to a node's Ray
_WORDS = re.compile(r"its node has died|node was terminated|preempted|drained")  # Ray's own, where it knows


@dataclass
class Machines:
    """Where engines run.

    Ray's first words of a lost machine are those of a lost process (`The actor is temporarily unavailable`), and it
    takes up to half a minute to learn more. So the port of the machine's Ray is tried: Ray's own processes outlive an
    engine that dies alone.
    """

    _of: dict[str, tuple[str, int]] = field(default_factory=dict)

    def runs_on(self, engine: str, node: str) -> None:
        """An engine has begun on a node, named by Ray's identifier."""
        import ray

        for each in ray.nodes():
            if each["NodeID"] == node:
                self._of[engine] = each["NodeManagerAddress"], int(each["NodeManagerPort"])

    def lost(self, engine: str, words: str) -> bool:
        """Whether the machine of an engine that has died is gone.

        Args:
            words: what Ray says of the death.
        """
        if _WORDS.search(words):
            return True
        where = self._of.get(engine)
        if where is None:  # it died before it said where it is
            return False
        try:
            socket.create_connection(where, timeout=_PATIENCE).close()
        except OSError:
            return True
        return False
